import { $, call, duration, el, exactClock, instant } from "./dom.js";
import { tally } from "./hop.js";

// What can be switched on. Those with "now" strike the live connection at once;
// the others wait for an occasion, once or until they are switched off.
const faults = [
  { label: "Drop an answer", say: "no answer to a send", body: { kind: "drop_answer", count: 1 } },
  { label: "Delay answers", say: "each comes 2 s late", body: { kind: "delay_answer", delay: "2s", count: -1 } },
  { label: "Refuse sends: 429", say: "rate limit, again in 2 s", body: { kind: "refuse", code: 130429, retry_after: "2s", count: -1 } },
  { label: "Accept and cut", say: "a send, then a cut line", body: { kind: "accept_and_cut", count: 1 } },
  { label: "Close", now: true, say: "going away: 1001", body: { kind: "close", code: 1001 } },
  { label: "Cut", now: true, say: "the connection is reset", body: { kind: "cut" } },
  { label: "Hang", now: true, say: "silent for 40 s", body: { kind: "hang", delay: "40s" } },
  { label: "Handshake: 429", say: "then close or cut", body: { kind: "handshake", code: 429, retry_after: "3s", count: -1 } },
  { label: "Expire token", now: true, say: "before its time", body: { kind: "expire_token" } },
  { label: "Revoke token", now: true, say: "all of the client’s", body: { kind: "revoke_token" } },
  { label: "No new tokens: 503", say: "then expire or revoke it", body: { kind: "token", code: 503, count: -1 } },
  { label: "Broken frame", now: true, say: "no JSON: to wa.dead", body: { kind: "malformed", variant: "not_json" } },
  { label: "Events twice", say: "each is sent two times", body: { kind: "duplicate", count: -1 } },
  { label: "Withhold an event", say: "a number is missing", body: { kind: "gap", count: 1 } },
  { label: "Swap events", say: "two change places", body: { kind: "reorder", count: -1 } },
];

// What happened so far, beside what the hop counts.
const seen = { connected: 0, status: 0, message: 0, repeats: 0, states: [] };
const watchFor = 60_000; // how long after a strike its effects are told
const kept = 20;
const effects = []; // newest first
let session = "";
let hop = false;

const numbers = () => {
  const stored = tally();
  return {
    reconnects: seen.connected, repeats: seen.repeats, states: seen.states.length,
    statuses: stored.status ?? seen.status, messages: stored.recv ?? seen.message, dead: stored.dead ?? 0,
  };
};

// tell says what happened since a fault was switched on.
function tell(e) {
  const now = numbers();
  const parts = [e.struck ? `struck ${e.struck}×` : e.fault.id ? "armed" : "did not strike"];
  const path = seen.states.slice(e.before.states);
  if (path.length > 4) parts.push(`${path.length} state changes, now ${path.at(-1)}`);
  else if (path.length) parts.push(path.join(" → "));
  for (const [name, one, many] of [["reconnects", "reconnect", "reconnects"], ["repeats", "repeat absorbed", "repeats absorbed"],
    ["statuses", "status", "statuses"], ["messages", "message", "messages"], ["dead", "dead letter", "dead letters"]]) {
    const n = now[name] - e.before[name];
    if (n > 0) parts.push(`${n} ${n === 1 ? one : many}`);
    if (n > 0 && name === "reconnects" && e.away) parts.push(`away for ${duration(e.away)}`);
  }
  e.text.textContent = ` ${parts.join(" · ")}`;
}

// tellAll goes on with what still waits, and with the newest for a while: what
// comes after the next fault is not put down to this one.
const tellAll = () => effects.filter((e, i) => e.fault.id || (i === 0 && Date.now() - e.at < watchFor)).forEach(tell);

// note begins the account of a fault.
function note(fault, struck) {
  const at = Date.now();
  const text = el("span");
  const e = { fault, struck, at, text, before: numbers() };
  e.node = el("li", {}, el("time", {}, exactClock(at).slice(0, 8)), " ", el("b", {}, fault.label), text);
  effects.unshift(e);
  $("effects").prepend(e.node);
  $("no-effects").hidden = true;
  effects.splice(kept).forEach((old) => old.node.remove());
  return e;
}

async function attempt(work) {
  try {
    $("fault-fail").textContent = "";
    await work();
  } catch (error) {
    $("fault-fail").textContent = error.message;
  }
}

// arm switches a fault on. It may have struck before the server answers.
const arm = (fault) => attempt(async () => {
  await repeats();
  const e = note(fault, 0);
  const { id } = await call("POST", "/control/faults", { session, ...fault.body });
  fault.id = id;
  await armed();
  tell(e);
});

const disarm = (fault) => attempt(async () => {
  await call("DELETE", `/control/faults/${fault.id}`);
  await armed();
});

// armed reads what still waits: a fault that was used up is gone. Of answers
// that overtake each other the one asked for last counts.
let question = 0;
async function armed() {
  const mine = ++question;
  const waiting = await call("GET", "/control/faults");
  if (mine !== question) return;
  for (const f of faults) {
    const one = waiting.find((w) => (f.id ? w.id === f.id : w.kind === f.body.kind && w.session === session));
    f.id = one?.id;
    if (one && !effects.some((e) => e.fault === f)) note(f, one.hits);
    f.button.setAttribute(f.now ? "data-armed" : "aria-checked", String(Boolean(f.id)));
  }
  tellAll();
}

async function repeats() {
  seen.repeats = (await call("GET", "/control/stats")).repeats;
}

let asked;
function soon() {
  asked ??= setTimeout(() => {
    asked = undefined;
    refresh();
  }, 150);
}

export const refresh = () => attempt(async () => {
  await repeats();
  await armed();
});

// notice takes what happened on the platform.
export function notice(n) {
  const newest = effects[0];
  switch (n.kind) {
    case "fault": {
      const e = effects.find((one) => one.fault.body.kind === n.text);
      if (e) Object.assign(e, { struck: e.struck + 1, at: Date.now() });
      break;
    }
    case "disconnected":
      if (newest) newest.left = instant(n.at);
      break;
    case "connected":
      if (newest?.left) newest.away = instant(n.at) - newest.left;
      seen.connected++;
      break;
    case "status": case "message":
      seen[n.kind]++;
      break;
    default:
      return;
  }
  if (!hop && (n.kind === "connected" || n.kind === "disconnected")) seen.states.push(n.kind);
  if (effects.length) soon();
}

// stored takes what the hop stored.
export function stored(messages) {
  for (const m of messages) if (m.state) seen.states.push(m.state);
  tellAll();
}

export function start(id, withHop) {
  session = id;
  hop = withHop;
  $("faults").append(...faults.map((f) => {
    f.button = el("button", {
      type: "button", role: f.now ? undefined : "switch", class: f.now ? "now" : "switch", "aria-checked": f.now ? undefined : "false",
      onclick: () => (f.id && !f.now ? disarm(f) : arm(f)),
    }, el("span", { class: "knob", "aria-hidden": "true" }), el("span", {}, f.label), el("small", { title: f.say }, f.say));
    return el("li", { "data-kind": f.body.kind }, f.button);
  }));
  $("faults-off").addEventListener("click", () => attempt(async () => {
    await call("DELETE", "/control/faults");
    await armed();
  }));
}
