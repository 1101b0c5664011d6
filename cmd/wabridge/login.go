package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/cloudapi"
)

// login is a login of a person, and what becomes of its token.
type login struct {
	definition bridge.Definition // of the session, or of the flags
	session    string
	scopes     string

	authURL, deviceURL, code string
	port                     int
	timeout                  time.Duration

	out         string
	store, show bool
	json        bool

	config *config
}

func newLoginCommand() *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:   "login [session]",
		Short: "Log a person in, and keep the token",
		Long: `Get a token by a person's login: by an authorization code with PKCE (--auth-url;
the browser comes back to a port of this machine), by a device code
(--device-url), or by the code of Meta's Embedded Signup (--code). With a
session, what its definition says of the OAuth client is taken from there.

The refresh token, or the access token where there is no other, goes into a file
that its owner alone may read (--out), or sealed into the bucket of tokens
(--store, with WABRIDGE_TOKEN_KEY); the session then has the refresh token
"stored:". It is printed only with --show.

Exit codes: 0 logged in, 5 nobody logged in in time, 1 refused or failed, 2 wrong
flags or configuration.`,
		Example: `  wabridge login shop --auth-url https://id.example/authorize --store
  wabridge login --device-url https://id.example/device --token-url https://id.example/token \
    --client-id wabridge --out token
  wabridge login support --code "$CODE" --out /run/secrets/token`,
		Args: arguments(cobra.MaximumNArgs(1)),

		ValidArgsFunction: completeSessions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				l.session = args[0]
			}
			return l.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&l.authURL, "auth-url", "", "authorization endpoint: log in with a browser on this machine")
	f.StringVar(&l.deviceURL, "device-url", "", "device authorization endpoint: log in on another device")
	f.StringVar(&l.code, "code", "", "code of Meta's Embedded Signup; it works once, for seconds")
	for _, flag := range definitionFlags(&l.definition) {
		switch flag.name {
		case "token-url", "client-id", "client-secret", "app-id", "app-secret":
			f.StringVar(flag.value, flag.name, "", flag.about)
		}
	}
	f.StringVar(&l.scopes, "scopes", "", "scopes to ask for, separated by commas or spaces")
	f.IntVar(&l.port, "port", 0, "port of this machine that the browser comes back to; 0 is any")
	f.DurationVar(&l.timeout, "timeout", 5*time.Minute, "how long to wait for the person")
	f.StringVar(&l.out, "out", "", "write the token to this file")
	f.BoolVar(&l.store, "store", false, "store the refresh token for the session, sealed")
	f.BoolVar(&l.show, "show", false, "print the token")
	f.BoolVar(&l.json, "json", false, "print what was kept, and where, as JSON")
	return cmd
}

func (l *login) run(cmd *cobra.Command) error {
	if err := l.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), l.timeout)
	defer cancel()
	var err error
	if l.config, err = loadConfig(); l.config == nil {
		return err
	}
	if l.store && l.config.TokenKey == "" {
		return usageError("--store wants WABRIDGE_TOKEN_KEY, the key that the bridge has")
	}
	if err := l.complete(ctx, cmd.ErrOrStderr()); err != nil {
		return err
	}
	if err := l.missing(); err != nil {
		return err
	}
	grant, err := l.grant(ctx, cmd.ErrOrStderr())
	if errors.Is(err, auth.ErrNobody) && cmd.Context().Err() == nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("nobody logged in within %s", l.timeout)
		}
		return &exitError{code: exitTimedOut, err: err}
	}
	if err != nil {
		return err
	}
	return l.keep(cmd, grant)
}

// check refuses flags that do not fit together.
func (l *login) check() error {
	ways := 0
	for _, way := range []string{l.authURL, l.deviceURL, l.code} {
		if way != "" {
			ways++
		}
	}
	if l.session != "" {
		if err := checkSession(l.session); err != nil {
			return err
		}
	}
	switch {
	case ways != 1:
		return usageError("want one of --auth-url, --device-url and --code")
	case l.out == "" && !l.store && !l.show:
		return usageError("want a place for the token: --out, --store or --show")
	case l.store && l.session == "":
		return usageError("--store is for a session: name it")
	case l.store && l.code != "":
		return usageError("--store keeps refresh tokens; Embedded Signup gives none: want --out")
	}
	if err := checkTimeout(l.timeout); err != nil {
		return err
	}
	for name, ref := range map[string]bridge.SecretRef{"client-secret": l.definition.ClientSecret, "app-secret": l.definition.AppSecret} {
		if ref != "" && !isReference(ref) {
			return usageError("--%s: want a reference, env:NAME or file:/path, not the secret itself", name)
		}
	}
	return nil
}

// complete takes from the session's definition what no flag says.
func (l *login) complete(ctx context.Context, stderr io.Writer) error {
	l.definition.Scopes = strings.FieldsFunc(l.scopes, func(r rune) bool { return r == ',' || r == ' ' })
	if l.session == "" {
		return nil
	}
	def, err := sessionDefinition(ctx, l.config, l.session, stderr)
	if err != nil {
		return err
	}
	d := &l.definition
	d.TokenURL = cmp.Or(d.TokenURL, def.TokenURL)
	d.ClientID = cmp.Or(d.ClientID, def.ClientID)
	d.ClientSecret = cmp.Or(d.ClientSecret, def.ClientSecret)
	d.AppID = cmp.Or(d.AppID, def.AppID)
	d.AppSecret = cmp.Or(d.AppSecret, def.AppSecret)
	if len(d.Scopes) == 0 {
		d.Scopes = def.Scopes
	}
	return nil
}

// missing reports what the way to log in needs, and neither a flag nor the
// session says.
func (l *login) missing() error {
	f := faults{spell: flagOf}
	need := func(name, value string) {
		if value == "" {
			f.add(name, "is missing: give it, or name a session that has it")
		}
	}
	d := &l.definition
	if l.code != "" {
		need("APP_ID", d.AppID)
		need("APP_SECRET", string(d.AppSecret))
		return f.err()
	}
	f.url("AUTH_URL", text(l.authURL), "https", "http")
	f.url("DEVICE_URL", text(l.deviceURL), "https", "http")
	f.url("TOKEN_URL", text(d.TokenURL), "https", "http")
	need("TOKEN_URL", d.TokenURL)
	need("CLIENT_ID", d.ClientID)
	return f.err()
}

// sessionDefinition is that of the environment, or the stored one.
func sessionDefinition(ctx context.Context, config *config, id string, stderr io.Writer) (bridge.Definition, error) {
	for _, d := range config.Sessions {
		if d.ID == id {
			return d, nil
		}
	}
	c, r, err := registry(ctx, stderr)
	if err != nil {
		return bridge.Definition{}, err
	}
	defer c.close(ctx)
	d, err := r.Definition(ctx, id)
	if errors.Is(err, app.ErrNoSession) {
		err = fmt.Errorf("%w: neither the environment nor the bucket of sessions defines it", err)
	}
	return d, err
}

// grant logs in.
func (l *login) grant(ctx context.Context, out io.Writer) (auth.Grant, error) {
	d := &l.definition
	if l.code != "" {
		secret, err := resolveOptional(d.AppSecret)
		if err != nil {
			return auth.Grant{}, err
		}
		graph, err := cloudapi.NewGraph(cloudapi.GraphConfig{
			URL: l.config.GraphURL, Version: l.config.GraphVersion, AppID: d.AppID, AppSecret: secret, Insecure: l.config.AllowInsecure,
		})
		if err != nil {
			return auth.Grant{}, err
		}
		defer graph.Close()
		token, err := graph.Exchange(ctx, l.code)
		return auth.Grant{Token: token}, err
	}
	secret, err := resolveOptional(d.ClientSecret)
	if err != nil {
		return auth.Grant{}, err
	}
	conf := auth.LoginConfig{
		Config: auth.Config{
			TokenURL: d.TokenURL, ClientID: d.ClientID, ClientSecret: secret, Scopes: d.Scopes, AllowInsecure: l.config.AllowInsecure,
		},
		AuthURL: l.authURL, DeviceURL: l.deviceURL,
	}
	if l.deviceURL != "" {
		return auth.LoginDevice(ctx, conf, func(page, code, complete string) {
			fmt.Fprintf(out, "Open %s and enter the code %s\n", printable(page), printable(code))
			if complete != "" {
				fmt.Fprintf(out, "or open %s\n", printable(complete))
			}
		})
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	if err != nil {
		return auth.Grant{}, fmt.Errorf("listening for the browser (--port): %w", err)
	}
	return auth.LoginCode(ctx, conf, listener, func(address string) {
		fmt.Fprintf(out, "Open this address in a browser on this machine:\n%s\n", address)
	})
}

// resolveOptional gives the secret behind a reference; "" where there is none.
func resolveOptional(ref bridge.SecretRef) (string, error) {
	if ref == "" {
		return "", nil
	}
	return auth.Resolve(string(ref))
}

// isReference says that a secret stands elsewhere.
func isReference(ref bridge.SecretRef) bool {
	scheme, rest, _ := strings.Cut(string(ref), ":")
	return rest != "" && (scheme == "env" || scheme == "file")
}
