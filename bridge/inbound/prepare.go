package inbound

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// The headers of what is stored, beside those of CloudEvents and trace context.
const (
	headerMsgID    = "Nats-Msg-Id"
	headerEpoch    = "Wa-Epoch"
	headerSequence = "Wa-Sequence"
	headerRef      = "Wa-Ref"
	headerCommand  = "Wa-Command"
	headerObject   = "Wa-Object"
	headerReason   = "Wa-Dead-Reason"
	headerClass    = "Wa-Dead-Class"
	headerSize     = "Wa-Dead-Size"
	headerSHA256   = "Wa-Dead-Sha256"
)

// prepare makes the record of in. What cannot be read becomes a dead letter.
func (s *Session) prepare(ctx context.Context, in *bridge.Inbound) *flight {
	f := &flight{session: s, in: in}
	f.record.Done = f.done
	f.record.Header = make(map[string][]string, headers)
	var fault string
	switch in.Kind {
	case bridge.KindMessage:
		fault = f.message()
	case bridge.KindStatus:
		fault = f.report()
	case bridge.KindEvent:
		fault = f.event()
	case bridge.KindPoison:
		fault = in.Reason
		if fault == "" {
			fault = "unreadable"
		}
	default:
		fault = "unknown kind " + strconv.Itoa(int(in.Kind))
	}
	if fault != "" {
		f.dead(fault)
	}
	if in.Sequence > 0 {
		set(f.record.Header, headerEpoch, identifier(in.Epoch))
		set(f.record.Header, headerSequence, strconv.FormatUint(in.Sequence, 10))
	}
	f.startSpan(ctx)
	return f
}

// headers is how many headers a numbered message has: a map of that size is
// made at once.
const headers = 12

// message prepares {"message","contact","metadata"} for wa.recv.
func (f *flight) message() (fault string) {
	m, err := codec.ParseMessage(f.in.Data)
	if err != nil {
		return err.Error()
	}
	s := f.session
	f.at = m.Timestamp
	f.to(streamRecv, f.in.Data)
	f.attributes(s.cfg.Session+":"+identifier(m.ID), "whatsapp.message."+token(m.Type), m.Conversation)
	return ""
}

// report prepares a status for wa.status.
func (f *flight) report() (fault string) {
	st, err := codec.ParseStatus(f.in.Data)
	if err != nil {
		return err.Error()
	}
	s := f.session
	f.at = st.At
	report := codec.Report{ID: st.ID, To: st.Recipient, Status: st.Status, At: st.At, Raw: st.Raw}
	if st.Error != nil {
		report.Error = &codec.ReportError{
			Class: codec.Classify(st.Error, 0).Class, Code: st.Error.Code,
			Title: st.Error.Title, Detail: st.Error.Detail,
		}
	}
	if callback, ours := codec.ParseCallback(st.Callback); ours {
		f.command = &command{status: st, callback: callback}
		report.Ref = callback.Ref
		report.Raw = st.WithCallback(callback.Value)
		if callback.Ref != "" && callback.Ref == oneLine(callback.Ref) {
			set(f.record.Header, headerRef, callback.Ref)
		}
		set(f.record.Header, headerCommand, strconv.FormatUint(callback.Sequence, 10))
	}
	f.to(streamStatus, report.Append(make([]byte, 0, len(st.Raw)+256)))
	id := s.cfg.Session + ":" + identifier(st.ID) + ":" + token(st.Status)
	if st.Participant != "" {
		id += ":" + identifier(st.Participant)
	}
	f.attributes(id, "whatsapp.status."+token(st.Status), st.Conversation)
	return ""
}

// event prepares {"field","value"} for wa.event.
func (f *flight) event() (fault string) {
	e, err := codec.ParseFieldEvent(f.in.Data)
	if err != nil {
		return err.Error()
	}
	s := f.session
	var at []byte
	if !f.in.Time.IsZero() {
		at = f.in.Time.UTC().AppendFormat(nil, time.RFC3339Nano)
	}
	f.to(streamEvent, f.in.Data)
	id := s.cfg.Session + ":event:" + newDigest().add(at).add([]byte(e.Field)).add(e.Value).hex()
	f.attributes(id, "whatsapp.event."+token(e.Field), "")
	return ""
}

// dead prepares a dead letter: the data as it came, with the reason.
func (f *flight) dead(reason string) {
	s, in := f.session, f.in
	f.to(streamDead, in.Data)
	size, sum := in.Size, in.SHA256
	if size == 0 {
		size = int64(len(in.Data))
	}
	if sum == "" {
		sum = sha256Hex(in.Data)
	}
	d := newDigest().add([]byte(sum))
	if in.Sequence > 0 {
		d.add([]byte(in.Epoch)).add(strconv.AppendUint(nil, in.Sequence, 10))
	}
	h := f.record.Header
	set(h, headerMsgID, s.cfg.Session+":dead:"+d.hex())
	set(h, headerReason, oneLine(reason))
	set(h, headerClass, codec.Invalid.String())
	set(h, headerSize, strconv.FormatInt(size, 10))
	set(h, headerSHA256, oneLine(sum))
	s.warn.Do(func() {
		s.cfg.Logger.Warn("dead letter: what the platform said cannot be read", slog.String("session", s.cfg.Session),
			slog.String("reason", oneLine(reason)), slog.Int64("size", size))
	})
}

// to says where the record goes and what its body is.
func (f *flight) to(st stream, body []byte) {
	f.stream = st
	f.record.Subject = f.session.streams[st].subject
	f.record.Body = body
}

// attributes sets the message id and the CloudEvents headers.
func (f *flight) attributes(id, kind, conversation string) {
	at := f.at
	if at.IsZero() {
		at = f.in.Time
	}
	if at.IsZero() {
		at = time.Now()
	}
	if conversation != "" {
		conversation = identifier(conversation)
	}
	set(f.record.Header, headerMsgID, id)
	codec.SetEventHeaders(f.record.Header, codec.EventAttributes{
		ID: id, Source: f.session.source, Type: kind, Subject: conversation, Time: at,
	})
}

// oneLine makes v fit into a header: printable ASCII, 512 bytes at most.
func oneLine(v string) string {
	v = v[:min(len(v), 512)]
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, v))
}

func set(h map[string][]string, name, value string) { h[name] = []string{value} }

// first reads a header as it was published: the names are case-sensitive.
func first(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
