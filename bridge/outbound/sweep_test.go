package outbound

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// TestSweepFindsWorkOfAnIdleSession: what a session that was passed over gets to
// do, the next sweeps do.
func TestSweepFindsWorkOfAnIdleSession(t *testing.T) {
	var read atomic.Int64 // when the stream was last read
	for name, test := range map[string]struct {
		configure func(*Config)
		work      func(*world)
		done      func(*world) bool
	}{
		"a held command is kept from coming again": {
			configure: func(c *Config) { c.Progress = 2 * time.Second },
			work:      func(w *world) { w.publish("15550142233", 1) },
			done:      func(w *world) bool { return w.progress[2] > 0 },
		},
		"a command whose deadline passes expires": {
			work: func(w *world) {
				w.publishWith("15550142233", map[string][]string{"Wa-Deadline": {time.Now().Add(3 * time.Second).UTC().Format(time.RFC3339)}})
			},
			done: func(w *world) bool { return w.word(2) == codec.StatusExpired },
		},
		"a session that cannot send goes to its backlog": {
			work: func(w *world) { w.publish("15550142233", 1) },
			done: func(w *world) bool { return w.session.Behind() && w.settlement(2) == "ack" },
		},
		"a backlog follows what it reads": {
			work: func(w *world) {
				w.publish("15550142233", 1)
				if err := w.session.Detach(context.Background(), 2, 2); err != nil {
					t.Error(err)
				}
				w.platform.setWindow(8) // nobody wakes it
			},
			done: func(w *world) bool { return w.word(2) == codec.StatusAccepted && w.session.back.held == 0 },
		},
		"a command whose outcome is being stored is kept from coming again": {
			configure: func(c *Config) {
				c.Progress = 2 * time.Second
				c.Store = slowly{c.Store}
			},
			work: func(w *world) {
				w.platform.setWindow(8)
				w.publish("15550142233", 1)
			},
			done: func(w *world) bool { return w.progress[2] > 0 && w.word(2) == codec.StatusAccepted },
		},
		"a session that may act again is detached": {
			configure: func(c *Config) {
				from := time.Now() // it may not for a while
				c.May = func() bool { return time.Since(from) < 10*time.Second || time.Since(from) > 15*time.Second }
			},
			work: func(w *world) {
				go func() {
					if err := w.session.Detach(context.Background(), 2, 2); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
				if w.session.back.held != 0 {
					t.Error("detached though it may not act")
				}
				w.platform.setWindow(8)
			},
			done: func(w *world) bool { return w.session.back.revision != 0 && w.session.back.held == 0 },
		},
		"a cursor that it might not clear": {
			configure: func(c *Config) {
				c.May = func() bool { return time.Since(time.Unix(0, read.Load())) > 5*time.Second }
			},
			work: func(w *world) {
				w.platform.setWindow(8)
				w.onRead = func() { read.Store(time.Now().UnixNano()) } // there is no more: it is live
				if err := w.session.Detach(context.Background(), 2, 2); err != nil {
					t.Error(err)
				}
				elapse(time.Second)
				synctest.Wait()
				if w.session.back.on || w.session.back.held == 0 {
					t.Error("still in its backlog, or the cursor is cleared already")
				}
				w.onRead = nil
			},
			done: func(w *world) bool { return w.session.back.held == 0 },
		},
		"a lane whose limiter is full again is forgotten": {
			configure: func(c *Config) { c.Limits = Limits{ConversationRate: 1, ConversationBurst: 1} },
			work: func(w *world) {
				w.platform.setWindow(8)
				w.publish("15550142233", 1)
			},
			done: func(w *world) bool { return w.word(2) == codec.StatusAccepted && len(w.session.lanes) == 0 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) { w.configure = test.configure }, func(w *world) {
				w.publish("15550142244", 1)
				w.deliverAll()
				w.sweep(10 * time.Second)
				if w.word(1) != codec.StatusAccepted || w.session.active {
					t.Fatalf("not idle: the first command came to %q", w.word(1))
				}
				w.platform.setWindow(0)
				test.work(w)
				w.deliverAll()
				synctest.Wait()
				w.sweep(20 * time.Second)
				if !test.done(w) {
					t.Error("passed over")
				}
			})
		})
	}
}

// slowly is a store that takes 4 s.
type slowly struct{ bridge.Store }

func (s slowly) Put(_ context.Context, r *bridge.Record) error {
	go func() {
		elapse(4 * time.Second)
		_ = s.Store.Put(context.Background(), r) // r hears of it
	}()
	return nil
}

// TestPaceOutlivesSweeps: a conversation keeps to its rate where the session has
// nothing to do in between.
func TestPaceOutlivesSweeps(t *testing.T) {
	run(t, func(w *world) {
		w.configure = func(c *Config) { c.Limits = Limits{ConversationRate: 0.1, ConversationBurst: 1} }
	}, func(w *world) {
		for range 2 {
			w.publish("15550142233", 1)
			w.deliverAll()
			w.sweep(4 * time.Second)
		}
		if n := len(w.platform.arrivals("15550142233")); n != 1 {
			t.Errorf("%d arrived within 8 s, at one in 10 s", n)
		}
	})
}

// TestUnableIsCountedAnew: what a session could not do before it was idle does
// not send it to its backlog afterwards.
func TestUnableIsCountedAnew(t *testing.T) {
	run(t, nil, func(w *world) {
		for range 2 {
			w.platform.setWindow(0)
			w.publish("15550142233", 1)
			w.deliverAll()
			w.sweep(3 * time.Second)
			if w.session.Behind() {
				t.Error("in its backlog after 3 s")
			}
			w.platform.setWindow(8)
			w.session.Wake()
			synctest.Wait()
			w.sweep(time.Minute)
		}
	})
}

// TestSweepPassesOverAnIdleSession: one that has nothing to do is not on the list.
func TestSweepPassesOverAnIdleSession(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 20)
		w.deliverAll()
		s := w.session
		if all := s.cfg.awake.sessions; len(all) != 1 || all[0] != s {
			t.Errorf("%d sessions are swept, want this one", len(all))
		}
		w.sweep(3 * time.Second)
		if len(s.cfg.awake.sessions) != 0 {
			t.Error("an idle session is swept")
		}
		if s.commands != nil || s.lanes != nil || s.free != nil {
			t.Error("an idle session keeps what it held its commands in")
		}
	})
}
