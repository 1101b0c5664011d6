package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"wabridge/bridge/bridgetest"
)

// world is every process of a run and the links between them.
type world struct {
	o     *options
	dir   string
	began time.Time
	log   *journal

	nodes   []*process // NATS
	bridges []*process
	sim     *process
	control *control

	toNATS     [][]*bridgetest.Link // [replica][node]
	toPlatform []*bridgetest.Link   // [replica]
	routes     [][]*bridgetest.Link // [from][to] between nodes
	webhooks   *bridgetest.Link     // to any replica
	natsAddrs  []string             // past the links

	watch sync.WaitGroup
	stop  context.CancelFunc

	mu       sync.Mutex
	repeats  [][]repeat      // by session, of all of the platform's lives
	answered map[string]bool // message ids whose send was answered
	seen     []int           // by session: how many sends were looked at for that
}

// newWorld builds the programs and lays everything out; nothing runs yet.
func newWorld(o *options, stderr io.Writer) (*world, error) {
	dir, err := os.MkdirTemp("", "wabridge-chaos-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	w := &world{
		o: o, dir: dir, began: time.Now(), stop: func() {},
		repeats: make([][]repeat, o.sessions), answered: map[string]bool{}, seen: make([]int, o.sessions),
	}
	if err := w.lay(stderr); err != nil {
		w.end()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return w, nil
}

func (w *world) lay(stderr io.Writer) (err error) {
	if w.log, err = newJournal(filepath.Join(w.dir, "faults.log"), stderr, w.began); err != nil {
		return err
	}
	args := []string{"build", "-o", w.dir + string(filepath.Separator)}
	if w.o.race {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "wabridge/cmd/wabridge", "wabridge/cmd/wasim")...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w: %s", err, out)
	}
	if err := w.layNATS(); err != nil {
		return err
	}
	ports, err := freePorts(1 + w.o.replicas)
	if err != nil {
		return err
	}
	w.layPlatform(ports[0])
	return w.layBridges(ports[0], ports[1:])
}

func (w *world) tokenFile() string { return filepath.Join(w.dir, "token") }

// start runs everything and waits until the sessions are there.
func (w *world) start(ctx context.Context) error {
	first := append([]*process{w.sim}, w.nodes...)
	for _, p := range first {
		if err := p.launch(); err != nil {
			return err
		}
	}
	for _, p := range first {
		if err := p.await(ctx); err != nil {
			return err
		}
	}
	for i := range w.o.sessions {
		if err := w.control.call(ctx, "POST", "/control/sessions", w.platformSession(i), nil); err != nil {
			return err
		}
	}
	if w.o.cloud() {
		if err := w.newToken(ctx); err != nil {
			return err
		}
		if err := w.arm(ctx); err != nil {
			return err
		}
	}
	if err := w.awaitJetStream(ctx); err != nil {
		return err
	}
	for _, p := range w.bridges {
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.watch.Go(func() { w.weigh(ctx) })
	return nil
}

func (w *world) platformSession(i int) map[string]any {
	s := map[string]any{"id": session(i), "phone_number_id": phoneNumberID(i), "waba_id": "77" + phoneNumberID(i), "no_dedupe": !w.o.dedupe}
	if w.o.cloud() {
		s["webhook"] = map[string]any{
			"url": "http://" + w.webhooks.Addr() + "/webhook", "app_id": appID, "app_secret": appSecret, "verify_token": verifyToken,
			"retry_max": "1s", "twice": 0.02, "shuffle": 0.02, "early": 0.02,
		}
	}
	return s
}

// arm sets what goes wrong all the time: Graph takes a send and drops the
// connection. A platform that is killed forgets it.
func (w *world) arm(ctx context.Context) error {
	return w.control.call(ctx, "POST", "/control/faults", map[string]any{"kind": "drop_answer", "probability": 0.02, "count": -1}, nil)
}

// newToken gives the Cloud API sessions a token, in a file.
func (w *world) newToken(ctx context.Context) error {
	var t struct {
		AccessToken string `json:"access_token"`
	}
	if err := w.control.call(ctx, "POST", "/control/tokens", map[string]any{"action": "issue", "client": appID}, &t); err != nil {
		return err
	}
	name := w.tokenFile()
	if err := os.WriteFile(name+".new", []byte(t.AccessToken), 0o600); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	return os.Rename(name+".new", name)
}

// weigh looks at the memory of the bridges now and then.
func (w *world) weigh(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, p := range w.bridges {
				p.look()
			}
		}
	}
}

// links lists every link.
func (w *world) links() []*bridgetest.Link {
	list := append([]*bridgetest.Link{w.webhooks}, w.toPlatform...)
	for _, some := range append(w.toNATS, w.routes...) {
		list = append(list, some...)
	}
	return slices.DeleteFunc(list, func(l *bridgetest.Link) bool { return l == nil })
}

// processes lists every process.
func (w *world) processes() []*process {
	list := slices.Concat([]*process{w.sim}, w.bridges, w.nodes)
	return slices.DeleteFunc(list, func(p *process) bool { return p == nil })
}

// end kills whatever runs and closes the links.
func (w *world) end() {
	w.stop()
	w.watch.Wait()
	for _, p := range w.processes() {
		p.kill()
	}
	for _, l := range w.links() {
		l.Close()
	}
	if w.control != nil {
		w.control.close()
	}
	if w.log != nil {
		w.log.close()
	}
}
