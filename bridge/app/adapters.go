package app

import (
	"context"
	"fmt"
	"io"

	"wabridge/bridge/broker"
	"wabridge/bridge/cloudapi"
	"wabridge/codec"
)

// outcomes reads the outcome that stands for a command; outbound.Outcomes.
type outcomes struct{ broker *broker.Broker }

// Outcome implements outbound.Outcomes.
func (o outcomes) Outcome(ctx context.Context, sequence uint64) (codec.Report, error) {
	_, _, body, err := o.broker.Outcome(ctx, sequence)
	if err != nil {
		return codec.Report{}, err
	}
	report, err := codec.ParseReport(body)
	if err != nil {
		return codec.Report{}, fmt.Errorf("the outcome at sequence %d: %w", sequence, err)
	}
	return report, nil
}

// objects is the store of media for the Cloud API; cloudapi.Objects.
type objects struct{ media *broker.Media }

// Put implements cloudapi.Objects.
func (o *objects) Put(ctx context.Context, r io.Reader) (cloudapi.Object, error) {
	info, err := o.media.Put(ctx, r, nil)
	return object(info), err
}

// Stat implements cloudapi.Objects.
func (o *objects) Stat(ctx context.Context, name string) (cloudapi.Object, error) {
	info, err := o.media.Stat(ctx, name)
	return object(info), err
}

// Open implements cloudapi.Objects.
func (o *objects) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, _, err := o.media.Open(ctx, name)
	return r, err
}

func object(info broker.MediaInfo) cloudapi.Object {
	return cloudapi.Object{Name: info.Name, Size: int64(info.Size), SHA256: info.SHA256, Stored: info.Stored}
}

// spill keeps what is too large for a NATS message; inbound.Spill.
type spill struct{ media *broker.Media }

// Put implements inbound.Spill.
func (s spill) Put(ctx context.Context, _ string, r io.Reader) (string, error) {
	info, err := s.media.Put(ctx, r, nil)
	return info.Name, err
}
