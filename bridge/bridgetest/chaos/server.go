package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serverRole is the first argument that makes this program a NATS server, in a
// process of its own that can be killed; the second is a serverConfig.
const serverRole = "nats-server"

// serverConfig is what one NATS server is told.
type serverConfig struct {
	Name  string
	Port  int
	Store string
	// ClusterPort and Routes are set in a cluster. Routes lead through links.
	ClusterPort int
	Routes      []string
}

func (c serverConfig) encode() (string, error) {
	b, err := json.Marshal(c)
	return string(b), err
}

// runServer is a NATS server until SIGTERM; it returns the exit code.
func runServer(config string, stderr io.Writer) int {
	if err := serveNATS(config); err != nil {
		fmt.Fprintln(stderr, "nats-server:", err)
		return 1
	}
	return 0
}

func serveNATS(config string) error {
	var c serverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	o := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, JetStream: true, StoreDir: c.Store, NoSigs: true, Logtime: true,
	}
	if c.ClusterPort != 0 {
		o.Cluster = server.ClusterOpts{
			Name: "chaos", Host: "127.0.0.1", Port: c.ClusterPort,
			// Servers and clients meet through links alone: no address is passed on
			// that leads past them.
			NoAdvertise: true, Advertise: "127.0.0.1:1",
		}
		for _, r := range c.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	s.ConfigureLogger()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("not ready for connections")
	}
	<-term
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
