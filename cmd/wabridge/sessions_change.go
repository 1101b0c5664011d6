package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wabridge/bridge"
	"wabridge/bridge/app"
)

// definitionFlag is one text of a definition, and its flag.
type definitionFlag struct {
	name  string
	value *string
	about string
}

// definitionFlags are the flags of `sessions add` for what d holds as text. Their
// names are those of a session's variables in small letters.
func definitionFlags(d *bridge.Definition) []definitionFlag {
	const reference = ": env:NAME or file:/path"
	return []definitionFlag{
		{"platform", &d.Platform, "chatapi or cloudapi"},
		{"url", &d.URL, "chatapi: address of the WebSocket, wss://…; {session} in it is filled in"},
		{"token-url", &d.TokenURL, "OAuth 2.0 token endpoint"},
		{"client-id", &d.ClientID, "OAuth 2.0 client"},
		{"client-secret", (*string)(&d.ClientSecret), "its secret" + reference},
		{"refresh-token", (*string)(&d.RefreshToken), "first refresh token" + reference + ", or stored: by wabridge login"},
		{"token", (*string)(&d.Token), "access token that is given, not fetched" + reference},
		{"phone-number-id", &d.PhoneNumberID, "cloudapi: id of the business's phone number"},
		{"waba-id", &d.WABAID, "cloudapi: id of the WhatsApp Business Account"},
		{"app-id", &d.AppID, "cloudapi: id of the app"},
		{"app-secret", (*string)(&d.AppSecret), "cloudapi: the app's secret" + reference},
		{"previous-app-secret", (*string)(&d.PreviousAppSecret), "cloudapi: the secret before it" + reference},
		{"verify-token", (*string)(&d.VerifyToken), "cloudapi: the word that Meta repeats" + reference},
		{"unknown", (*string)(&d.Unknown), "cloudapi: what follows an unanswered send: report or resend"},
	}
}

func newSessionsAddCommand() *cobra.Command {
	var d bridge.Definition
	var scopes string
	var replace, asJSON bool
	cmd := &cobra.Command{
		Use:   "add <session>",
		Short: "Define a session",
		Long: `Store a session's definition in the bucket of sessions: a bridge that runs starts
it at once. A secret is given as a reference, env:NAME or file:/path, which the
bridge resolves in its own environment; a secret itself is refused, since whoever
may read the bucket could read it.`,
		Example: `  wabridge sessions add shop --platform chatapi --url 'wss://chat.example/v1/{session}/ws' \
    --token-url https://id.example/token --client-id shop --client-secret env:SHOP_SECRET
  wabridge sessions add support --platform cloudapi --phone-number-id 880090070060050 \
    --token file:/run/secrets/token --app-secret file:/run/secrets/app --verify-token env:VERIFY`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkSession(args[0]); err != nil {
				return err
			}
			d.ID = args[0]
			d.Scopes = strings.FieldsFunc(scopes, func(r rune) bool { return r == ',' || r == ' ' })
			if err := checkDefinition(&d); err != nil {
				return err
			}
			return each(cmd, args, asJSON, func(ctx context.Context, r *app.Registry, id string) (change, error) {
				err := r.Add(ctx, d, replace)
				if errors.Is(err, bridge.ErrConflict) {
					err = fmt.Errorf("session %s is defined already: --replace defines it anew", id)
				}
				return change{id, "added", true, "is defined"}, err
			})
		},
	}
	for _, f := range definitionFlags(&d) {
		cmd.Flags().StringVar(f.value, f.name, "", f.about)
	}
	cmd.Flags().StringVar(&scopes, "scopes", "", "scopes to ask for, separated by commas or spaces")
	cmd.Flags().BoolVar(&d.Paused, "paused", false, "define it paused")
	cmd.Flags().BoolVar(&replace, "replace", false, "define it anew where it is defined")
	jsonChanges(cmd, &asJSON)
	return cmd
}

// flagOf spells the name of a value as its flag.
func flagOf(name string) string { return "--" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) }

// checkDefinition reports what is wrong with a definition as faults of its
// flags. It quotes no value: any may be a secret in the wrong place.
func checkDefinition(d *bridge.Definition) error {
	f := faults{spell: flagOf}
	f.url("URL", text(d.URL), "wss", "ws")
	f.url("TOKEN_URL", text(d.TokenURL), "https", "http")
	for name, value := range map[string]string{"PHONE_NUMBER_ID": d.PhoneNumberID, "WABA_ID": d.WABAID, "APP_ID": d.AppID} {
		f.digits(name, text(value))
	}
	for name, ref := range map[string]bridge.SecretRef{
		"CLIENT_SECRET": d.ClientSecret, "REFRESH_TOKEN": d.RefreshToken, "TOKEN": d.Token,
		"APP_SECRET": d.AppSecret, "PREVIOUS_APP_SECRET": d.PreviousAppSecret, "VERIFY_TOKEN": d.VerifyToken,
	} {
		if ref != "" && !isReference(ref) && (ref != app.StoredToken || name != "REFRESH_TOKEN") {
			f.add(name, "want a reference, env:NAME or file:/path, not the secret itself")
		}
	}
	f.complete(func(name string) string { return name }, d, d.Platform == bridge.PlatformCloudAPI)
	slices.Sort(f.list)
	return f.err()
}

// change is what was done to one session.
type change struct {
	Session string `json:"session"`
	// Did is added, removed, paused or resumed.
	Did string `json:"did"`
	// Changed says whether it was not so before.
	Changed bool `json:"changed"`

	words string // for a person
}

func jsonChanges(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print one JSON object per session")
}

func newSessionsRemoveCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rm <session>...",
		Short: "Remove the stored definitions of sessions",
		Long: `Remove what the bucket of sessions holds of each session. A session that is
defined there stops, and commands for it are rejected after 30 seconds; one that
the environment defines goes on, no longer paused.`,
		Example: "  wabridge sessions rm shop",
		Args:    arguments(cobra.MinimumNArgs(1)),

		ValidArgsFunction: completeSessions(100),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, args, asJSON, func(ctx context.Context, r *app.Registry, id string) (change, error) {
				return change{id, "removed", true, "is removed"}, r.Remove(ctx, id)
			})
		},
	}
	jsonChanges(cmd, &asJSON)
	return cmd
}

func newSessionsPauseCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pause <session>...",
		Short: "Pause sessions; their commands wait",
		Long: `Pause each session: it closes its connection, and its commands wait in the stream,
over restarts too, until it is resumed. That is so for sessions that the
environment defines as well.`,
		Example: "  wabridge sessions pause shop",
		Args:    arguments(cobra.MinimumNArgs(1)),

		ValidArgsFunction: completeSessions(100),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, args, asJSON, func(ctx context.Context, r *app.Registry, id string) (change, error) {
				changed, err := r.Pause(ctx, id)
				return change{id, "paused", changed, word(changed, "is paused", "was paused already")}, err
			})
		},
	}
	jsonChanges(cmd, &asJSON)
	return cmd
}

func newSessionsResumeCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "resume <session>...",
		Short: "Resume sessions that are paused or wait for someone",
		Long: `Resume each session: it begins again, with the commands that waited, in order.
That ends a pause, and the wait of a session whose token or permission was
refused, or that another connection replaced.`,
		Example: "  wabridge sessions resume shop",
		Args:    arguments(cobra.MinimumNArgs(1)),

		ValidArgsFunction: completeSessions(100),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, args, asJSON, func(ctx context.Context, r *app.Registry, id string) (change, error) {
				changed, err := r.Resume(ctx, id)
				return change{id, "resumed", changed, word(changed, "is resumed", "runs already")}, err
			})
		},
	}
	jsonChanges(cmd, &asJSON)
	return cmd
}

func word(changed bool, yes, no string) string {
	if changed {
		return yes
	}
	return no
}

// each does something to every session, says what, and goes on after a failure.
// What failed is no line of the output, but an error.
func each(cmd *cobra.Command, ids []string, asJSON bool, do func(context.Context, *app.Registry, string) (change, error)) error {
	for _, id := range ids {
		if err := checkSession(id); err != nil {
			return err
		}
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	c, r, err := registry(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close(ctx)
	var failed error
	for _, id := range ids {
		done, err := do(ctx, r, id)
		switch {
		case err != nil:
		case asJSON:
			err = encodeJSON(out, done)
		default:
			_, err = fmt.Fprintf(out, "session %s %s\n", id, done.words)
		}
		failed = errors.Join(failed, err)
	}
	return cmp.Or(failed, ctx.Err())
}
