import { $, atEnd, call, clock, el } from "./dom.js";
import { content, preview } from "./bubble.js";

// What is known of every phone: its user, messages by id, and the last one.
const phones = new Map();
const nodes = new Map(); // of the messages on the screen, by id
let shown; // the number of the phone on the screen
let answering; // the id of the message that is answered
let sessions = [];
let stuck = true; // the chat shows its end, and keeps doing so

const stick = () => stuck && $("chat").scrollTo(0, $("chat").scrollHeight);

const emojis = ["👍", "❤️", "😂", "😮", "🙏"];
const notes = {
  window: "Level window: free-form messages arrive within 24 h of this user’s own last one (131047 otherwise).",
  no_marketing: "Level no_marketing: marketing templates are refused (131050).",
  blocked: "Level blocked: messages are sent and never arrive, and nobody tells the business.",
};

const session = () => $("session").value;
const phone = () => phones.get(shown);
const plus = (number) => (/^\d+$/.test(number) ? `+${number}` : number);

export const current = () => shown;

// lastFromUser is the id of the last message that the user on the screen wrote.
export function lastFromUser() {
  const list = [...(phone()?.messages.values() ?? [])].filter((m) => m.from_user);
  return list.at(-1)?.id;
}

function know(user) {
  const p = phones.get(user.number) ?? { messages: new Map(), loaded: false, unseen: 0 };
  p.user = user;
  phones.set(user.number, p);
  return p;
}

function fail(error) {
  $("phone-fail").textContent = error?.message ?? "";
}

// attempt runs what a control does and says where it failed.
async function attempt(work) {
  try {
    fail();
    await work();
  } catch (error) {
    fail(error);
  }
}

const write = (message) => attempt(async () => {
  const reply = answering && !message.reaction && !message.reply_to ? { reply_to: answering } : {};
  await call("POST", `/control/users/${encodeURIComponent(shown)}/messages`, { session: session(), ...message, ...reply });
  answer();
});

// answer chooses the message that is answered, or none.
function answer(m) {
  answering = m?.id;
  $("quote").hidden = !m;
  $("quote").replaceChildren(...(m ? [
    el("span", {}, preview(m)),
    el("button", { type: "button", class: "plain", "aria-label": "Do not answer this message", onclick: () => answer() }, "✕"),
  ] : []));
  if (m) $("text").focus();
}

// visible tells what a phone shows: what arrived and what its user wrote.
const visible = (m) => m.from_user || Boolean(m.delivered);

function ticks(m) {
  const signs = { accepted: "🕓", sent: "✓", delivered: "✓✓", read: "✓✓", failed: "✕" };
  const text = m.from_user ? (m.status === "read" ? "read by the business" : "delivered") : `the business is told: ${m.status}`;
  return el("span", { class: `ticks ${m.status}`, role: "img", "aria-label": text, title: text }, signs[m.status] ?? m.status);
}

function reactionsTo(id) {
  const by = new Map(); // one for each side
  for (const m of phone().messages.values()) {
    const r = m.type === "reaction" && visible(m) && m.body?.reaction;
    if (r && r.message_id === id) by.set(m.from_user, r.emoji);
  }
  return [...by.values()].filter(Boolean);
}

function tools(m) {
  const bar = el("div", { class: "tools", hidden: true },
    el("button", { type: "button", onclick: () => { close(); answer(m); } }, "Reply"),
    emojis.map((emoji) => el("button", {
      type: "button", "aria-label": `React with ${emoji}`,
      onclick: () => { close(); write({ type: "reaction", reaction: { message_id: m.id, emoji } }); },
    }, emoji)),
    !m.from_user && el("button", {
      type: "button", class: "mark", onclick: () => attempt(async () => {
        close();
        await call("POST", `/control/users/${encodeURIComponent(shown)}/read`, { id: m.id });
      }),
    }, "Read"));
  const more = el("button", {
    type: "button", class: "more", "aria-label": "Reply or react", "aria-expanded": "false",
    onclick: () => {
      bar.hidden = !bar.hidden;
      more.setAttribute("aria-expanded", String(!bar.hidden));
    },
  }, "⋯");
  const close = () => {
    bar.hidden = true;
    more.setAttribute("aria-expanded", "false");
    more.focus();
  };
  bar.addEventListener("keydown", (e) => e.key === "Escape" && close());
  return [more, bar];
}

function bubble(m) {
  const context = m.body?.context;
  const quoted = phone().messages.get(context?.message_id ?? context?.id);
  const node = el("article", { class: m.from_user ? "mine" : "theirs", "aria-label": m.from_user ? "From this user" : "From the business" },
    context && el("div", { class: "quoted" }, quoted ? preview(quoted) : "a message that is not on this phone"),
    content(m, (message) => write({ ...message, reply_to: m.id })),
    el("p", { class: "meta" }, el("span", { class: "reactions" }), el("time", { datetime: m.at }, clock(m.at)), el("span", { class: "tick" })),
    tools(m));
  node.dataset.id = m.id;
  return node;
}

// show draws a message of the phone on the screen, or what changed of it.
function show(m) {
  if (m.session !== session() || !visible(m)) return;
  if (m.type === "reaction") {
    mark(phone().messages.get(m.body?.reaction?.message_id));
    return;
  }
  if (!nodes.has(m.id)) {
    nodes.set(m.id, bubble(m));
    const chat = $("chat");
    stuck ||= m.from_user;
    chat.querySelector(".empty")?.remove();
    chat.append(nodes.get(m.id));
    stick();
  }
  mark(m);
}

function mark(m) {
  const node = m && nodes.get(m.id);
  if (!node) return;
  node.querySelector(".tick").replaceChildren(ticks(m));
  node.querySelector(".mark")?.toggleAttribute("hidden", m.status !== "delivered");
  const list = reactionsTo(m.id);
  const place = node.querySelector(".reactions");
  place.textContent = list.join(" ");
  if (list.length) place.setAttribute("aria-label", `Reactions: ${list.join(" ")}`);
  else place.removeAttribute("aria-label");
}

function bar() {
  const p = phone();
  for (const id of ["compose", "settings"]) $(id).toggleAttribute("inert", !p);
  if (!p) return;
  const business = sessions.find((s) => s.id === session());
  const last = [...p.messages.values()].at(-1);
  const typing = last?.from_user && last.typing;
  $("face").textContent = [...(p.user.name || "?")][0];
  $("phone-title").textContent = `${p.user.name}’s phone`;
  $("business").textContent = typing ? "the business is writing…" : `${plus(p.user.number)} with ${business?.id ?? "no business"}`;
  $("level").value = p.user.level ?? "all";
  $("offline").checked = Boolean(p.user.offline);
  $("unread").checked = Boolean(p.user.unread);
  $("late").checked = Boolean(p.user.late_errors);
  const note = [p.user.offline && "Offline: messages wait.", notes[p.user.level]].filter(Boolean).join(" ");
  $("level-note").hidden = !note;
  $("level-note").textContent = note;
}

function redraw() {
  nodes.clear();
  answer();
  $("chat").replaceChildren(el("p", { class: "empty" }, "Nothing here yet. Publish a message, or write one below."));
  bar();
  for (const m of phone()?.messages.values() ?? []) show(m);
  stuck = true;
  stick();
  list();
  dispatchEvent(new Event("phone"));
}

// list draws the phones, once for all that happens between two frames.
let drawing;
const list = () => {
  drawing ??= requestAnimationFrame(() => {
    drawing = undefined;
    drawList();
  });
};

function drawList() {
  const focused = document.activeElement?.dataset?.number;
  const newest = [...phones.values()].slice(-100);
  $("chats").replaceChildren(...newest.map((p) => {
    const last = [...p.messages.values()].filter(visible).at(-1);
    return el("li", {}, el("button", {
      type: "button", "data-number": p.user.number, "aria-current": p.user.number === shown ? "true" : undefined, onclick: () => choose(p.user.number),
    },
    el("span", { class: "face", "aria-hidden": "true" }, [...(p.user.name || "?")][0]),
    el("span", { class: "name" }, p.user.name, el("small", {}, last ? preview(last).slice(0, 60) : plus(p.user.number))),
    p.unseen > 0 && el("span", { class: "count", "aria-label": `${p.unseen} new` }, String(p.unseen))));
  }));
  if (focused) $("chats").querySelector(`[data-number="${CSS.escape(focused)}"]`)?.focus();
}

// load reads a phone from the server.
async function load(number) {
  const { messages, ...user } = await call("GET", `/control/users/${encodeURIComponent(number)}`);
  const p = know(user);
  p.messages = new Map(messages.map((m) => [m.id, m]));
  p.loaded = true;
}

async function choose(number) {
  await attempt(async () => {
    await load(number);
    shown = number;
    phones.get(number).unseen = 0;
    redraw();
  });
}

// refresh reads everything again, after the stream was away.
export async function refresh() {
  const users = await call("GET", "/control/users");
  phones.forEach((_, number) => users.some((u) => u.number === number) || phones.delete(number));
  users.forEach(know);
  if (!phones.has(shown)) shown = users.find((u) => !u.participants)?.number;
  if (shown) await choose(shown);
  else redraw();
}

// notice takes what happened on the platform.
export async function notice(n) {
  if (n.kind === "user") {
    await attempt(async () => {
      await load(n.number);
      if (!shown) await choose(n.number);
    });
    bar();
    list();
    return;
  }
  if (!n.message) return;
  const m = n.message;
  if (!phones.has(m.number)) {
    await attempt(() => load(m.number));
    if (!shown) await choose(m.number);
  }
  const p = phones.get(m.number);
  if (!p) return;
  const before = p.messages.get(m.id);
  if (before?.delivered && visible(m)) {
    Object.assign(before, { ...m, body: before.body });
  } else {
    p.messages.delete(m.id); // what arrives now is the newest
    p.messages.set(m.id, m);
    if (visible(m) && m.number !== shown) p.unseen++;
  }
  if (m.number === shown) {
    show(p.messages.get(m.id));
    bar();
    dispatchEvent(new Event("phone"));
  }
  list();
}

async function attach(file) {
  const { id } = await call("POST", "/control/media", file, file.type || "application/octet-stream");
  const kind = ["image", "video", "audio"].find((k) => file.type.startsWith(`${k}/`)) ?? "document";
  const media = { id };
  if (kind === "document") media.filename = file.name;
  const words = $("text").value.trim();
  if (words && kind !== "audio") {
    media.caption = words;
    $("text").value = "";
  }
  await write({ type: kind, [kind]: media });
}

const save = () => attempt(async () => {
  await call("POST", "/control/users", {
    ...phone().user, level: $("level").value, offline: $("offline").checked, unread: $("unread").checked, late_errors: $("late").checked,
  });
});

export function start(businesses) {
  sessions = businesses;
  $("session").replaceChildren(...sessions.map((s) => el("option", { value: s.id }, s.id)));
  $("session").hidden = sessions.length < 2;
  $("session").addEventListener("change", redraw);
  $("chat").addEventListener("scroll", () => { stuck = atEnd($("chat")); }, { passive: true });
  new ResizeObserver(stick).observe($("chat"));
  $("privacy").addEventListener("change", save);
  $("privacy").addEventListener("submit", (e) => e.preventDefault());
  $("settings").addEventListener("keydown", (e) => {
    if (e.key !== "Escape") return;
    $("settings").open = false;
    $("settings").firstElementChild.focus();
  });
  document.addEventListener("click", (e) => {
    if (!$("settings").contains(e.target)) $("settings").open = false;
  });
  $("compose").addEventListener("submit", (e) => {
    e.preventDefault();
    const body = $("text").value;
    if (!body.trim()) return;
    $("text").value = "";
    write({ text: body });
  });
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) attempt(() => attach(file)).then(() => { $("file").value = ""; });
  });
  $("new-phone").addEventListener("submit", (e) => {
    e.preventDefault();
    const form = e.currentTarget;
    const { number, name } = Object.fromEntries(new FormData(form));
    attempt(async () => {
      const user = await call("POST", "/control/users", { number, name });
      form.reset();
      form.closest("details").open = false;
      know(user);
      await choose(user.number);
    });
  });
}
