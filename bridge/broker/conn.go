package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

// ErrServerTooOld is wrapped by the error on a server older than 2.14, which
// can neither reset a consumer nor raise the limit of consumers.
var ErrServerTooOld = errors.New("NATS server too old, want 2.14 or later")

const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	connectTimeout  = 5 * time.Second
	drainTimeout    = 10 * time.Second
	// pingEvery with two pings out finds a dead peer in about 20 s.
	pingEvery = 10 * time.Second
	// A server that takes connections and hangs is left after hungAfter, where
	// there is another one; a write into it fails as soon.
	hungAfter = 2 * time.Second
)

// options are those of the connection. What is published while disconnected
// fails at once: a reconnect buffer would send it behind what comes later.
func (b *Broker) options() ([]nats.Option, error) {
	c := b.config
	options := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(connectTimeout),
		nats.SetCustomDialer(&b.line),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingEvery),
		nats.FlusherTimeout(hungAfter),
		nats.DrainTimeout(drainTimeout),
		nats.PermissionErrOnSubscribe(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(b.asyncError),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ReconnectHandler(b.reconnected),
		nats.ClosedHandler(func(*nats.Conn) { close(b.connClosed) }),
	}
	if c.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.Creds != "" {
		options = append(options, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("reading the nkey seed: %w", err)
		}
		options = append(options, option)
	}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	return options, nil
}

// dial connects, and tries again while no server is up yet.
func (b *Broker) dial(ctx context.Context) error {
	options, err := b.options()
	if err != nil {
		return err
	}
	told := false
	return retry(ctx, b.config.StartWait, func() (bool, error) {
		if b.config.Context == "" {
			b.nc, err = nats.Connect(b.config.URL, options...)
		} else {
			var settings natscontext.Settings
			b.nc, settings, err = natscontext.Connect(b.config.Context, options...)
			if b.config.Domain == "" {
				b.config.Domain = settings.JSDomain
			}
		}
		if err == nil {
			return false, nil
		}
		again := passing(err)
		if again && !told {
			b.log.Info("waiting for NATS", slog.String("for", b.config.StartWait.String()), slog.Any("error", err))
			told = true
		}
		return again, fmt.Errorf("connecting to NATS: %w", err)
	})
}

// passing reports whether what kept us from connecting may be over the next
// time: no server is up yet, or the network failed on the way.
func passing(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)
}

// retry calls f until it says that trying again is of no use, for as long as
// wait, and gives its last error; with that of ctx, where this ended it.
func retry(ctx context.Context, wait time.Duration, f func() (again bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		again, err := f()
		if err == nil || !again {
			return err
		}
		if pause(limited, delay) == nil {
			continue
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return err
	}
}

// call bounds one call of the JetStream API. It also ends it when a lost
// connection is back: the answer went with it.
func (b *Broker) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	reconnected := b.reopen.wait()
	go func() {
		select {
		case <-reconnected:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// pauseUntil waits, but not longer than until a lost connection is back, or
// gives ctx's error.
func (b *Broker) pauseUntil(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.reopen.wait():
	case <-timer.C:
	}
	return nil
}

// pause waits, or gives ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func checkVersion(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	if errX != nil || errY != nil {
		return fmt.Errorf("NATS server says version %q, want 2.14 or later", version)
	}
	if x < 2 || x == 2 && y < 14 {
		return fmt.Errorf("%w: it is %s", ErrServerTooOld, version)
	}
	return nil
}

func (b *Broker) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		b.log.Warn("NATS connection lost", slog.Any("error", err))
	}
	b.answers.disconnected()
}

func (b *Broker) reconnected(nc *nats.Conn) {
	b.metrics.reconnects.Add(context.Background(), 1)
	b.log.Info("NATS connection restored", slog.String("server", nc.ConnectedServerName()))
	if err := checkVersion(nc.ConnectedServerVersion()); err != nil {
		b.log.Error("connected to another NATS server", slog.Any("error", err))
	}
	b.answers.reconnected()
	b.reopen.broadcast()
}

// leaveHung moves the connection to another server of the cluster where the
// present one has said nothing at all for hungAfter, a pong included, until the
// connection is closed. A server that is merely slow still says something.
func (b *Broker) leaveHung() {
	tick := time.NewTicker(hungAfter / 2)
	defer tick.Stop()
	heard, received := time.Now(), uint64(0)
	for {
		err := b.nc.FlushTimeout(hungAfter / 2)
		if in := b.nc.Stats().InMsgs; err == nil || in != received || !b.nc.IsConnected() {
			heard, received = time.Now(), in
		}
		if time.Since(heard) >= hungAfter && len(b.nc.Servers()) > 1 {
			b.log.Warn("NATS server hangs; trying another", slog.String("server", b.nc.ConnectedServerName()))
			// It fails on a closed connection only.
			_ = b.nc.ForceReconnect()
			heard = time.Now()
		}
		select {
		case <-b.connClosed:
			return
		case <-tick.C:
		}
	}
}
