package cloudapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	headerTimeout  = 5 * time.Second
	writeTimeout   = time.Minute
	keepAlive      = time.Minute
	maxHeaderBytes = 16 << 10
	serverStop     = 25 * time.Second // a little more than a request may take
)

// ServerConfig says where webhooks are listened for.
type ServerConfig struct {
	Handler http.Handler
	// CertFile and KeyFile, PEM, turn TLS on. They are read again when they
	// change. Without them something in front has to speak TLS: Meta posts to
	// nothing else.
	CertFile, KeyFile string
	// Logger is slog.Default where nil.
	Logger *slog.Logger
}

// Serve takes connections on l until ctx ends, then finishes what is under way
// within 25 s. It closes l.
func Serve(ctx context.Context, l net.Listener, c ServerConfig) error {
	if c.Handler == nil || (c.CertFile == "") != (c.KeyFile == "") {
		_ = l.Close() // the error below says more
		return errors.New("webhook server: want a handler, and certificate and key both or neither")
	}
	log := cmp.Or(c.Logger, slog.Default())
	server := &http.Server{
		Handler:           c.Handler,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHeaderBytes,
		// What strangers do wrong is theirs to log.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if c.CertFile != "" {
		pair := &keyPair{cert: c.CertFile, key: c.KeyFile, log: log}
		if _, err := pair.get(nil); err != nil {
			_ = l.Close() // the error below says more
			return fmt.Errorf("webhook server: %w", err)
		}
		l = tls.NewListener(l, &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			GetCertificate: pair.get,
		})
	}
	stopped := make(chan error, 1)
	detach := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), serverStop)
		defer cancel()
		stopped <- server.Shutdown(end)
	})
	err := server.Serve(l)
	if detach() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhooks: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stopping the webhook server: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// keyPair is a certificate in two files that something else renews.
type keyPair struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time
}

// get implements tls.Config.GetCertificate. A pair that cannot be read leaves
// the one before in use.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.cert)
	if err == nil && p.loaded != nil && info.ModTime().Equal(p.changed) {
		return p.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(p.cert, p.key)
	}
	switch {
	case err == nil:
		p.loaded, p.changed = &pair, info.ModTime()
	case p.loaded == nil:
		return nil, fmt.Errorf("reading the webhook certificate: %w", err)
	default:
		p.log.Warn("the webhook certificate could not be read again", "error", err)
	}
	return p.loaded, nil
}
