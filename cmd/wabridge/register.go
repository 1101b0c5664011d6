package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/cloudapi"
)

func newRegisterCommand() *cobra.Command {
	var pinFile string
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "register <session>",
		Short: "Register the phone number of a Cloud API session",
		Long: `Register the number of a session for the Cloud API. The PIN is the number's
two-step verification, six digits: the one that is set, or one to set now. It is
read from a file, or from standard input, where a command line would show it to
others.`,
		Example: `  wabridge register support --pin-file /run/secrets/pin
  echo 123456 | wabridge register support`,
		Args: arguments(cobra.ExactArgs(1)),

		ValidArgsFunction: completeSessions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTimeout(timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return register(ctx, cmd, args[0], pinFile, asJSON)
		},
	}
	cmd.Flags().StringVar(&pinFile, "pin-file", "-", "file with the PIN; - is standard input")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long it may take")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func register(ctx context.Context, cmd *cobra.Command, session, pinFile string, asJSON bool) error {
	if err := checkSession(session); err != nil {
		return err
	}
	pin, err := readPIN(pinFile, cmd.InOrStdin())
	if err != nil {
		return err
	}
	config, err := loadConfig()
	if config == nil {
		return err
	}
	d, err := sessionDefinition(ctx, config, session, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if d.Platform != bridge.PlatformCloudAPI {
		return usageError("session %s is not on the Cloud API: there is no number to register", session)
	}
	graph, err := newGraph(config, &d)
	if err != nil {
		return err
	}
	defer graph.Close()
	if err := graph.Register(ctx, d.PhoneNumberID, pin); err != nil {
		return err
	}
	if asJSON {
		return encodeJSON(cmd.OutOrStdout(), struct {
			Session    string `json:"session"`
			Registered bool   `json:"registered"`
		}{session, true})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "The number of session %s is registered\n", session)
	return err
}

// readPIN reads six digits.
func readPIN(name string, stdin io.Reader) (string, error) {
	var content []byte
	var err error
	if name == "-" {
		content, err = io.ReadAll(io.LimitReader(stdin, 64))
	} else {
		content, err = os.ReadFile(name)
	}
	if err != nil {
		return "", usageError("--pin-file: %w", err)
	}
	pin := strings.TrimSpace(string(content))
	if len(pin) != 6 || strings.Trim(pin, "0123456789") != "" {
		return "", usageError("--pin-file: want a PIN of six digits")
	}
	return pin, nil
}

// newGraph is a client with the token of a Cloud API session.
func newGraph(config *config, d *bridge.Definition) (*cloudapi.Graph, error) {
	token, err := resolveOptional(d.Token)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	source, err := auth.NewStatic(token, d.Scopes...)
	if err != nil {
		return nil, err
	}
	secret, err := resolveOptional(d.AppSecret)
	if err != nil {
		return nil, fmt.Errorf("app secret: %w", err)
	}
	return cloudapi.NewGraph(cloudapi.GraphConfig{
		URL: config.GraphURL, Version: config.GraphVersion, Token: source,
		AppID: d.AppID, AppSecret: secret, Insecure: config.AllowInsecure,
	})
}
