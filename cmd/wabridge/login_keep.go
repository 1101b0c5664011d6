package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"wabridge/auth"
	"wabridge/bridge/app"
)

// keep puts the token where the flags say, and says where; the token itself is
// printed with --show alone.
func (l *login) keep(cmd *cobra.Command, grant auth.Grant) error {
	what, variable, secret := "refresh token", "REFRESH_TOKEN", grant.RefreshToken
	if secret == "" {
		what, variable, secret = "access token", "TOKEN", grant.AccessToken
	}
	out := cmd.OutOrStdout()
	if l.out != "" {
		if err := writeSecret(l.out, secret); err != nil {
			return err
		}
		id := l.session
		if id == "" {
			id = "<ID>"
		}
		fmt.Fprintf(out, "The %s is in %s, for %s_%s_FILE\n", what, l.out, sessionPrefix(id), variable)
	}
	if l.store {
		if grant.RefreshToken == "" {
			return errors.New("the server gave no refresh token, and only that can be stored: ask for the scope that brings one")
		}
		c, err := dial(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		defer c.close(cmd.Context())
		if err := app.StoreRefreshToken(cmd.Context(), c.broker, l.config.TokenKey, l.session, secret); err != nil {
			return err
		}
		fmt.Fprintf(out, "The refresh token is stored for session %s, whose own refresh token is to be %q\n", l.session, app.StoredToken)
	}
	if !grant.Expiry.IsZero() && grant.RefreshToken == "" {
		fmt.Fprintf(out, "It is good until %s\n", grant.Expiry.UTC().Format(time.RFC3339))
	}
	if l.show {
		fmt.Fprintln(out, secret)
	}
	return nil
}

// writeSecret writes a file that its owner alone may read. A file that is there
// is replaced in one step: whoever reads it sees the old or the new.
func writeSecret(name, secret string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".token-*") // made with 0600
	if err != nil {
		return fmt.Errorf("writing the token: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing the token: %w", err), os.Remove(f.Name()))
		}
	}()
	if _, err := f.WriteString(secret + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
