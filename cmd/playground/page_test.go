package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/simulator"
)

// world is a playground, its page in a browser and a NATS client.
type world struct {
	*playground
	page *tab
	js   jetstream.JetStream
	got  map[string]*nats.Subscription
}

func newWorld(t *testing.T) *world {
	t.Helper()
	chromium(t)
	w := &world{playground: newPlayground(t), got: map[string]*nats.Subscription{}}
	nc, err := nats.Connect("nats://" + w.nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if w.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"recv", "status", "event", "dead"} {
		if w.got[kind], err = nc.SubscribeSync("wa." + kind + ".demo"); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	w.page = open(t, "http://"+w.web)
	w.page.until(t, `document.getElementById("live").textContent === "session connected"`)
	w.page.until(t, `document.getElementById("phone-title").textContent === "Marta’s phone"`)
	return w
}

func (w *world) publish(t *testing.T, body string) {
	t.Helper()
	if _, err := w.js.Publish(t.Context(), "wa.send.demo", []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// control asks the simulator's control API.
func (w *world) control(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web+"/control/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// next waits for a message of a kind that has all of the given texts in it.
func (w *world) next(t *testing.T, kind string, has ...string) *nats.Msg {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		m, err := w.got[kind].NextMsg(time.Until(deadline))
		if err != nil {
			t.Fatalf("no message on wa.%s.demo with %q: %v", kind, has, err)
		}
		if !slices.ContainsFunc(has, func(text string) bool { return !bytes.Contains(m.Data, []byte(text)) }) {
			return m
		}
	}
}

const lastBubble = `[...document.querySelectorAll("#chat article")].at(-1)`

func TestPhone(t *testing.T) {
	w := newWorld(t)
	p := w.page

	t.Run("a published message appears, as text alone", func(t *testing.T) {
		w.publish(t, `{"to":"+15550142233","text":"<img src=x onerror=alert(1)> & <b>bold</b>"}`)
		p.until(t, lastBubble+`?.querySelector(".text").textContent === "<img src=x onerror=alert(1)> & <b>bold</b>"`)
		p.until(t, lastBubble+`.querySelector(".ticks").className === "ticks read"`)
		if n := eval[int](t, p, `document.querySelectorAll("#chat :is(b, img), #rows :is(b, img)").length`); n != 0 {
			t.Errorf("%d elements were made of a message's text", n)
		}
		w.next(t, "status", `"status":"read"`)
	})
	t.Run("an answer goes out with Enter", func(t *testing.T) {
		p.typeIn(t, "#text", "thank you\r")
		m := w.next(t, "recv", `"body":"thank you"`)
		if m.Header.Get("ce-type") != "whatsapp.message.text" || m.Header.Get("ce-subject") != phone {
			t.Errorf("headers %v", m.Header)
		}
		p.until(t, lastBubble+`.className === "mine"`)
		if v := eval[string](t, p, `document.getElementById("text").value`); v != "" {
			t.Errorf("the box still has %q", v)
		}
	})
	t.Run("a button is tapped", func(t *testing.T) {
		w.publish(t, `{"to":"+15550142233","interactive":{"type":"button","body":{"text":"Today?"},"action":{"buttons":[
			{"type":"reply","reply":{"id":"yes-id","title":"Yes"}},{"type":"reply","reply":{"id":"no-id","title":"No"}}]}}}`)
		p.until(t, `document.querySelectorAll(".taps button").length === 2`)
		p.click(t, ".taps button:nth-child(2)")
		w.next(t, "recv", `"button_reply":{"id":"no-id","title":"No"}`, `"context":`)
	})
	t.Run("a row of a list is chosen", func(t *testing.T) {
		w.publish(t, `{"to":"+15550142233","interactive":{"type":"list","body":{"text":"When?"},"action":{"button":"Choose","sections":[
			{"title":"Today","rows":[{"id":"am","title":"Morning"},{"id":"pm","title":"Evening","description":"after 6"}]}]}}}`)
		p.until(t, `document.querySelector(".list summary")`)
		p.click(t, ".list summary")
		p.click(t, ".list button:last-of-type")
		w.next(t, "recv", `"list_reply":{"id":"pm","title":"Evening","description":"after 6"}`)
	})
	t.Run("it reacts and replies", func(t *testing.T) {
		w.publish(t, `{"to":"+15550142233","text":"a question"}`)
		p.until(t, lastBubble+`.querySelector(".text")?.textContent === "a question"`)
		id := eval[string](t, p, lastBubble+`.dataset.id`)
		p.click(t, "#chat article:last-of-type .more")
		p.click(t, `#chat article:last-of-type .tools [aria-label="React with ❤️"]`)
		w.next(t, "recv", `"reaction":{"message_id":"`+id+`","emoji":"❤️"}`)
		p.until(t, lastBubble+`.querySelector(".reactions").textContent === "❤️"`)
		p.click(t, "#chat article:last-of-type .more")
		p.click(t, "#chat article:last-of-type .tools button")
		p.typeIn(t, "#text", "an answer\r")
		w.next(t, "recv", `"id":"`+id+`"`, `"body":"an answer"`)
		p.until(t, lastBubble+`.querySelector(".quoted")?.textContent === "a question"`)
	})
	t.Run("the business reacts, reads and quotes", func(t *testing.T) {
		id := eval[string](t, p, lastBubble+`.dataset.id`)
		w.publish(t, `{"to":"+15550142233","reaction":{"message_id":"`+id+`","emoji":"🎉"}}`)
		p.until(t, lastBubble+`.querySelector(".reactions").textContent === "🎉"`)
		w.publish(t, `{"status":"read","message_id":"`+id+`"}`)
		p.until(t, lastBubble+`.querySelector(".ticks").className === "ticks read"`)
		w.publish(t, `{"to":"+15550142233","context":{"message_id":"`+id+`"},"text":"quoting"}`)
		p.until(t, lastBubble+`.querySelector(".quoted")?.textContent === "an answer"`)
	})
	t.Run("every other kind shows", func(t *testing.T) {
		for _, tc := range []struct{ body, shows string }{
			{`"document":{"link":"https://example.com/a.pdf","filename":"bill.pdf"}`, "bill.pdf"},
			{`"audio":{"link":"https://example.com/a.ogg"}`, "Audio"},
			{`"video":{"link":"https://example.com/a.mp4","caption":"watch"}`, "watch"},
			{`"image":{"link":"https://example.com/a.jpg"}`, "example.com"},
			{`"location":{"latitude":52.5,"longitude":13.4,"name":"Depot 7"}`, "Depot 7"},
			{`"contacts":[{"name":{"formatted_name":"Jo Driver","first_name":"Jo"},"phones":[{"phone":"+15550142299"}]}]`, "Jo Driver"},
			{`"template":{"name":"utility_parcel","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"text","text":"at noon"}]}]}`, "at noon"},
			{`"interactive":{"type":"cta_url","body":{"text":"Follow"},"action":{"name":"cta_url","parameters":{"display_text":"Track it","url":"https://example.com/t"}}}`, "Track it"},
		} {
			w.publish(t, `{"to":"+15550142233",`+tc.body+`}`)
			p.until(t, lastBubble+`.textContent.includes(`+quote(tc.shows)+`)`)
		}
	})
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always can
	}
	return string(b)
}

// picture makes a PNG file of 60×40.
func picture(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 60, 40))
	for i := range 60 * 40 {
		img.Set(i%60, i/60, color.RGBA{uint8(i), 90, 160, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "parcel.png")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFilesBothWays(t *testing.T) {
	w := newWorld(t)
	p := w.page
	p.typeIn(t, "#text", "my door")
	p.do(t, chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{picture(t)}))
	var said struct {
		Message struct {
			Image struct{ ID, SHA256, MimeType, Caption string }
		}
	}
	if err := json.Unmarshal(w.next(t, "recv", `"type":"image"`, `"mime_type":"image/png"`, `"sha256":"`).Data, &said); err != nil {
		t.Fatal(err)
	}
	if said.Message.Image.Caption != "my door" {
		t.Errorf("caption %q", said.Message.Image.Caption)
	}
	p.until(t, lastBubble+`?.querySelector("img.photo")?.naturalWidth === 60`)

	// The same picture comes back by its id, and one by a link to this server.
	w.publish(t, `{"to":"+15550142233","image":{"id":"`+said.Message.Image.ID+`","caption":"this one?"}}`)
	p.until(t, lastBubble+`.className === "theirs" && `+lastBubble+`.querySelector("img.photo")?.naturalWidth === 60`)
	w.publish(t, `{"to":"+15550142233","image":{"link":"http://`+w.web+`/page/sample.png"}}`)
	p.until(t, lastBubble+`.querySelector("img.photo")?.naturalWidth === 480`)

	file := filepath.Join(t.TempDir(), "bill.txt")
	if err := os.WriteFile(file, []byte("12.50"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.do(t, chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	w.next(t, "recv", `"type":"document"`, `"filename":"bill.txt"`)
	p.until(t, lastBubble+`.querySelector(".file a")?.textContent === "Open"`)
}

func TestPrivacyLevels(t *testing.T) {
	w := newWorld(t)
	p := w.page
	level := func(name string) {
		p.choose(t, "level", name)
		eventually(t, func() bool { return strings.Contains(w.control(t, "users/"+phone), `"level":"`+name+`"`) }, "the level is not %s", name)
	}
	level("blocked")
	p.until(t, `document.getElementById("level-note").textContent.includes("never arrive")`)
	w.publish(t, `{"to":"+15550142233","text":"into the void"}`)
	w.publish(t, `{"to":"+15550142244","text":"to another"}`)
	w.next(t, "status", `"to":"15550142244"`, `"status":"read"`) // by now the first would have arrived
	level("no_marketing")
	w.publish(t, `{"to":"+15550142233","template":{"name":"offer","language":{"code":"en"}}}`)
	w.next(t, "status", `"status":"rejected"`, "131050")
	level("window")
	w.publish(t, `{"to":"+15550142233","text":"out of the window"}`)
	w.next(t, "status", `"status":"rejected"`, "131047")
	p.typeIn(t, "#text", "hello\r")
	w.next(t, "recv", `"body":"hello"`)
	w.publish(t, `{"to":"+15550142233","text":"within it"}`)
	p.until(t, lastBubble+`.textContent.includes("within it")`)
	level("all")
	p.until(t, `document.getElementById("level-note").hidden`)
	if text := eval[string](t, p, `document.getElementById("chat").textContent`); strings.Contains(text, "void") || strings.Contains(text, "out of") {
		t.Errorf("the phone shows what its user does not let in: %s", text)
	}

	// Another phone comes to life and can be chosen.
	w.publish(t, `{"to":"+15550142255","text":"who are you?"}`)
	p.until(t, `document.querySelector('[data-number="15550142255"] .count')?.textContent === "1"`)
	p.click(t, `[data-number="15550142255"]`)
	p.until(t, lastBubble+`?.textContent.includes("who are you?")`)
}

// Without the playground the page has a phone and faults, and says where the
// rest is.
func TestPageOfTheSimulatorAlone(t *testing.T) {
	chromium(t)
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "demo"}},
		Clients:  []simulator.Client{{ID: "c", Secret: "s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sim.Serve(t.Context(), l) }()
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	p := open(t, "http://"+l.Addr().String())
	p.until(t, `document.getElementById("hop-note").textContent.includes("go run ./cmd/playground")`)
	p.until(t, `document.getElementById("phone-title").textContent === "No phone yet"`)
	p.click(t, ".new summary")
	p.typeIn(t, ".new [name=number]", "+1 555 014 2233")
	p.typeIn(t, ".new [name=name]", "Marta\r")
	p.until(t, `document.getElementById("phone-title").textContent === "Marta’s phone"`)
	p.typeIn(t, "#text", "hello\r")
	p.until(t, lastBubble+`?.textContent.includes("hello")`)
	p.click(t, `#faults [data-kind=cut] button`)
	p.until(t, `document.querySelector("#effects li")?.textContent.includes("armed")`) // nobody is connected
}
