package simulator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge/simulator"
)

func (p *platform) fault(t *testing.T, f simulator.Fault) {
	t.Helper()
	if _, err := p.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// emit puts n events on the session.
func (p *platform) emit(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if _, err := p.Emit("demo", "message.text", marta, fmt.Appendf(nil, `{"message":{"id":"wamid.%d"}}`, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *link) sequences(n int) string {
	l.t.Helper()
	var list []string
	for range n {
		list = append(list, strings.TrimLeft(l.next().Sequence, "0"))
	}
	return strings.Join(list, " ")
}

func TestEventFaults(t *testing.T) {
	for _, tc := range []struct {
		kind simulator.FaultKind
		want string
	}{
		{simulator.FaultDuplicate, "1 2 2 3 4"},
		{simulator.FaultReorder, "1 3 2 4"},
		{simulator.FaultGap, "1 3 4"},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			p := newPlatform(t, nil)
			token := p.token(t)
			p.emit(t, 4)
			p.fault(t, simulator.Fault{Kind: tc.kind, Session: "demo", Skip: 1})
			l := p.dial(t, token)
			l.expect("whatsapp.session.ready")
			if got := l.sequences(len(strings.Fields(tc.want))); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if tc.kind != simulator.FaultGap {
				return
			}
			again := p.dial(t, token)
			again.expect("whatsapp.session.ready")
			if got := again.sequences(4); got != "1 2 3 4" {
				t.Errorf("after a reconnect: %s", got)
			}
		})
	}
}

func TestAckAcrossAGapIsAViolation(t *testing.T) {
	p := newPlatform(t, nil)
	p.emit(t, 3)
	p.fault(t, simulator.Fault{Kind: simulator.FaultGap, Skip: 1})
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.sequences(2)
	l.ack(3)
	if ce := l.closed(); ce.Code != 1008 || !strings.Contains(ce.Text, "gap") {
		t.Errorf("closed with %d %q", ce.Code, ce.Text)
	}
}

// What an earlier connection brought may be stored, though its ack was lost.
func TestAckAcrossAGapOfWhatCameBefore(t *testing.T) {
	p := newPlatform(t, nil)
	p.emit(t, 3)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.sequences(3)
	p.fault(t, simulator.Fault{Kind: simulator.FaultCut})
	p.fault(t, simulator.Fault{Kind: simulator.FaultGap, Skip: 1})
	l = p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.sequences(2)
	l.ack(3)
	p.emit(t, 1)
	l.sequences(1)
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("violations: %+v", v)
	}
}

func TestLostSequenceStaysLost(t *testing.T) {
	p := newPlatform(t, nil)
	p.fault(t, simulator.Fault{Kind: simulator.FaultLostSequence})
	p.emit(t, 2)
	token := p.token(t)
	for range 2 {
		l := p.dial(t, token)
		l.expect("whatsapp.session.ready")
		if got := l.sequences(2); got != "2 3" {
			t.Errorf("got %s", got)
		}
	}
	p.clean(t)
}

func TestSendFaults(t *testing.T) {
	p := newPlatform(t, nil)
	token := p.token(t)
	l := p.dial(t, token)
	l.expect("whatsapp.session.ready")

	p.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Number: "+" + marta, Code: 131056, RetryAfter: simulator.Duration(4e9)})
	l.send("other", textTo("15550100000", "x"))
	if res := l.result(); res.Error != nil {
		t.Errorf("another number was refused: %+v", res)
	}
	for l.next().Type != "whatsapp.status.read" {
		continue
	}
	l.send("a", textTo(marta, "x"))
	if res := l.result(); res.Error == nil || res.Error.Code != 131056 || res.RetryAfter != 4 {
		t.Errorf("result: %+v", res)
	}
	p.fault(t, simulator.Fault{Kind: simulator.FaultDelayAnswer, Delay: simulator.Duration(30 * time.Millisecond)})
	l.send("a", textTo(marta, "x")) // a refused send is not remembered
	if res := l.result(); res.Error != nil || res.Duplicate {
		t.Errorf("result: %+v", res)
	}
	for _, s := range []string{"sent", "delivered", "read"} {
		l.expect("whatsapp.status." + s)
	}
	p.fault(t, simulator.Fault{Kind: simulator.FaultAcceptAndCut})
	l.send("b", textTo(marta, "x"))
	for {
		e, err := l.nextOr()
		if err == nil {
			if e.Type == "whatsapp.result" {
				t.Error("answered before the cut")
			}
			continue
		}
		var ce *websocket.CloseError
		if errors.As(err, &ce) && ce.Code != websocket.CloseAbnormalClosure {
			t.Errorf("closed politely: %v", err)
		}
		break
	}
	list, next := p.Sent("demo", 0, 10)
	if len(list) != 3 || next != 3 || list[2].Ref != "b" || list[2].Answered || !list[1].Answered {
		t.Errorf("sent: %+v", list)
	}
	p.clean(t)
}

func TestLiveFaults(t *testing.T) {
	for _, tc := range []struct {
		fault simulator.Fault
		code  int
		text  string
	}{
		{simulator.Fault{Kind: simulator.FaultClose}, 1001, ""},
		{simulator.Fault{Kind: simulator.FaultClose, Code: 4403, Reason: "blocked"}, 4403, "blocked"},
		{simulator.Fault{Kind: simulator.FaultClose, Code: 4429, RetryAfter: simulator.Duration(3e9)}, 4429, "3"},
		{simulator.Fault{Kind: simulator.FaultExpireToken}, 4401, "token expired"},
		{simulator.Fault{Kind: simulator.FaultRevokeToken}, 4401, "token unknown or revoked"},
	} {
		t.Run(fmt.Sprint(tc.fault.Kind, tc.code), func(t *testing.T) {
			p := newPlatform(t, nil)
			l := p.dial(t, p.token(t))
			l.expect("whatsapp.session.ready")
			p.fault(t, tc.fault)
			if ce := l.closed(); ce.Code != tc.code || ce.Text != tc.text {
				t.Errorf("closed with %d %q", ce.Code, ce.Text)
			}
		})
	}
	t.Run("armed before the connection", func(t *testing.T) {
		p := newPlatform(t, nil)
		p.fault(t, simulator.Fault{Kind: simulator.FaultCut})
		l := p.dial(t, p.token(t))
		for {
			if _, err := l.nextOr(); err != nil {
				break
			}
		}
		eventually(t, "disconnect", func() bool { return p.Stats().Connected == 0 })
	})
}

func TestHangAnswersNothingUntilItEnds(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	p.fault(t, simulator.Fault{Kind: simulator.FaultHang, Delay: simulator.Duration(time.Hour)})
	l.send("a", textTo(marta, "x"))
	if err := l.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	newer := p.dial(t, p.token(t)) // replaces the hung one, which ends it
	newer.expect("whatsapp.session.ready")
	if ce := l.closed(); ce.Code != 4409 {
		t.Errorf("closed with %d", ce.Code)
	}
	if l.read != 1 {
		t.Errorf("%d frames came out of a hung connection", l.read)
	}
}

func TestMalformedFrames(t *testing.T) {
	for _, v := range simulator.Variants() {
		t.Run(v, func(t *testing.T) {
			p := newPlatform(t, nil)
			l := p.dial(t, p.token(t))
			l.expect("whatsapp.session.ready")
			p.fault(t, simulator.Fault{Kind: simulator.FaultMalformed, Variant: v, Size: 2 << 20})
			if v == "bomb" || v == "invalid_utf8" {
				// gorilla refuses the first for its RSV1 bit; of the second it is content.
				if e, err := l.nextOr(); (err == nil) == (v == "bomb") {
					t.Fatalf("got %v, %v", e.Type, err)
				}
				return
			}
			e := l.next()
			if v == "oversized" && len(e.Data) < 2<<20-200 {
				t.Errorf("%d bytes", len(e.Data))
			}
			p.emit(t, 1)
			if e := l.expect("whatsapp.message.text"); v != "wrong_data" && e.Sequence != fmt.Sprintf("%020d", 1) {
				t.Errorf("it counted: %s", e.Sequence)
			}
		})
	}
}
