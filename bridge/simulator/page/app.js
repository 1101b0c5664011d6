import { $, call, follow } from "./dom.js";
import * as faults from "./faults.js";
import * as hop from "./hop.js";
import * as phone from "./phone.js";
import * as publish from "./publish.js";

// The pill says where the session stands, and whether this page hears of it.
let state = "";
let heard = true;

function pill() {
  const text = heard ? `session ${state || "not connected"}` : "the page’s server is away";
  const p = $("live");
  p.dataset.state = !heard || state === "" ? "waiting" : state;
  if (p.textContent !== text) p.textContent = text;
}

function views() {
  const buttons = [...document.querySelectorAll(".views button")];
  for (const b of buttons) {
    b.addEventListener("click", () => {
      document.body.dataset.view = b.dataset.view;
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === b)));
    });
  }
}

// One after the other: what a notice changes is there before the next is read.
let queue = Promise.resolve();
const inOrder = (work) => {
  queue = queue.then(work).catch((error) => {
    $("phone-fail").textContent = error.message;
  });
  return queue;
};

async function main() {
  views();
  const info = await call("GET", "/page/info");
  const session = info.sessions[0]?.id ?? "";
  phone.start(info.sessions);
  faults.start(session, info.hop);
  follow(() => "/control/stream", (n) => {
    faults.notice(n);
    if (!info.hop && (n.kind === "connected" || n.kind === "disconnected")) {
      state = n.kind;
      pill();
    }
    inOrder(() => (n.kind === "lost" ? phone.refresh() : phone.notice(n)));
  }, (up) => {
    heard = up;
    pill();
    if (!up) return;
    inOrder(phone.refresh);
    inOrder(faults.refresh);
  });
  if (!info.hop) {
    $("hop-note").textContent = "This is the simulator alone. What passes on NATS, and its traces, are shown by the playground: go run ./cmd/playground";
    const stats = await call("GET", "/control/stats");
    state = stats.sessions[session]?.connected ? "connected" : "disconnected";
    pill();
    return;
  }
  const prefix = await hop.start((messages) => {
    faults.stored(messages);
    const told = messages.findLast((m) => m.state);
    if (told) state = told.state;
    pill();
  }, (up) => {
    heard = up;
    pill();
  });
  publish.start(prefix);
}

main().catch((error) => {
  $("live").textContent = `the page does not work: ${error.message}`;
});
