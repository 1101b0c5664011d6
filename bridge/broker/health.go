package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusalCounts is how long a refused permission makes Health fail: longer
// than a store waits before it tries again, so that it does not flap.
const refusalCounts = time.Minute

// refusals remembers what the server refused last. Refusals of what is
// published reach a client by the async error handler and in no other way.
type refusals struct {
	mu   sync.Mutex
	what string
	at   time.Time
}

func (r *refusals) note(what string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.what, r.at = what, at
}

func (r *refusals) recent(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what == "" || now.Sub(r.at) > refusalCounts {
		return nil
	}
	return fmt.Errorf("NATS refused permission %s ago: %s", now.Sub(r.at).Round(time.Second), r.what)
}

// Health makes a round trip to NATS and one to JetStream, within ctx and 5 s
// each. It also
// fails while a refusal of permission is less than a minute old.
func (b *Broker) Health(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return errors.New("not connected to NATS")
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("reaching NATS: %w", err)
	}
	// Reading the stream's copies here also keeps the stores right when an
	// operator scales it.
	if err := b.readCopies(ctx); err != nil {
		return fmt.Errorf("reaching JetStream: %w", err)
	}
	return b.refused.recent(time.Now())
}

func (b *Broker) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		what := refused(err.Error())
		b.refused.note(what, time.Now())
		b.metrics.refusals.Add(context.Background(), 1)
		b.log.Error("NATS refused permission", slog.String("what", what))
		return
	}
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		b.log.Error("a NATS subscription fell behind and lost messages", slog.String("subject", shorten(sub.Subject)))
		return
	}
	b.log.Error("NATS reported an error", slog.Any("error", err))
}

// refused names what a permission violation is about without the tokens that
// may tell of a person.
func refused(message string) string {
	verb := "publish to"
	if strings.Contains(strings.ToLower(message), "subscription") {
		verb = "subscribe to"
	}
	quoted := regexp.MustCompile(`"([^"]*)"`).FindStringSubmatch(message)
	if quoted == nil {
		return verb + " a subject"
	}
	return verb + " " + shorten(quoted[1])
}

// shorten keeps the tokens that say what a subject is for: "wa.recv.>",
// "$KV.wa_ledger.>", "$JS.API.CONSUMER.CREATE.WA_SEND.>".
func shorten(subject string) string {
	keep := 2
	if strings.HasPrefix(subject, "$JS.") {
		keep = 5
	}
	tokens := strings.Split(subject, ".")
	if len(tokens) <= keep {
		return subject
	}
	return strings.Join(tokens[:keep], ".") + ".>"
}
