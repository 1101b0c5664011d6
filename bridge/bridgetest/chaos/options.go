package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	chatapi  = "chatapi"
	cloudapi = "cloudapi"
	in       = "in"
	out      = "out"
)

// options are the flags.
type options struct {
	messages      int
	faults        int
	seed          uint64
	platform      string
	unknown       string
	dedupe        bool
	replicas      int
	nodes         int
	sessions      int
	conversations int // of each session
	rate          int
	only          string
	direction     string
	peer          bool
	list, keep    bool
	race          bool
	patience      time.Duration
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	var dedupe string
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.messages, "messages", 60_000, "how `many`, both ways together")
	fs.IntVar(&o.faults, "faults", 40, "how `many`")
	fs.Uint64Var(&o.seed, "seed", 1, "which faults at which moments")
	fs.StringVar(&o.platform, "platform", chatapi, "chatapi or cloudapi")
	fs.StringVar(&o.unknown, "unknown", "report", "cloudapi: what follows an unanswered send, report or resend")
	fs.StringVar(&dedupe, "dedupe", "on", "off: the platform delivers repeats again, so that they show")
	fs.IntVar(&o.replicas, "replicas", 1, "of the bridge")
	fs.IntVar(&o.nodes, "nats", 1, "NATS servers: 1 or 3")
	fs.IntVar(&o.sessions, "sessions", 0, "how many; 0: 4 on chatapi, 24 on cloudapi (whose sessions keep to 80 sends a second)")
	fs.IntVar(&o.conversations, "conversations", 0, "of each session; 0: 50, on cloudapi so many that no pair limit is met")
	fs.IntVar(&o.rate, "rate", 2000, "messages a second, both ways together")
	fs.StringVar(&o.only, "only", "", "these `kinds` of faults alone, comma-separated; see -list")
	fs.StringVar(&o.direction, "direction", "", "in or out: messages of users or commands alone; both otherwise")
	fs.BoolVar(&o.peer, "peer", false, fmt.Sprintf("four runs and one table: the bridge and NATS are killed while it receives and while it sends\n(-messages %d -rate %d -faults %d unless given)", peerMessages, peerRate, peerKills))
	fs.BoolVar(&o.list, "list", false, "list the kinds of faults and exit")
	fs.BoolVar(&o.keep, "keep", false, "keep logs and state")
	fs.BoolVar(&o.race, "race", false, "build the programs with the race detector")
	fs.DurationVar(&o.patience, "patience", 90*time.Second, "how long nothing may move before the run is called stuck")
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("reading flags: %w", err)
	}
	o.dedupe = dedupe != "off"
	if o.peer {
		o.setPeer(fs)
	}
	o.setDefaults()
	if err := o.validate(fs.NArg(), dedupe); err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
		return nil, err
	}
	return o, nil
}

func (o *options) setDefaults() {
	if o.sessions == 0 {
		o.sessions = 4
		if o.platform == cloudapi {
			o.sessions = 24
		}
	}
	if o.conversations == 0 {
		o.conversations = 50
		if o.platform == cloudapi {
			o.conversations = max(50, o.messages/2/o.sessions/30)
		}
	}
}

func (o *options) validate(extra int, dedupe string) error {
	var errs []error
	add := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New(text))
		}
	}
	add(extra > 0, "unexpected arguments")
	add(o.messages < 2 || o.faults < 0 || o.rate < 1, "want -messages of at least 2, -faults of at least 0, -rate of at least 1")
	add(o.platform != chatapi && o.platform != cloudapi, "-platform: want chatapi or cloudapi")
	add(o.unknown != "report" && o.unknown != "resend", "-unknown: want report or resend")
	add(dedupe != "on" && dedupe != "off", "-dedupe: want on or off")
	add(o.direction != "" && o.direction != in && o.direction != out, "-direction: want in or out")
	add(o.nodes != 1 && o.nodes != 3, "-nats: want 1 or 3")
	add(o.replicas < 1 || o.replicas > 16, "-replicas: want 1 to 16")
	add(o.sessions < 1 || o.sessions > 100, "-sessions: want 1 to 100")
	add(o.conversations < 1 || o.conversations > 100_000, "-conversations: want 1 to 100,000")
	add(len(o.kinds()) == 0, "-only: no such kind of fault; see -list")
	return errors.Join(errs...)
}

// kinds are the faults that suit what runs.
func (o *options) kinds() []kind {
	var list []kind
	for _, k := range allKinds() {
		chosen := o.only == "" || slices.Contains(strings.Split(o.only, ","), k.name)
		if chosen && (k.suits == nil || k.suits(o)) {
			list = append(list, k)
		}
	}
	return list
}

// commands is how many of the messages are commands; users write the rest.
func (o *options) commands() int {
	switch o.direction {
	case in:
		return 0
	case out:
		return o.messages
	}
	return o.messages / 2
}

func (o *options) cloud() bool { return o.platform == cloudapi }

func session(i int) string { return fmt.Sprintf("s%02d", i) }
