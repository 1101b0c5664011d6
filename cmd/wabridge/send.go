package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"wabridge/codec"
)

// sendOptions are the flags of `wabridge send`.
type sendOptions struct {
	to, text, body string
	ref, deadline  string
	timeout        time.Duration
	json           bool
}

func newSendCommand() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send <session>",
		Short: "Send one message and wait for its outcome",
		Long: `Publish one command to wa.send.<session>, wait for its outcome on
wa.status.<session> and print it.

Exit codes: 0 accepted, 3 rejected or expired, 4 unknown (it may have been
delivered), 5 no outcome in time (the command stays stored and is still
carried out), 1 something failed, 2 wrong flags or configuration.`,
		Example: `  wabridge send demo --to +15550142233 --text hello
  wabridge send demo --to +15550142233 --text hello --ref order-1234 --deadline 30s
  echo '{"to":"+15550142233","type":"reaction","reaction":{"message_id":"wamid.X","emoji":"👍"}}' |
    wabridge send demo --body -`,
		Args: arguments(cobra.ExactArgs(1)),

		ValidArgsFunction: completeSessions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(cmd, args[0], &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "the user's phone number, +15550142233")
	f.StringVar(&o.text, "text", "", "the text to send")
	f.StringVar(&o.body, "body", "", "a file with the whole command as JSON, in place of --to and --text; - is standard input")
	f.StringVar(&o.ref, "ref", "", "the idempotency key (default: the id of the command)")
	f.StringVar(&o.deadline, "deadline", "", "do not send after this moment: RFC 3339, or from now such as 30s")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for the outcome")
	f.BoolVar(&o.json, "json", false, "print the outcome as JSON")
	return cmd
}

// statusPending stands where no outcome came in time.
const statusPending = "pending"

// outcome is what `wabridge send --json` prints.
type outcome struct {
	Ref      string `json:"ref"`
	Sequence uint64 `json:"sequence"`
	TraceID  string `json:"trace_id"`
	// Status is accepted, rejected, expired or unknown; "pending" where none came
	// in time.
	Status string `json:"status"`
	// Report is the body of the outcome as wa.status has it.
	Report json.RawMessage `json:"report,omitempty"`
}

func send(cmd *cobra.Command, session string, o *sendOptions) error {
	if err := checkSession(session); err != nil {
		return err
	}
	if err := checkTimeout(o.timeout); err != nil {
		return err
	}
	body, err := o.command(cmd.InOrStdin())
	if err != nil {
		return err
	}
	trace := newTrace()
	msg := &nats.Msg{Data: body, Header: nats.Header{
		codec.HeaderMsgID: {rand.Text()},
		"traceparent":     {trace.parent()},
	}}
	if o.ref != "" {
		msg.Header[codec.HeaderRef] = []string{o.ref}
	}
	ref, err := codec.Ref(msg.Header, "", time.Time{}, 0)
	if err != nil {
		return usageError("--ref: %w", err)
	}
	if o.deadline != "" {
		at, err := moment(o.deadline, time.Now())
		if err != nil {
			return usageError("--deadline: want RFC 3339 or a duration such as 30s")
		}
		msg.Header[codec.HeaderDeadline] = []string{at.UTC().Format(time.RFC3339Nano)}
	}

	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	c, err := dial(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close(cmd.Context())
	msg.Subject = c.names.Send(session)
	// The reader stands before the command is published: no outcome is missed.
	r, err := c.read(ctx, c.names.RecvStream(), []string{c.names.Status(session)}, time.Time{})
	if err != nil {
		return err
	}
	defer r.close()
	ack, err := c.publish(ctx, msg)
	if err != nil {
		return err
	}
	out := outcome{
		Ref:      ref,
		Sequence: ack.Sequence,
		TraceID:  trace.id,
		Status:   statusPending,
	}
	report, err := await(ctx, r, fmt.Sprintf("%s:%d:outcome", session, ack.Sequence), &out)
	if err != nil && cmd.Context().Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err := o.print(cmd.OutOrStdout(), &out, report); err != nil {
		return err
	}
	return out.err(o.timeout)
}

// command gives the body to publish.
func (o *sendOptions) command(stdin io.Reader) ([]byte, error) {
	switch {
	case o.body != "" && (o.to != "" || o.text != ""):
		return nil, usageError("--body is the whole command: leave out --to and --text")
	case o.body == "-":
		b, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return b, nil
	case o.body != "":
		b, err := os.ReadFile(o.body)
		if err != nil {
			return nil, usageError("--body: %w", err)
		}
		return b, nil
	case o.to == "" || o.text == "":
		return nil, usageError("want --to and --text, or --body")
	}
	b, err := json.Marshal(map[string]any{"to": o.to, "type": "text", "text": map[string]string{"body": o.text}})
	if err != nil {
		return nil, fmt.Errorf("encoding the command: %w", err)
	}
	return b, nil
}

// await reads statuses until the one with this id, which is the outcome.
func await(ctx context.Context, r *reader, id string, out *outcome) (codec.Report, error) {
	for {
		l, err := r.next(ctx)
		if err != nil {
			return codec.Report{}, err
		}
		if l.msg.Headers().Get(codec.HeaderMsgID) != id {
			continue
		}
		report, err := codec.ParseReport(l.msg.Data())
		if err != nil {
			return codec.Report{}, fmt.Errorf("reading the outcome: %w", err)
		}
		out.Status, out.Ref, out.Report = report.Status, report.Ref, l.msg.Data()
		return report, nil
	}
}

func (o *sendOptions) print(w io.Writer, out *outcome, report codec.Report) error {
	if o.json {
		return encodeJSON(w, out)
	}
	line := fmt.Sprintf("%s  ref %s", out.Status, out.Ref)
	if report.ID != "" {
		line += "  id " + report.ID
	}
	if e := report.Error; e != nil {
		line += "  " + explain(e)
	}
	_, err := fmt.Fprintf(w, "%s  trace %s\n", line, out.TraceID)
	return err
}

// explain says in one line what an error of a report means.
func explain(e *codec.ReportError) string {
	parts := []string{e.Class.String()}
	if e.Code != 0 {
		parts[0] += fmt.Sprintf(" (%d)", e.Code)
	}
	for _, text := range []string{e.Title, e.Detail} {
		if text != "" {
			parts = append(parts, printable(text))
		}
	}
	return strings.Join(parts, ": ")
}

// err gives the exit code of an outcome.
func (out *outcome) err(timeout time.Duration) error {
	switch out.Status {
	case codec.StatusAccepted:
		return nil
	case codec.StatusUnknown:
		return &exitError{code: exitUnknown}
	case statusPending:
		return &exitError{code: exitTimedOut, err: fmt.Errorf(
			"no outcome within %s; the command is stored as number %d and is still carried out", timeout, out.Sequence)}
	default:
		return &exitError{code: exitRefused}
	}
}

// moment reads a point in time: RFC 3339, or a duration from now on.
func moment(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	return time.Parse(time.RFC3339, s)
}
