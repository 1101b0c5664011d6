// Command wasim is a WhatsApp to develop against: the simulator as a program.
// GET /control on its address describes what it can be made to do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"wabridge/bridge/simulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	addr        string
	sessions    []string
	window      int
	tokenTTL    time.Duration
	client      simulator.Client
	state       string
	noStatuses  bool
	logLevel    slog.Level
	webhook     simulator.Webhook
	healthcheck bool
}

// run is main with everything it touches as a parameter; it returns the exit
// code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case o.healthcheck:
		err = checkHealth(ctx, o.addr)
	default:
		err = serve(ctx, o, stdout, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "wasim:", err) // there is nowhere else to say it
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("wasim", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	fs.Func("session", "session `id`s, comma separated; may be repeated (default demo)", func(v string) error {
		for id := range strings.SplitSeq(v, ",") {
			o.sessions = append(o.sessions, strings.TrimSpace(id))
		}
		return nil
	})
	fs.IntVar(&o.window, "window", 0, "how many sends may be unanswered (default 256)")
	fs.DurationVar(&o.tokenTTL, "token-ttl", time.Hour, "lifetime of access tokens")
	fs.StringVar(&o.client.ID, "client-id", "wabridge", "OAuth client id, for development only")
	fs.StringVar(&o.client.Secret, "client-secret", "wabridge-dev-secret", "OAuth client secret, for development only")
	fs.StringVar(&o.state, "state", "", "`directory` that keeps the state through a restart (default: memory only)")
	fs.BoolVar(&o.noStatuses, "no-statuses", false, "do not report sent, delivered and read")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.StringVar(&o.webhook.URL, "webhook", "", "Cloud API sessions: post webhooks to this `URL` instead of serving WebSockets")
	fs.StringVar(&o.webhook.AppSecret, "app-secret", "wabridge-dev-app-secret", "signs the webhooks, for development only")
	fs.StringVar(&o.webhook.Token, "graph-token", "wabridge-dev-token", "the system-user token that Graph takes, for development only")
	fs.StringVar(&o.webhook.VerifyToken, "verify-token", "wabridge-dev-verify", "for the webhook handshake, for development only")
	fs.BoolVar(&o.healthcheck, "healthcheck", false, "ask a running simulator at -addr whether it is well, and exit")
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("reading flags: %w", err)
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", fs.Arg(0))
		_, _ = fmt.Fprintln(stderr, "wasim:", err) // there is nowhere else to say it
		return nil, err
	}
	if len(o.sessions) == 0 {
		o.sessions = []string{"demo"}
	}
	return o, nil
}

func serve(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	cfg := simulator.Config{
		Clients: []simulator.Client{o.client}, TokenTTL: o.tokenTTL, StateDir: o.state,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: o.logLevel})),
	}
	for _, id := range o.sessions {
		session := simulator.SessionConfig{ID: id, Window: o.window, NoStatuses: o.noStatuses}
		if o.webhook.URL != "" {
			hook := o.webhook
			session.Webhook = &hook
		}
		cfg.Sessions = append(cfg.Sessions, session.WithDefaults())
	}
	sim, err := simulator.New(cfg) //nolint:contextcheck // it lives until Close
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%s is in use; choose another with -addr", o.addr)
		}
		return errors.Join(err, sim.Close())
	}
	_, _ = io.WriteString(stdout, banner(o, cfg.Sessions, listener.Addr().String())) // a closed stdout is no reason to stop
	return errors.Join(sim.Serve(ctx, listener), sim.Close())
}

// banner says where everything is.
func banner(o *options, sessions []simulator.SessionConfig, addr string) string {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(fmt.Sprintf(format, args...) + "\n") }
	line("wasim on http://%s (control API: http://%s/control)", addr, addr)
	if o.webhook.URL == "" {
		line("  chat    ws://%s/v1/sessions/{session}/ws   sessions: %s", addr, strings.Join(o.sessions, ", "))
		line("  oauth   http://%s/oauth/token   client: %s   secret: %s", addr, o.client.ID, o.client.Secret)
		return b.String()
	}
	line("  graph   http://%s   token: %s   webhooks to %s", addr, o.webhook.Token, o.webhook.URL)
	line("  app     secret: %s   verify token: %s", o.webhook.AppSecret, o.webhook.VerifyToken)
	for _, c := range sessions {
		line("  %s   phone number id: %s   WABA id: %s", c.ID, c.PhoneNumberID, c.WABAID)
	}
	return b.String()
}

// checkHealth asks /livez.
func checkHealth(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // listening everywhere
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("checking health: status %d", resp.StatusCode)
	}
	return nil
}
