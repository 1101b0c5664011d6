package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/broker"
	"wabridge/bridge/simulator"
	"wabridge/bridge/telemetry"
)

const (
	session = "demo"
	phone   = "15550142233"
	client  = "playground"
	// secret protects nothing: the simulator runs in this process, on loopback.
	secret = "playground"
)

// play runs the three parts until ctx ends, and takes everything away again.
func play(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	for _, claimed := range []struct{ flag, addr string }{{"-nats", o.nats}, {"-admin", o.admin}} {
		if err := claim(ctx, claimed.flag, claimed.addr); err != nil {
			return err
		}
	}
	web, err := listen(ctx, "-http", o.http)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreClosed(web.Close())) }()
	dir, err := os.MkdirTemp("", "wabridge-playground-")
	if err != nil {
		return fmt.Errorf("making a folder for JetStream: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ns, err := startNATS(o.nats, dir)
	if err != nil {
		return err
	}
	defer func() { ns.Shutdown(); ns.WaitForShutdown() }()
	page, err := startHop(ctx, ns.ClientURL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, page.close(ctx)) }()
	sim, err := startWhatsApp(page) //nolint:contextcheck // it ends with Close
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	conf := config(o, ns.ClientURL(), web.Addr().String(), stderr)
	conf.Telemetry.Spans = page.spans
	service, err := app.New(conf)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// The simulator outlives the bridge, so that the bridge can close in order.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var parts, whatsapp sync.WaitGroup
	whatsapp.Go(func() { stop(sim.Serve(life, web)) })
	parts.Go(func() { stop(service.Run(ctx)) })
	defer func() { page.leave(); end(); whatsapp.Wait() }()
	defer parts.Wait()

	watching, err := watch(ns, newWatcher(stdout))
	if err != nil {
		stop(err)
	} else {
		defer watching.Close()
		greet(stdout, ns.ClientURL(), web.Addr())
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startWhatsApp makes a simulator with a phone or two. What a person watches
// takes longer there than a test would wait for.
func startWhatsApp(page *hop) (*simulator.Simulator, error) {
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: session}},
		Clients:  []simulator.Client{{ID: client, Secret: secret, Sessions: []string{session}}},
		Delays: simulator.Delays{
			Sent:      simulator.Duration(50 * time.Millisecond),
			Delivered: simulator.Duration(250 * time.Millisecond),
			Read:      simulator.Duration(900 * time.Millisecond),
		},
		Hop: page.handler(),
	})
	if err != nil {
		return nil, err
	}
	for _, u := range []simulator.User{{Number: phone, Name: "Marta"}, {Number: "15550142244", Name: "Jonas"}} {
		if err := sim.SetUser(u); err != nil {
			return nil, errors.Join(err, sim.Close())
		}
	}
	return sim, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func config(o options, natsURL, whatsapp string, stderr io.Writer) app.Config {
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelDebug
	}
	return app.Config{
		Broker:    broker.Config{URL: natsURL, Manage: true},
		Telemetry: telemetry.Config{Service: "wabridge", Version: "playground", Output: stderr, LogLevel: level},
		AdminAddr: o.admin,
		ReplicaID: "playground",
		Version:   "playground",
		Sessions: []bridge.Definition{{
			ID: session, Platform: bridge.PlatformChatAPI,
			URL:          "ws://" + whatsapp + "/v1/sessions/{session}/ws",
			TokenURL:     "http://" + whatsapp + "/oauth/token",
			ClientID:     client,
			ClientSecret: "value:" + secret,
		}},
	}
}

// watch prints what passes on the subjects, as any NATS client would see it.
func watch(ns *server.Server, w *watcher) (*nats.Conn, error) {
	nc, err := nats.Connect(ns.ClientURL(), nats.Name("playground's eyes"))
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	if _, err := nc.Subscribe(bridge.DefaultPrefix+".>", w.message); err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	return nc, nil
}

func greet(out io.Writer, natsURL string, web net.Addr) {
	server := ""
	if natsURL != "nats://127.0.0.1:4222" {
		server = " --server " + natsURL
	}
	env := ""
	if server != "" {
		env = "WABRIDGE_NATS_URL=" + natsURL + " "
	}
	fmt.Fprint(out, strings.Join([]string{
		"wabridge playground: a phone, the hop and its traces at http://" + web.String(),
		"NATS is at " + natsURL,
		"",
		"Send a message to the phone +" + phone + ", in another terminal:",
		"  nats" + server + ` pub wa.send.` + session + ` '{"to":"+` + phone + `","text":"hello"}'`,
		"  " + env + "go run ./cmd/wabridge send " + session + " --to +" + phone + " --text hello",
		"Answer as the phone:",
		"  curl http://" + web.String() + "/control/users/" + phone + `/messages -d '{"session":"` + session + `","text":"hi"}'`,
		"Watch it from elsewhere:",
		"  nats" + server + " sub 'wa.>'",
		"  " + env + "go run ./cmd/wabridge tail",
		"",
		"Ctrl-C ends it and leaves nothing behind. What passes on the subjects:",
	}, "\n")+"\n")
}
