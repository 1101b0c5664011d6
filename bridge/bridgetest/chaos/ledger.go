package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// ledger knows every message of the run by its id, from both ends.
type ledger struct {
	sessions, conversations int

	mu       sync.Mutex
	commands []command
	users    [][]user // by session
	moved    int      // grows with everything that comes out
	// How many have come out; see complete.
	decided, read, stored int
}

// command is one message that we sent, and what is known of it.
type command struct {
	released time.Time // when it was to be published
	sequence uint64    // in WA_SEND, 0 without a PubAck
	outcomes []outcome
	copies   []copied // messages at the phone, by what wa.status says
	letters  int      // dead letters
}

// outcome is one outcome on wa.status.
type outcome struct {
	word, class string
	code        int
	attempts    int
	id          string
	at          time.Time
	position    uint64 // in WA_RECV
}

// copied is one message of the platform, by its id: how often each stage of it
// was stored, and the highest.
type copied struct {
	id     string
	stages [stageCount]uint8
	top    int8
	behind bool // a stage was stored after a higher one
}

// stages are what the platform reports, in order.
func stages() [stageCount]string { return [stageCount]string{"sent", "delivered", "read"} }

const stageCount = 3

// user is one message that a user wrote.
type user struct {
	released time.Time
	at       time.Time // when it was stored
	count    int32     // how often
	late     bool      // stored behind a later one of its conversation
	written  bool      // the platform said that it has it
}

func newLedger(o *options) *ledger {
	commands := o.commands()
	rest := o.messages - commands
	l := &ledger{sessions: o.sessions, conversations: o.conversations, commands: make([]command, commands)}
	l.users = make([][]user, o.sessions)
	for s := range l.users {
		l.users[s] = make([]user, (rest+o.sessions-1-s)/o.sessions)
	}
	return l
}

// badEvery is how often a command is one that nobody can send.
const badEvery = 101

func (l *ledger) session(i int) int      { return i % l.sessions }
func (l *ledger) conversation(i int) int { return i / l.sessions % l.conversations }
func bad(i int) bool                     { return i%badEvery == badEvery-1 }

// ref is the id of command i; index reads it back.
func ref(i int) string { return fmt.Sprintf("c%08d", i) }

func (l *ledger) index(ref string) (int, bool) {
	if len(ref) != 9 || ref[0] != 'c' {
		return 0, false
	}
	i, err := strconv.Atoi(ref[1:])
	return i, err == nil && i >= 0 && i < len(l.commands)
}

// traceparent carries the index past everything; traced reads it back.
func traceparent(i int) string { return fmt.Sprintf("00-c4a05c4a05c4a05c%016x-%016x-00", i+1, i+1) }

func (l *ledger) traced(traceparent string) (int, bool) {
	if len(traceparent) != 55 || traceparent[3:19] != "c4a05c4a05c4a05c" {
		return 0, false
	}
	i, err := strconv.ParseUint(traceparent[19:35], 16, 32)
	return int(i) - 1, err == nil && i > 0 && int(i) <= len(l.commands)
}

// number is the phone of a command's recipient.
func number(session, conversation int) string {
	return fmt.Sprintf("1555%02d%05d", session, conversation)
}

// report notes what wa.status says.
func (l *ledger) report(i int, r *statusBody, at time.Time, position uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.commands[i]
	l.moved++
	for stage, name := range stages() {
		if r.Status == name {
			if c.see(r.ID, stage) {
				l.read++
			}
			return
		}
	}
	o := outcome{word: r.Status, id: r.ID, attempts: r.Attempts, at: at, position: position}
	if r.Error != nil {
		o.class, o.code = r.Error.Class, r.Error.Code
	}
	if c.outcomes = append(c.outcomes, o); len(c.outcomes) == 1 {
		l.decided++
	}
}

// see notes one stage of a message; true where the first message of the command
// has come to its end by it.
func (c *command) see(id string, stage int) bool {
	for i := range c.copies {
		if c.copies[i].id == id {
			return c.copies[i].see(stage) && i == 0
		}
	}
	c.copies = append(c.copies, copied{id: id, top: -1})
	n := len(c.copies) - 1
	return c.copies[n].see(stage) && n == 0
}

func (m *copied) see(stage int) (whole bool) {
	if int8(stage) < m.top {
		m.behind = true
	}
	m.top = max(m.top, int8(stage))
	m.stages[stage]++
	if m.stages[stage] > 1 {
		return false
	}
	for _, n := range m.stages {
		if n == 0 {
			return false
		}
	}
	return true
}

// receive notes a message on wa.recv; highest is the last one of each
// conversation of the session.
func (l *ledger) receive(session, i int, at time.Time, highest map[int]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := &l.users[session][i]
	l.moved++
	if u.count++; u.count > 1 {
		return
	}
	u.at = at
	l.stored++
	conversation := i % l.conversations
	if before, seen := highest[conversation]; seen && i < before {
		u.late = true
		return
	}
	highest[conversation] = i
}

// letter notes a dead letter of a command.
func (l *ledger) letter(sequence uint64, index int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := &l.commands[index]; c.sequence == sequence || c.sequence == 0 {
		c.letters++
		return true
	}
	return false
}

// counts says how much has come out of how much.
func (l *ledger) counts() (moved, decided, read, stored int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved, l.decided, l.read, l.stored
}

// complete tells whether everything has come out: an outcome for each command,
// each message of a user, and for everything accepted what the platform reports.
func (l *ledger) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	users := 0
	for _, list := range l.users {
		users += len(list)
	}
	if l.decided < len(l.commands) || l.stored < users {
		return false
	}
	for i := range l.commands {
		c := &l.commands[i]
		if c.outcomes[0].word == "accepted" && (len(c.copies) == 0 || c.copies[0].top < stageCount-1) {
			return false
		}
	}
	return true
}
