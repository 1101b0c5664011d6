package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
)

func TestHop(t *testing.T) {
	w := newWorld(t)
	p := w.page
	p.click(t, "#publish button")
	p.until(t, `document.getElementById("published").textContent === "stored in WA_SEND as sequence 1"`)
	p.until(t, `document.querySelectorAll(".row[data-kind=status]").length === 4`)
	p.click(t, ".row[data-kind=send] summary")
	p.until(t, `document.querySelector(".row[data-kind=send] .sum")?.textContent.includes("from publish to read")`)
	inside := eval[string](t, p, `document.querySelector(".row[data-kind=send] .inside").textContent`)
	for _, want := range []string{
		"the page publishes", "process wa.send.demo accepted", "send whatsapp", "send wa.status.demo sent", "send wa.status.demo delivered",
		"send wa.status.demo read", "traceparent", "WA_SEND 1 as wa.outbox.", `"text": "Your parcel is here"`,
	} {
		if !strings.Contains(inside, want) {
			t.Errorf("the opened row lacks %q: %s", want, inside)
		}
	}
	if n := eval[int](t, p, `document.querySelectorAll(".row[data-kind=send] .beam").length`); n != 6 {
		t.Errorf("%d spans in the waterfall, want 6", n)
	}
	p.click(t, ".row[data-kind=send] .step")
	p.until(t, `document.querySelector(".row[data-kind=send] .steps .values").checkVisibility()`)

	t.Run("a command without a trace has its outcome's", func(t *testing.T) {
		w.publish(t, `{"to":"+15550142233","text":"from elsewhere"}`)
		p.until(t, `document.querySelectorAll(".row[data-kind=status]").length === 8`)
		p.until(t, `[...document.querySelectorAll(".row[data-kind=send] .line")].some((e) => e.textContent.includes("from elsewhere"))`)
		eval[bool](t, p, `[...document.querySelectorAll(".row[data-kind=send]")].at(-1).open = true`)
		p.until(t, `[...document.querySelectorAll(".row[data-kind=send]")].at(-1).querySelector(".sum")?.textContent.includes("from publish to read")`)
		p.until(t, `[...document.querySelectorAll(".row[data-kind=send]")].at(-1).querySelector(".beam.dot")`)
	})
	t.Run("a repeated message id is known", func(t *testing.T) {
		p.typeIn(t, "#msg-id", "order-1")
		p.click(t, "#publish button")
		p.until(t, `document.getElementById("published").textContent === "stored in WA_SEND as sequence 3"`)
		p.click(t, "#publish button")
		p.until(t, `document.getElementById("published").textContent.startsWith("known already: it is sequence 3")`)
		eval[bool](t, p, `(document.getElementById("msg-id").value = "") === ""`)
	})
	t.Run("each example does what it says", func(t *testing.T) {
		p.typeIn(t, "#text", "something to answer\r")
		w.next(t, "recv", "something to answer")
		p.until(t, `document.querySelector("#chat .mine")`)
		for _, name := range eval[[]string](t, p, `[...document.getElementById("example").options].map((o) => o.value)`) {
			want := "accepted"
			if name == "a mistake" {
				want = "rejected"
			}
			p.choose(t, "example", name)
			body := eval[string](t, p, `document.getElementById("body").value`)
			drain(w.got["status"])
			p.click(t, "#publish button")
			var status struct{ Status string }
			for status.Status != "accepted" && status.Status != "rejected" {
				if err := json.Unmarshal(w.next(t, "status").Data, &status); err != nil {
					t.Fatal(err)
				}
			}
			if status.Status != want {
				t.Errorf("%s: %s, want %s: %s", name, status.Status, want, body)
			}
		}
		w.next(t, "dead", `{ "body": "" }`)
		p.until(t, `Number(document.getElementById("count-dead").textContent) === 1`)
	})
	t.Run("subjects can be hidden and rows cleared", func(t *testing.T) {
		shown := `[...document.querySelectorAll(".row[data-kind=status]")].filter((e) => e.checkVisibility()).length`
		p.click(t, "#kinds [data-kind=status] input")
		p.until(t, shown+` === 0`)
		p.click(t, "#kinds [data-kind=status] input")
		p.until(t, shown+` > 0`)
		// More may come behind: what must go is what was there.
		eval[bool](t, p, `document.querySelectorAll(".row").forEach((e) => e.classList.add("old")) === undefined`)
		p.click(t, "#clear")
		p.until(t, `document.querySelectorAll(".row.old").length === 0`)
	})
}

// drain forgets what came so far.
func drain(s *nats.Subscription) {
	for {
		if _, err := s.NextMsg(time.Millisecond); err != nil {
			return
		}
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	p := w.page
	fault := func(kind string) string { return `#faults [data-kind=` + kind + `] button` }
	told := func(name string) string {
		return `[...document.querySelectorAll("#effects li")].find((e) => e.querySelector("b").textContent === ` + quote(name) + `)?.textContent`
	}
	p.click(t, fault("close"))
	w.next(t, "event", `"state":"disconnected"`)
	w.next(t, "event", `"state":"connected"`)
	p.until(t, told("Close")+`?.match(/struck 1×.*disconnected → connected.*1 reconnect · away for/)`)

	p.click(t, fault("refuse"))
	p.until(t, `document.querySelector("`+fault("refuse")+`").getAttribute("aria-checked") === "true"`)
	w.publish(t, `{"to":"+15550142233","text":"held up"}`)
	p.until(t, told("Refuse sends: 429")+`?.includes("struck")`)
	p.click(t, fault("refuse"))
	p.until(t, `document.querySelector("`+fault("refuse")+`").getAttribute("aria-checked") === "false"`)
	w.next(t, "status", `"status":"accepted"`)
	w.next(t, "status", `"status":"read"`) // nothing flows that would use up a fault below
	p.until(t, lastBubble+`?.textContent.includes("held up")`)

	p.click(t, fault("malformed"))
	w.next(t, "dead", "not JSON")
	p.until(t, told("Broken frame")+`?.includes("1 dead letter")`)

	p.click(t, fault("revoke_token"))
	p.until(t, told("Revoke token")+`?.includes("1 reconnect")`)

	// All can be switched on, and off at once.
	n := eval[int](t, p, `(() => {
		const all = [...document.querySelectorAll("#faults [role=switch]")];
		all.forEach((b) => b.click());
		return all.length;
	})()`)
	if n < 6 {
		t.Fatalf("%d switches", n)
	}
	p.until(t, `document.querySelectorAll("#faults [aria-checked=false]").length === 0`)
	p.click(t, "#faults-off")
	p.until(t, `document.querySelectorAll("#faults [aria-checked=true]").length === 0`)
	if armed := w.control(t, "faults"); armed != "[]" {
		t.Errorf("still armed: %s", armed)
	}
}

func TestKeyboardAndScreens(t *testing.T) {
	w := newWorld(t)
	p := w.page
	w.publish(t, `{"to":"+15550142233","text":"hello"}`)
	p.until(t, `document.querySelectorAll(".row[data-kind=status]").length === 4`)

	t.Run("every control has a name", func(t *testing.T) {
		unnamed := eval[[]string](t, p, `[...document.querySelectorAll("button, input, select, textarea, summary, a, [tabindex]")]
			.filter((e) => !(e.ariaLabel || e.ariaLabelledByElements?.length || e.labels?.length || e.textContent.trim() || e.title))
			.map((e) => e.outerHTML.slice(0, 120))`)
		if len(unnamed) > 0 {
			t.Errorf("without a name: %s", unnamed)
		}
	})
	t.Run("Tab reaches everything", func(t *testing.T) {
		want := []string{"chat", "file", "text", "example", "msg-id", "body", "clear", "rows", "faults-off"}
		seen := map[string]bool{}
		for range 80 {
			p.do(t, chromedp.KeyEvent("\t"))
			seen[eval[string](t, p, `document.activeElement.id`)] = true
		}
		for _, id := range want {
			if !seen[id] {
				t.Errorf("Tab does not reach #%s", id)
			}
		}
	})
	t.Run("Enter opens a row and Escape closes the settings", func(t *testing.T) {
		eval[any](t, p, `document.querySelector(".row[data-kind=send] summary").focus()`)
		p.do(t, chromedp.KeyEvent("\r"))
		p.until(t, `document.querySelector(".row[data-kind=send] .waterfall")`)
		eval[any](t, p, `document.querySelector("#settings summary").focus()`)
		p.do(t, chromedp.KeyEvent("\r"))
		p.until(t, `document.getElementById("level").checkVisibility()`)
		eval[any](t, p, `document.getElementById("level").focus()`)
		p.do(t, chromedp.KeyEvent("\x1b"))
		p.until(t, `!document.getElementById("settings").open && document.activeElement === document.querySelector("#settings summary")`)
	})
	t.Run("dark and light", func(t *testing.T) {
		const back = `getComputedStyle(document.body).backgroundColor`
		p.scheme(t, "light")
		light := eval[string](t, p, back)
		p.scheme(t, "dark")
		if dark := eval[string](t, p, back); dark == light {
			t.Errorf("both are %s", dark)
		}
	})
	t.Run("nothing is wider or higher than the screen", func(t *testing.T) {
		const over = `[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]`
		if got := eval[[]int](t, p, over); got[0] > 0 || got[1] > 0 {
			t.Errorf("at 1440×900 it is larger by %v", got)
		}
		p.do(t, chromedp.EmulateViewport(390, 844))
		for _, view := range []string{"hop", "faults", "phone"} {
			p.click(t, `.views button[data-view=`+view+`]`)
			p.until(t, `document.querySelector(".`+view+`").checkVisibility()`)
			if got := eval[[]int](t, p, over); got[0] > 0 || got[1] > 0 {
				t.Errorf("%s at 390×844 is larger by %v", view, got)
			}
			if view == "hop" { // the row that was opened above: name, bar and time stand side by side
				p.until(t, `[...document.querySelectorAll(".row[open] .step")].length === 6 &&
					[...document.querySelectorAll(".row[open] .step")].every((s) => {
						const [name, line, took] = [...s.children].map((e) => e.getBoundingClientRect());
						return name.right <= line.left && line.right <= took.left && line.top < name.bottom && took.top < name.bottom;
					})`)
			}
		}
		p.typeIn(t, "#text", "from a narrow screen\r")
		w.next(t, "recv", "from a narrow screen")
	})
}
