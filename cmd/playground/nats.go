package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS runs a server with JetStream in dir.
func startNATS(addr, dir string) (*server.Server, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-nats %s: want host:port", addr)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("-nats %s: the port is not a number", addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	ns, err := server.NewServer(&server.Options{
		Host: host, Port: port, JetStream: true, StoreDir: dir,
		ServerName: "playground", NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("starting NATS: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		ns.Shutdown()
		return nil, errors.New("starting NATS: not ready after 10 s")
	}
	return ns, nil
}

// claim takes an address for the moment, to say clearly when it is taken.
func claim(ctx context.Context, flagName, addr string) error {
	l, err := listen(ctx, flagName, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// listen takes an address. A taken one is an error that names the flag.
func listen(ctx context.Context, flagName, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is taken: choose another address with %s HOST:PORT", addr, flagName)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", flagName, addr, err)
	}
	return l, nil
}
