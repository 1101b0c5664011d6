import { $, atEnd, call, el, exactClock, follow } from "./dom.js";
import { pretty } from "./json.js";
import { waterfall } from "./trace.js";

const kinds = ["send", "recv", "status", "event", "dead"];
const kept = 300;
const rows = new Map(); // by the hop's number
const open = new Map(); // traces of opened rows: number to trace id
let boot = "";
let last = 0;
let missed = 0;
let counts = {};

export const tally = () => counts;

function details(n, place, row) {
  const trace = el("div", { class: "trace" }, el("p", { class: "hint" }, "Reading…"));
  place.replaceChildren(trace);
  call("GET", `/hop/messages/${n}`).then((m) => {
    place.append(
      el("div", { class: "part" }, el("h3", {}, "Body"),
        el("pre", { tabindex: "0", "aria-label": "Body" }, m.body ? pretty(m.body) : "(empty)", m.cut && "\n… the rest is not kept here")),
      el("div", { class: "part" }, el("h3", {}, "Headers"),
        el("dl", {}, Object.entries(m.header ?? {}).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v.join(", "))]),
          el("dt", { class: "own" }, "stored"), el("dd", {}, `${m.stream} ${m.sequence} as ${m.stored}`),
          el("dt", { class: "own" }, "size"), el("dd", {}, `${m.size} bytes`),
          m.ref && [el("dt", { class: "own" }, "ref"), el("dd", {}, m.ref)])));
    draw(n, m.trace, trace).then(() => {
      if (row.offsetTop + row.offsetHeight > $("rows").scrollTop + $("rows").clientHeight) $("rows").scrollTop = row.offsetTop;
    });
  }).catch((error) => place.replaceChildren(el("p", { class: "fail" }, error.message)));
}

// draw shows the trace of an opened row.
async function draw(n, id, place) {
  open.set(n, { id, place });
  if (!id) {
    place.replaceChildren(el("p", { class: "hint" }, "No trace is known of this message yet."));
    return;
  }
  try {
    const trace = await call("GET", `/hop/traces/${id}`);
    place.replaceChildren(el("h3", {}, "Trace ", el("code", {}, id)), waterfall(trace));
  } catch (error) {
    place.replaceChildren(el("p", { class: "fail" }, error.message));
  }
}

function row(m) {
  const place = el("div", { class: "inside" });
  const node = el("details", { class: "row", "data-kind": m.kind, "data-n": m.n },
    el("summary", {}, el("time", {}, exactClock(m.at)), el("span", { class: "subject" }, m.subject),
      el("span", { class: "type" }, m.type.replace(/^(message|status|event)\./, "")), el("span", { class: "line" }, m.line)),
    place);
  node.addEventListener("toggle", () => {
    if (node.open) details(m.n, place, node);
    else open.delete(m.n);
  });
  return node;
}

// put adds rows where their time is: streams are read side by side.
function put(list) {
  const place = $("rows");
  const stick = open.size === 0 && atEnd(place);
  for (const m of list) {
    const node = row(m);
    node.dataset.at = m.at;
    let before = place.lastElementChild;
    while (before?.dataset.at && Date.parse(before.dataset.at) > Date.parse(m.at)) before = before.previousElementSibling;
    if (before) before.after(node);
    else place.prepend(node);
    rows.set(m.n, node);
    last = m.n;
  }
  for (const [n, node] of rows) {
    if (rows.size <= kept) break;
    if (open.has(n)) continue;
    node.remove();
    rows.delete(n);
  }
  $("hop-note").hidden = rows.size > 0;
  if (stick) place.scrollTop = place.scrollHeight;
  else if (list.length) missed += list.length;
  newer();
}

function newer() {
  if (atEnd($("rows"))) missed = 0;
  $("newer").hidden = missed === 0;
  $("newer").textContent = `${missed} newer ↓`;
}

function clear() {
  rows.forEach((node) => node.remove());
  rows.clear();
  open.clear();
  missed = 0;
  $("hop-note").hidden = false;
  newer();
}

function tallyUp() {
  for (const kind of kinds) $(`count-${kind}`).textContent = counts[kind] ?? 0;
}

// start follows the hop; heard is called with what is new.
export async function start(heard, changed) {
  const { nats, prefix } = await call("GET", "/hop/info");
  $("where").textContent = nats;
  $("hop-note").textContent = `Nothing yet on ${prefix}.*: publish a message, or write one on the phone.`;
  $("kinds").hidden = $("clear").hidden = false;
  $("kinds").append(...kinds.map((kind) => el("label", { "data-kind": kind },
    el("input", { type: "checkbox", checked: true, onchange: (e) => $("hop").classList.toggle(`no-${kind}`, !e.target.checked) }),
    `${prefix}.${kind}`, el("span", { class: "count", id: `count-${kind}` }, "0"))));
  $("clear").addEventListener("click", clear);
  $("newer").addEventListener("click", () => $("rows").scrollTo(0, $("rows").scrollHeight));
  $("rows").addEventListener("scroll", newer, { passive: true });
  follow(() => `/hop/stream?boot=${boot}&after=${last}`, (news) => {
    if (news.boot !== boot) {
      boot = news.boot;
      last = 0;
      clear();
    }
    counts = news.counts;
    tallyUp();
    put(news.messages ?? []);
    const changes = new Set(news.traces ?? []);
    open.forEach(({ id, place }, n) => {
      if (changes.has(id)) draw(n, id, place);
      else if (!id && changes.size) call("GET", `/hop/messages/${n}`).then((m) => draw(n, m.trace, place)).catch(() => {});
    });
    heard(news.messages ?? []);
  }, changed);
  return prefix;
}
