package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wabridge/auth"
	"wabridge/bridge/app"
)

// kept says what a login brought, and where it is.
type kept struct {
	Session string `json:"session,omitempty"`
	// Kind is refresh_token or access_token.
	Kind string `json:"kind"`
	// File holds it, for the variable, where --out said so.
	File     string `json:"file,omitempty"`
	Variable string `json:"variable,omitempty"`
	// Stored says that it is in the bucket of tokens.
	Stored bool `json:"stored"`
	// Expiry is that of an access token; a refresh token tells none.
	Expiry *time.Time `json:"expiry,omitempty"`
	// Token is the token itself, with --show alone.
	Token string `json:"token,omitempty"`
}

// keep puts the token where the flags say, and says where; the token itself is
// printed with --show alone.
func (l *login) keep(cmd *cobra.Command, grant auth.Grant) error {
	k, variable, secret := kept{Session: l.session, Kind: "refresh_token"}, "REFRESH_TOKEN", grant.RefreshToken
	if secret == "" {
		k.Kind, variable, secret = "access_token", "TOKEN", grant.AccessToken
		if !grant.Expiry.IsZero() {
			until := grant.Expiry.UTC().Truncate(time.Second)
			k.Expiry = &until
		}
	}
	if l.out != "" {
		if err := writeSecret(l.out, secret); err != nil {
			return err
		}
		k.File, k.Variable = l.out, sessionPrefix(cmp.Or(l.session, "<ID>"))+"_"+variable+"_FILE"
	}
	if l.store {
		if err := l.seal(cmd, grant.RefreshToken); err != nil {
			if k.File != "" {
				err = fmt.Errorf("%w; it is in %s all the same", err, k.File)
			}
			return err
		}
		k.Stored = true
	}
	if l.show {
		k.Token = secret
	}
	if l.json {
		return encodeJSON(cmd.OutOrStdout(), k)
	}
	return k.show(cmd.OutOrStdout())
}

// seal seals a refresh token into the bucket of tokens.
func (l *login) seal(cmd *cobra.Command, refreshToken string) error {
	if refreshToken == "" {
		return errors.New("the server gave no refresh token, and only that can be stored: ask for the scope that brings one")
	}
	c, err := dial(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close(cmd.Context())
	return app.StoreRefreshToken(cmd.Context(), c.broker, l.config.TokenKey, l.session, refreshToken)
}

// show writes it for a person.
func (k *kept) show(w io.Writer) error {
	var b strings.Builder
	if k.File != "" {
		fmt.Fprintf(&b, "The %s is in %s, for %s\n", strings.ReplaceAll(k.Kind, "_", " "), k.File, k.Variable)
	}
	if k.Stored {
		fmt.Fprintf(&b, "The refresh token is stored for session %s, whose own refresh token is to be %q\n", k.Session, app.StoredToken)
	}
	if k.Expiry != nil {
		fmt.Fprintf(&b, "It is good until %s\n", k.Expiry.Format(time.RFC3339))
	}
	if k.Token != "" {
		b.WriteString(k.Token + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
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
