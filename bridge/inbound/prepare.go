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
	f.record.Header = codec.BorrowHeader() // until end
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
		f.set(headerEpoch, identifier(in.Epoch))
		f.set(headerSequence, strconv.FormatUint(in.Sequence, 10))
	}
	f.startSpan(ctx)
	return f
}

// message prepares {"message","contact","metadata"} for wa.recv.
func (f *flight) message() (fault string) {
	m, err := codec.ParseMessage(f.in.Data)
	if err != nil {
		return err.Error()
	}
	s := f.session
	f.at = m.Timestamp
	f.to(streamRecv, f.in.Data)
	f.attributes(s.id+":"+identifier(m.ID), "whatsapp.message."+token(m.Type), m.Conversation)
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
			f.set(headerRef, callback.Ref)
		}
		f.set(headerCommand, strconv.FormatUint(callback.Sequence, 10))
	}
	f.to(streamStatus, report.Append(make([]byte, 0, len(st.Raw)+256)))
	id := s.id + ":" + identifier(st.ID) + ":" + token(st.Status)
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
	id := s.id + ":event:" + newDigest().add(at).add([]byte(e.Field)).add(e.Value).hex()
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
	f.set(headerMsgID, s.id+":dead:"+d.hex())
	f.set(headerReason, oneLine(reason))
	f.set(headerClass, codec.Invalid.String())
	f.set(headerSize, strconv.FormatInt(size, 10))
	f.set(headerSHA256, oneLine(sum))
	s.env.warn.Do(func() {
		s.env.Logger.Warn("dead letter: what the platform said cannot be read", slog.String("session", s.id),
			slog.String("reason", oneLine(reason)), slog.Int64("size", size))
	})
}

// to says where the record goes and what its body is.
func (f *flight) to(st stream, body []byte) {
	f.stream = st
	f.record.Subject = f.session.env.streams[st].of(f.session.id)
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
	f.set(headerMsgID, id)
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

// set writes a header. The values of a message's stand in the flight itself.
func (f *flight) set(name, value string) {
	if f.used == len(f.values) {
		f.record.Header[name] = []string{value}
		return
	}
	f.values[f.used] = value
	f.used++
	f.record.Header[name] = f.values[f.used-1 : f.used : f.used]
}

// first reads a header as it was published: the names are case-sensitive.
func first(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
