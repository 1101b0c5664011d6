package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"wabridge/bridge/app"
	"wabridge/bridge/telemetry"
)

func newRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the service (the default)",
		Long: `Run the service until it is told to stop by SIGTERM or SIGINT. It then hands its
sessions over, settles what is in flight and ends within
WABRIDGE_SHUTDOWN_TIMEOUT; a second signal ends it at once.`,
		Example: `  WABRIDGE_SESSIONS=demo WABRIDGE_SESSION_DEMO_PLATFORM=chatapi … wabridge run`,
		Args:    arguments(cobra.NoArgs),
		RunE:    runService,
	}
}

// runService runs the service until the command's context ends.
func runService(cmd *cobra.Command, _ []string) error {
	c, err := loadConfig()
	if err != nil {
		if c != nil {
			warn(cmd.ErrOrStderr(), c.Warnings) // a misspelt name explains one that is missing
		}
		return err
	}
	logWarnings(c, cmd.ErrOrStderr())
	build := thisBuild()
	a, err := app.New(app.Config{
		Broker:   c.Broker,
		Sessions: c.Sessions,
		Telemetry: telemetry.Config{
			Service: "wabridge", Version: build.Version, Output: cmd.ErrOrStderr(),
			LogLevel: c.LogLevel, LogFormat: c.LogFormat,
		},
		ReplicaID:       c.ReplicaID,
		Version:         build.Version,
		AdminAddr:       c.AdminAddr,
		AdminPprof:      c.AdminPprof,
		NoControl:       !c.Control,
		WebhookAddr:     c.WebhookAddr,
		WebhookCert:     c.WebhookCert,
		WebhookKey:      c.WebhookKey,
		GraphURL:        c.GraphURL,
		GraphVersion:    c.GraphVersion,
		Media:           c.Media,
		TokenKey:        c.TokenKey,
		AllowInsecure:   c.AllowInsecure,
		ShutdownTimeout: c.ShutdownTimeout,
	})
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	if err = a.Run(cmd.Context()); cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // told to stop before it had begun
	}
	return err
}

// logWarnings writes the warnings as the service writes its log.
func logWarnings(c *config, w io.Writer) {
	var handler slog.Handler = slog.NewTextHandler(w, nil)
	if c.LogFormat == telemetry.FormatJSON {
		handler = slog.NewJSONHandler(w, nil)
	}
	for _, text := range c.Warnings {
		slog.New(handler).Warn("configuration", slog.String("warning", text))
	}
}
