package main

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"time"

	"wabridge/codec"
)

// keepFiles names a folder where TestFunnel leaves its files, for DuckDB.
const keepFiles = "ANALYTICS_TEST_KEEP"

// funnel is a row of funnel.sql, computed from the files without DuckDB.
type funnel struct {
	commands, accepted, delivered, read, failed int
	toDeliver, toRead                           float64 // median, in seconds
}

func funnelOf(rows []status) funnel {
	type command struct {
		at     map[string]time.Time // of each word, the first time
		failed bool
	}
	commands := make(map[string]*command)
	for _, r := range rows {
		if r.Status == "accepted" && r.ID == "" {
			continue
		}
		id := cmp.Or(r.ID, r.Ref)
		c := commands[id]
		if c == nil {
			c = &command{at: make(map[string]time.Time)}
			commands[id] = c
		}
		var words []string
		switch r.Status {
		case "rejected", "expired", "unknown", "failed":
			c.failed = true
		case "read", "played":
			words = []string{"read", "delivered"}
		default:
			words = []string{r.Status}
		}
		for _, w := range words {
			if at, ok := c.at[w]; !ok || r.At.Before(at) {
				c.at[w] = r.At
			}
		}
	}
	f := funnel{commands: len(commands)}
	var toDeliver, toRead []float64
	for _, c := range commands {
		accepted, isAccepted := c.at["accepted"]
		delivered, isDelivered := c.at["delivered"]
		read, isRead := c.at["read"]
		f.accepted += count(isAccepted)
		f.delivered += count(isDelivered)
		f.read += count(isRead)
		f.failed += count(c.failed)
		if isAccepted && isDelivered {
			toDeliver = append(toDeliver, delivered.Sub(accepted).Seconds())
		}
		if isRead {
			toRead = append(toRead, read.Sub(delivered).Seconds())
		}
	}
	f.toDeliver, f.toRead = median(toDeliver), median(toRead)
	return f
}

// answers is a row of answers.sql.
type answers struct {
	questions, answered int
	toAnswer            float64 // median, in seconds
}

func answersOf(messages []message, statuses []status) answers {
	type turn struct {
		at   time.Time
		user bool
	}
	turns := make(map[string][]turn)
	for _, m := range messages {
		turns[m.Conversation] = append(turns[m.Conversation], turn{m.At, true})
	}
	for _, s := range statuses {
		if s.Status == "accepted" && s.ID != "" {
			turns[s.Conversation] = append(turns[s.Conversation], turn{s.At, false})
		}
	}
	var a answers
	var times []float64
	for _, list := range turns {
		slices.SortStableFunc(list, func(a, b turn) int { return a.at.Compare(b.at) })
		list = slices.CompactFunc(list, func(a, b turn) bool { return a.user == b.user })
		for i, t := range list {
			if !t.user {
				continue
			}
			a.questions++
			if i+1 < len(list) {
				a.answered++
				times = append(times, list[i+1].at.Sub(t.at).Seconds())
			}
		}
	}
	a.toAnswer = median(times)
	return a
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// The funnel and the answer times, from the files; deploy/analytics-test.sh has
// DuckDB find the same.
func TestFunnel(t *testing.T) {
	dir := os.Getenv(keepFiles)
	if dir == "" {
		dir = t.TempDir()
	}
	f := newFeed(t)
	begin := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	const marta, otto = "15550142233", "15550142244"
	for _, r := range []codec.Report{
		{Ref: "one", ID: "w1", To: marta, Status: "accepted", At: after(0)},
		{Ref: "one", ID: "w1", To: marta, Status: "sent", At: after(1)},
		{Ref: "one", ID: "w1", To: marta, Status: "delivered", At: after(2)},
		{Ref: "one", ID: "w1", To: marta, Status: "read", At: after(10)},
		{Ref: "two", ID: "w2", To: otto, Status: "delivered", At: after(5)}, // before its outcome
		{Ref: "two", ID: "w2", To: otto, Status: "accepted", At: after(1)},
		{Ref: "three", ID: "w3", To: otto, Status: "accepted", At: after(20)},
		{Ref: "three", ID: "w3", To: otto, Status: "read", At: after(26)}, // nobody said delivered
		{Ref: "four", To: otto, Status: "rejected", At: after(30), Error: &codec.ReportError{Class: codec.Permanent, Code: 131026}},
		{Ref: "five", ID: "w5", To: otto, Status: "accepted", At: after(40)},
		{Ref: "five", ID: "w5", To: otto, Status: "failed", At: after(41), Error: &codec.ReportError{Class: codec.Permanent, Code: 131049}},
		{Ref: "verb", Status: "accepted", At: after(50)},
		{Ref: "answer", ID: "w6", To: marta, Status: "accepted", At: after(130)},
		{Ref: "again", ID: "w7", To: marta, Status: "accepted", At: after(131)},
	} {
		f.status(t, r)
	}
	for _, m := range []struct {
		id, from string
		at       int
	}{{"m1", marta, 100}, {"m2", marta, 110}, {"m3", marta, 200}, {"m4", otto, 210}} {
		f.message(t, m.id, m.from, after(m.at), "")
	}
	f.landAll(t, f.config(dir), 18, 14)

	statuses := read[status](t, dir, "statuses")
	if got, want := funnelOf(statuses), (funnel{commands: 7, accepted: 6, delivered: 3, read: 2, failed: 2, toDeliver: 4, toRead: 4}); got != want {
		t.Errorf("the funnel is %+v, want %+v", got, want)
	}
	if got, want := answersOf(read[message](t, dir, "messages"), statuses), (answers{questions: 3, answered: 1, toAnswer: 30}); got != want {
		t.Errorf("the answers are %+v, want %+v", got, want)
	}
}
