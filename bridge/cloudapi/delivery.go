package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// errManyFetches: too many media messages wait for their files.
var errManyFetches = errors.New("too many media messages are waiting for their files")

// delivery gives the parts of one verified webhook to their sessions.
type delivery struct {
	hooks   *Webhooks
	routes  *table
	secret  string // that verified it
	receipt *receipt
	trace   trace
	parts   []codec.WebhookPart
	fetches bool // a part waits for its file first
}

// store routes every part and waits until all are stored. A part that cannot
// be read or routed is stored as a dead letter: refusing it would bring the
// whole request back for seven days. errBehind says that nothing was taken.
func (d *delivery) store(ctx context.Context, body []byte) error {
	var err error
	if d.parts, err = codec.ParseWebhook(body); err != nil {
		d.parts = []codec.WebhookPart{{Kind: codec.PartPoison, Data: body, Err: err}}
	}
	sessions, begun := d.sessions(), time.Now()
	if !d.hooks.gates.enter(sessions) {
		return errBehind
	}
	d.hooks.meters.parts.Add(ctx, int64(len(d.parts)))
	for i := range d.parts {
		if !d.give(ctx, &d.parts[i]) {
			break
		}
	}
	err = d.receipt.wait(ctx)
	d.hooks.gates.leave(sessions, begun, d.pace(err, time.Since(begun)))
	return err
}

// pace says how the sessions' stores keep up, by a request that took so long.
func (d *delivery) pace(err error, took time.Duration) pace {
	switch {
	case d.fetches:
		return paceUnknown
	case took > d.hooks.storeTimeout/slowShare:
		return paceSlow
	case err == nil:
		return paceQuick
	default:
		return paceUnknown
	}
}

// give hands one part to every session that it belongs to; false means that
// one did not take it.
func (d *delivery) give(ctx context.Context, part *codec.WebhookPart) bool {
	found := d.routes.find(part.PhoneNumberID, part.WABA, d.secret)
	if len(found) == 0 {
		d.hooks.meters.unrouted.Add(ctx, 1)
		return d.receipt.give(ctx, d.hooks.unrouted, d.poison(part, "it belongs to no session"))
	}
	if part.Kind == codec.PartPoison {
		// One dead letter is enough, whichever session has it.
		return d.receipt.give(ctx, found[0].Receiver, d.poison(part, ""))
	}
	for i, route := range found {
		data := slices.Clip(part.Data)
		if i > 0 {
			data = slices.Clone(data)
		}
		if !d.giveTo(ctx, route, part, data) {
			return false
		}
	}
	return true
}

// giveTo hands a part to one session.
func (d *delivery) giveTo(ctx context.Context, route *Route, part *codec.WebhookPart, data []byte) bool {
	in := &bridge.Inbound{Data: data, TraceParent: d.trace.parent, TraceState: d.trace.state}
	switch part.Kind {
	case codec.PartMessage:
		in.Kind = bridge.KindMessage
		if route.Count != nil {
			route.Count(1)
		}
		if file := mediaOf(route, data); file != nil {
			d.fetch(ctx, route, in, file)
			return true
		}
	case codec.PartStatus:
		in.Kind = bridge.KindStatus
	default:
		in.Kind = bridge.KindEvent
		if part.EntryTime > 0 {
			in.Time = time.Unix(part.EntryTime, 0)
		}
		if route.Recheck != nil && (part.Field == "account_update" || part.Field == "phone_number_quality_update") {
			route.Recheck()
		}
	}
	return d.receipt.give(ctx, route.Receiver, in)
}

// mediaOf returns the file of a message that is to be fetched, or nil. A message
// that cannot be read has none: whoever stores it says so.
func mediaOf(route *Route, data []byte) *codec.InboundMedia {
	if route.Media == nil {
		return nil
	}
	message, err := codec.ParseMessage(data)
	if err != nil || message.Media == nil || message.Media.ID == "" {
		return nil
	}
	return message.Media
}

// fetch gets a message's file, beside the other parts, and then hands the
// message over. It goes on when the request has been answered with 503: the
// file is then there when Meta sends the message again.
func (d *delivery) fetch(ctx context.Context, route *Route, in *bridge.Inbound, file *codec.InboundMedia) {
	d.receipt.add()
	d.fetches = true
	if !d.hooks.fetches.TryAcquire(1) {
		d.receipt.settle(errManyFetches)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout+d.hooks.storeTimeout)
	d.hooks.detached.Go(func() {
		defer cancel()
		defer d.hooks.fetches.Release(1)
		defer d.hooks.onClose(cancel)()
		in.Data = route.Media.attach(ctx, in.Data, file)
		if ctx.Err() == nil {
			d.receipt.give(ctx, route.Receiver, in)
		}
		// Where ctx has ended, the reason may stand in the message in place of the
		// file. Meta sends it again, and then it will be right.
		d.receipt.settle(ctx.Err())
	})
}

// poison is what a part becomes that is not stored as what it is.
func (d *delivery) poison(part *codec.WebhookPart, reason string) *bridge.Inbound {
	if part.Err != nil {
		reason = part.Err.Error()
	}
	return &bridge.Inbound{
		Kind:        bridge.KindPoison,
		Data:        part.Data,
		Reason:      fmt.Sprintf("webhook part (field %q): %s", part.Field, reason),
		TraceParent: d.trace.parent,
		TraceState:  d.trace.state,
	}
}
