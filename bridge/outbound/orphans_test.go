package outbound

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// orphaned runs Orphans in a world whose consumer finds no session.
func orphaned(t *testing.T, f func(*world, *Orphans)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run = 1
		o, err := NewOrphans(OrphansConfig{
			Names: w.names, Created: time.Unix(1, 0), Outcomes: outcomesFunc(w.outcome),
			Store: storeFunc(func(ctx context.Context, r *bridge.Record) error { return w.put(ctx, 1, r) }),
		})
		if err != nil {
			t.Fatal(err)
		}
		f(w, o)
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) orphan(o *Orphans, sequence uint64) {
	d := *w.send[sequence-1]
	d.Settler = &settler{w: w, run: w.run, sequence: sequence}
	o.Deliver(&d)
}

func TestOrphansAreRejectedInTime(t *testing.T) {
	orphaned(t, func(w *world, o *Orphans) {
		good := w.publishWith("15550142233", map[string][]string{"Wa-Ref": {"order-1"}})
		bad := w.publishRaw("not json", nil)
		w.orphan(o, good)
		w.orphan(o, bad)
		w.orphan(o, good) // again
		for range 29 {
			elapse(time.Second)
			o.Sweep(time.Now())
		}
		synctest.Wait()
		if len(w.records) != 0 {
			t.Errorf("%d records before its time", len(w.records))
		}
		if got := w.progress[good]; got != 2 {
			t.Errorf("JetStream heard %d times that it is held", got)
		}
		elapse(time.Second)
		o.Sweep(time.Now())
		synctest.Wait()
		reports := w.outcomes(good)
		if len(reports) != 1 || reports[0].Status != codec.StatusRejected || reports[0].Ref != "order-1" ||
			reports[0].To != "15550142233" || reports[0].Error.Title != "unknown session" {
			t.Errorf("reports %+v", reports)
		}
		for _, sequence := range []uint64{good, bad} {
			if w.deadLetter(sequence) == nil || w.settlement(sequence) == "" {
				t.Errorf("%d has no dead letter or is not settled", sequence)
			}
		}
		delete(w.settled, good)
		w.orphan(o, good)
		if got := w.settlement(good); got != "ack" {
			t.Errorf("what is settled and comes again is settled by %q", got)
		}
	})
}

func TestOrphansFindTheirSession(t *testing.T) {
	orphaned(t, func(w *world, o *Orphans) {
		w.publish("15550142233", 5)
		for sequence := range uint64(5) {
			w.orphan(o, sequence+1)
		}
		claimed := o.Claim("shop")
		if len(claimed) != 5 {
			t.Fatalf("%d are claimed", len(claimed))
		}
		for i, d := range claimed {
			if d.Sequence != uint64(i+1) {
				t.Errorf("%d is at %d", d.Sequence, i)
			}
		}
		if len(o.Claim("shop")) != 0 {
			t.Error("claimed twice")
		}
		elapse(time.Minute)
		o.Sweep(time.Now())
		synctest.Wait()
		if len(w.records) != 0 {
			t.Error("rejected after its session was there")
		}
	})
}

func TestOrphansAreBounded(t *testing.T) {
	orphaned(t, func(w *world, o *Orphans) {
		w.publish("15550142233", leastHeld+10)
		for sequence := range uint64(leastHeld + 10) {
			w.orphan(o, sequence+1)
		}
		synctest.Wait()
		for sequence := uint64(1); sequence <= 10; sequence++ {
			if got := w.word(sequence); got != codec.StatusRejected {
				t.Errorf("%d came to %q", sequence, got)
			}
		}
		if got := w.word(11); got != "" {
			t.Errorf("11 came to %q", got)
		}
	})
}
