package inbound

import "wabridge/bridge"

// stream is one of the four kinds of subject that a Session writes.
type stream uint8

const (
	streamRecv stream = iota
	streamStatus
	streamEvent
	streamDead
	streams // how many there are
)

// destination makes one subject of every session, with its template for spans
// and metrics.
type destination struct {
	of             func(session string) string
	template, span string
}

func destinations(n bridge.Names) [streams]destination {
	var d [streams]destination
	for st, of := range [streams]func(string) string{n.Recv, n.Status, n.Event, n.Dead} {
		template := of("{session}")
		d[st] = destination{of: of, template: template, span: operation + " " + template}
	}
	return d
}
