package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// platformKinds have the simulator misbehave.
func platformKinds() []kind {
	some := func(name, about string, suits func(*options) bool, mild bool, make func(f *fault) map[string]any) kind {
		return kind{name: name, about: about, lane: "platform " + name, suits: suits, mild: mild, strike: func(ctx context.Context, w *world, f *fault) error {
			fields := make(f)
			fields["session"] = session(f.rand.IntN(w.o.sessions))
			f.note(fmt.Sprint(fields["session"]))
			return w.control.call(ctx, "POST", "/control/faults", fields, nil)
		}}
	}
	counted := func(kind string, most int) func(f *fault) map[string]any {
		return func(f *fault) map[string]any { return map[string]any{"kind": kind, "count": 1 + f.rand.IntN(most)} }
	}
	return []kind{
		some("drop-answer", "sends are accepted and never answered", nil, false, counted("drop_answer", 3)),
		some("accept-and-cut", "a send is accepted and the connection cut", nil, false, counted("accept_and_cut", 2)),
		some("delay-answer", "sends are answered late", nil, false, func(f *fault) map[string]any {
			return map[string]any{"kind": "delay_answer", "count": 20, "delay": f.between(200*time.Millisecond, 3*time.Second).String()}
		}),
		some("duplicate", "events are sent twice", nil, true, counted("duplicate", 50)),
		some("reorder", "events change places", nil, false, counted("reorder", 10)),
		some("gap", "an event is withheld until a reconnect", onChat, false, counted("gap", 1)),
		some("lost-sequence", "a sequence number is left out for good", onChat, false, counted("lost_sequence", 1)),
		some("malformed", "frames that cannot be read", onChat, true, func(f *fault) map[string]any {
			variants := []string{"not_json", "truncated", "not_object", "not_event", "no_type", "unknown_type", "invalid_utf8", "binary", "deep"}
			return map[string]any{"kind": "malformed", "variant": variants[f.rand.IntN(len(variants))]}
		}),
		some("oversized", "a frame of 4 MiB", onChat, true, func(*fault) map[string]any {
			return map[string]any{"kind": "malformed", "variant": "oversized", "size": 4 << 20}
		}),
		some("close", "a connection is closed by the platform", onChat, false, func(f *fault) map[string]any {
			codes := []int{1001, 1011, 4429, 4401}
			return map[string]any{"kind": "close", "code": codes[f.rand.IntN(len(codes))], "retry_after": "1s"}
		}),
		some("stall-read", "a connection is not read by the platform", onChat, false, func(f *fault) map[string]any {
			return map[string]any{"kind": "stall_read", "delay": f.between(time.Second, 4*time.Second).String()}
		}),
		some("hang", "a connection is neither read nor written", onChat, false, func(f *fault) map[string]any {
			return map[string]any{"kind": "hang", "delay": f.between(time.Second, 4*time.Second).String()}
		}),
		some("forged", "a webhook with a wrong signature", onCloud, true, counted("webhook_forged", 3)),
		some("early", "statuses come before the answer", onCloud, true, counted("webhook_early", 50)),
		armed("throttle-session", "a storm of 130429", map[string]any{"kind": "refuse", "code": 130429, "retry_after": "1s", "probability": 0.5}),
		armed("throttle-pair", "a storm of 131056", map[string]any{"kind": "refuse", "code": 131056, "retry_after": "1s", "probability": 0.05}),
		armed("try-again", "sends are refused for the moment (131016)", map[string]any{"kind": "refuse", "code": 131016, "probability": 0.2}),
		suited(onCloud, armed("graph-503", "Graph answers 503 without a word", map[string]any{"kind": "graph", "code": 503, "probability": 0.05})),
		suited(onChat, armed("no-handshake", "handshakes get 503, connections are cut", map[string]any{"kind": "handshake", "code": 503}, map[string]any{"kind": "cut"})),
		suited(onChat, armed("no-token", "the token endpoint answers 503, tokens end", map[string]any{"kind": "token", "code": 503}, map[string]any{"kind": "expire_token", "count": 1})),
		{name: "unauthorized", about: "a session's token is refused again and again", lane: "platform unauthorized", suits: onChat, strike: unauthorized},
		{name: "token-expired", about: "every access token ends at once", lane: "tokens", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.retoken(ctx, f, map[string]any{"action": "expire", "client": appID, "in": "0s"})
		}},
		{name: "token-revoked", about: "every token is taken away", lane: "tokens", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.retoken(ctx, f, map[string]any{"action": "revoke", "client": appID, "refresh": true})
		}},
	}
}

func suited(suits func(*options) bool, k kind) kind {
	k.suits = suits
	return k
}

// armed faults go on for a while.
func armed(name, about string, faults ...map[string]any) kind {
	return kind{name: name, about: about, lane: "platform " + name, strike: func(ctx context.Context, w *world, f *fault) error {
		d := f.between(300*time.Millisecond, 2*time.Second)
		f.note("for " + d.Round(time.Millisecond).String())
		var ids []string
		for _, fields := range faults {
			body := map[string]any{"count": -1}
			maps.Copy(body, fields)
			if body["kind"] == "cut" {
				body["count"] = w.o.sessions
			}
			var made struct{ ID string }
			if err := w.control.call(ctx, "POST", "/control/faults", body, &made); err != nil {
				return err
			}
			ids = append(ids, made.ID)
		}
		await(ctx, d)
		var errs []error
		for _, id := range ids {
			errs = append(errs, w.control.call(ctx, "DELETE", "/control/faults/"+id, nil, nil))
		}
		return errors.Join(errs...)
	}}
}

// unauthorized: the handshake of one session refuses the token, and the one
// that is fetched in its place.
func unauthorized(ctx context.Context, w *world, f *fault) error {
	s := session(f.rand.IntN(w.o.sessions))
	f.note(s)
	return errors.Join(
		w.control.call(ctx, "POST", "/control/faults", map[string]any{"kind": "handshake", "session": s, "code": 401, "count": 2}, nil),
		w.control.call(ctx, "POST", "/control/faults", map[string]any{"kind": "close", "session": s, "code": 4401}, nil),
	)
}

// retoken ends tokens. A Cloud API session cannot fetch a new one: somebody
// gives it one after a moment.
func (w *world) retoken(ctx context.Context, f *fault, body map[string]any) error {
	if err := w.control.call(ctx, "POST", "/control/tokens", body, nil); err != nil || !w.o.cloud() {
		return err
	}
	await(ctx, f.between(200*time.Millisecond, time.Second))
	return w.newToken(ctx)
}
