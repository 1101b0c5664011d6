package main

import (
	"fmt"
	"testing"
	"time"
)

// bench is a run of four commands and four messages of users in one session of
// two conversations, in which everything went well.
type bench struct {
	verdict
	phone   []delivered
	repeats []repeat
}

func newBench(t *testing.T, args ...string) *bench {
	t.Helper()
	o, err := parse(append([]string{"-messages", "8", "-faults", "0", "-sessions", "1", "-conversations", "2"}, args...), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b := &bench{verdict: verdict{
		w: &world{o: o, began: began, answered: map[string]bool{}, repeats: make([][]repeat, 1)},
		l: &load{begun: began}, c: &collector{ledger: newLedger(o), highest: []map[int]int{{}}}, s: newStorm(nil, o),
	}}
	for i := range 4 {
		c := &b.c.ledger.commands[i]
		c.released, c.sequence = began, uint64(i+1)
		id := fmt.Sprintf("wamid.%d", i)
		b.c.ledger.report(i, &statusBody{Ref: ref(i), ID: id, Status: "accepted"}, began, uint64(i+1))
		for _, stage := range stages() {
			b.c.ledger.report(i, &statusBody{Ref: ref(i), ID: id, Status: stage}, began, 0)
		}
		b.phone = append(b.phone, delivered{ID: id, Number: number(0, i%2), Ref: ref(i), TraceParent: traceparent(i), At: began})
		b.w.answered[id] = true
		b.c.ledger.users[0][i] = user{released: began, written: true}
		b.c.ledger.receive(0, i, began, b.c.highest[0])
	}
	return b
}

func (b *bench) judge() {
	phone := make([][]delivered, len(b.c.ledger.commands))
	b.takePhone(0, b.phone, phone)
	for i := range b.c.ledger.commands {
		b.judgeCommand(i, phone[i])
	}
	b.judgeUsers(0)
	b.w.repeats[0] = b.repeats
	b.judgeRepeats(phone)
}

// The checker finds what it is there to find, and nothing where all went well.
func TestJudge(t *testing.T) {
	copyOf := func(b *bench, i int, id string) delivered {
		m := b.phone[i]
		m.ID = id
		return m
	}
	for _, c := range []struct {
		name string
		args []string
		do   func(b *bench)
		want func(b *bench) int // nil: everything holds
	}{
		{name: "all is well", do: func(*bench) {}},
		{
			name: "a command that is lost",
			do:   func(b *bench) { b.phone = b.phone[:3] },
			want: func(b *bench) int { return b.lostOut },
		},
		{
			name: "a command that is delivered twice",
			do: func(b *bench) {
				b.phone = append(b.phone, copyOf(b, 1, "wamid.again"))
				for _, stage := range stages() {
					b.c.ledger.report(1, &statusBody{Ref: ref(1), ID: "wamid.again", Status: stage}, time.Now(), 0)
				}
			},
			want: func(b *bench) int { return b.doubledOut },
		},
		{
			name: "a command behind a later one",
			do:   func(b *bench) { b.phone[0], b.phone[2] = b.phone[2], b.phone[0] },
			want: func(b *bench) int { return b.disordered },
		},
		{
			name: "another conversation's order",
			do:   func(b *bench) { b.phone[0], b.phone[1] = b.phone[1], b.phone[0] },
		},
		{
			name: "no outcome",
			do:   func(b *bench) { b.c.ledger.commands[2].outcomes = nil },
			want: func(b *bench) int { return b.missing },
		},
		{
			name: "two outcomes",
			do: func(b *bench) {
				b.c.ledger.report(2, &statusBody{Ref: ref(2), Status: "accepted"}, time.Now(), 9)
			},
			want: func(b *bench) int { return b.several },
		},
		{
			name: "rejected for no reason",
			do: func(b *bench) {
				b.c.ledger.commands[3].outcomes[0].word = "rejected"
				b.c.ledger.letter(4, 3)
			},
			want: func(b *bench) int { return b.wrongWords },
		},
		{
			name: "an unknown one without a dead letter",
			args: []string{"-platform", "cloudapi"},
			do:   func(b *bench) { b.c.ledger.commands[3].outcomes[0].word = "unknown" },
			want: func(b *bench) int { return b.letters },
		},
		{
			name: "a message of a user that is lost",
			do:   func(b *bench) { b.c.ledger.users[0][1].count = 0 },
			want: func(b *bench) int { return b.lostIn },
		},
		{
			name: "a message of a user that is stored twice",
			do:   func(b *bench) { b.c.ledger.receive(0, 1, time.Now(), b.c.highest[0]) },
			want: func(b *bench) int { return b.doubledIn },
		},
		{
			name: "a message of a user behind a later one",
			do: func(b *bench) {
				b.c.ledger.users[0][1] = user{written: true}
				b.c.ledger.receive(0, 1, time.Now(), b.c.highest[0])
			},
			want: func(b *bench) int { return b.disorderedIn },
		},
		{
			name: "a status that is missing",
			do:   func(b *bench) { b.c.ledger.commands[0].copies[0].stages[1] = 0 },
			want: func(b *bench) int { return b.lostStatuses },
		},
		{
			name: "a status that is there twice",
			do: func(b *bench) {
				b.c.ledger.report(0, &statusBody{Ref: ref(0), ID: "wamid.0", Status: "read"}, time.Now(), 0)
			},
			want: func(b *bench) int { return b.doubledStatuses },
		},
		{
			name: "a repeat without need",
			do:   func(b *bench) { b.repeats = []repeat{{Ref: ref(0), ID: "wamid.0", At: time.Now(), Answered: true}} },
			want: func(b *bench) int { return b.unexplained },
		},
		{
			name: "a repeat of what was not answered",
			do:   func(b *bench) { b.repeats = []repeat{{Ref: ref(0), ID: "wamid.0", At: time.Now()}} },
		},
		{
			name: "something that nobody sent",
			do: func(b *bench) {
				b.phone = append(b.phone, delivered{ID: "wamid.strange", Number: number(0, 0), Ref: "strange"})
			},
			want: func(b *bench) int { return len(b.faults) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.args...)
			c.do(b)
			b.judge()
			if c.want == nil {
				if !b.held() {
					t.Errorf("it does not hold: %v %v", b.faults, b.suspects)
				}
				return
			}
			if c.want(b) != 1 || b.held() {
				t.Errorf("counted %d times, held %v: %v", c.want(b), b.held(), b.suspects)
			}
			if len(b.faults)+len(b.suspects) == 0 {
				t.Error("nothing is said about it")
			}
		})
	}
}

// Each kind of fault comes as often as every other, and the seed decides.
func TestStormIsEven(t *testing.T) {
	draw := func(seed string) (list []string, counts map[string]int) {
		o, err := parse([]string{"-messages", "1000000", "-faults", "200", "-seed", seed}, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		counts = map[string]int{}
		for _, f := range newStorm(nil, o).faults {
			list = append(list, fmt.Sprint(f.name, f.at))
			counts[f.name]++
		}
		return list, counts
	}
	one, counts := draw("1")
	for name, n := range counts {
		if n < 5 {
			t.Errorf("%s comes %d times in 200", name, n)
		}
	}
	again, _ := draw("1")
	other, _ := draw("2")
	if fmt.Sprint(one) != fmt.Sprint(again) || fmt.Sprint(one) == fmt.Sprint(other) {
		t.Error("the seed does not decide")
	}
}
