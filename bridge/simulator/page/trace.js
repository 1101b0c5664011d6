import { duration, el, instant } from "./dom.js";

// scale maps times to 0…1. Where nothing happens for long, as between delivered
// and read, the axis is folded.
function scale(points) {
  const busy = [];
  for (const [from, to] of points.toSorted((a, b) => a[0] - b[0])) {
    const last = busy.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else busy.push([from, to]);
  }
  const worked = busy.reduce((sum, [from, to]) => sum + to - from, 0);
  const fold = Math.max(worked * 0.6, 0.2);
  const pieces = [];
  const gaps = [];
  let x = 0;
  busy.forEach(([from, to], i) => {
    if (i > 0) {
      const gap = from - busy[i - 1][1];
      const width = Math.min(gap, fold);
      if (gap > fold * 1.5) gaps.push({ x, width, gap });
      pieces.push({ from: busy[i - 1][1], to: from, x, width });
      x += width;
    }
    pieces.push({ from, to, x, width: to - from });
    x += to - from;
  });
  const total = x || 1;
  const at = (t) => {
    const p = pieces.find((piece) => t <= piece.to) ?? pieces.at(-1);
    return Math.min(1, (p.x + (p.to > p.from ? (t - p.from) / (p.to - p.from) : 0) * p.width) / total);
  };
  return { at, gaps: gaps.map((g) => ({ at: g.x / total, width: g.width / total, gap: g.gap })) };
}

// order puts each span below its parent, and gives its depth.
function order(spans) {
  const ids = new Set(spans.map((s) => s.id));
  const list = [];
  const add = (parent, depth) => spans
    .filter((s) => (parent ? s.parent === parent : !ids.has(s.parent)))
    .forEach((s) => {
      list.push({ ...s, depth });
      if (depth < 20) add(s.id, depth + 1);
    });
  add("", 0);
  return list;
}

const place = (e, from, to) => {
  e.style.left = `${(from * 100).toFixed(3)}%`;
  e.style.width = `${(Math.max(0, to - from) * 100).toFixed(3)}%`;
  return e;
};

// title is what a span is called: its operation and its real destination.
const title = (s) => (s.values["messaging.destination.name"]
  ? `${s.name.split(" ")[0]} ${s.values["messaging.destination.name"]}` : s.name);

function row(label, note, depth, line, open) {
  const values = open && el("dl", { class: "values", hidden: true }, Object.entries(open).map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]).flat());
  const head = el(open ? "button" : "div", { class: "step", type: open && "button", "aria-expanded": open && "false" },
    el("span", { class: "label" }, label, note && el("b", {}, ` ${note}`)), el("span", { class: "line" }, line.bar), el("span", { class: "took" }, line.took));
  head.firstElementChild.style.paddingInlineStart = `${Math.min(depth, 4) * 12}px`;
  if (open) {
    head.addEventListener("click", () => {
      values.hidden = !values.hidden;
      head.setAttribute("aria-expanded", String(!values.hidden));
    });
  }
  return [head, values];
}

// waterfall draws a trace: its spans, and the stored messages that are no span's.
export function waterfall({ spans, messages }) {
  if (spans.length === 0) return el("p", { class: "hint" }, "No span of this trace has ended yet.");
  const all = order(spans.map((s) => ({ ...s, from: instant(s.begin), to: instant(s.end) })));
  const known = new Map(messages.filter((m) => m.span).map((m) => [m.span, m]));
  const ids = new Set(all.map((s) => s.id));
  const alone = messages.filter((m) => m.kind === "send" && !ids.has(m.span)).map((m) => ({ ...m, time: instant(m.at) }));
  const { at, gaps } = scale([...all.map((s) => [s.from, s.to]), ...alone.map((m) => [m.time, m.time])]);
  const first = Math.min(...all.map((s) => s.from), ...alone.map((m) => m.time));
  const last = Math.max(...all.map((s) => s.to));
  const words = messages.filter((m) => m.kind === "status").map((m) => m.type.replace("status.", ""));
  const end = ["played", "read", "failed", "delivered", "sent", "accepted", "rejected", "expired", "unknown"].find((w) => words.includes(w));

  const steps = all.map((s) => {
    const bar = place(el("i", { class: `beam ${s.service === "publisher" ? "publisher" : s.kind}${s.error ? " error" : ""}` }), at(s.from), at(s.to));
    const stored = known.get(s.id);
    const note = s.service === "publisher" ? "the page publishes" : stored && stored.kind !== "send" && stored.type.replace(/^(status|message|event)\./, "");
    return { from: s.from, nodes: row(title(s), note, s.depth, { bar, took: duration(s.to - s.from) },
      { service: s.service, kind: s.kind, "after the beginning": duration(s.from - first), ...(s.error ? { error: s.text || "yes" } : {}), ...s.values }) };
  });
  for (const m of alone) {
    const bar = place(el("i", { class: "beam dot" }), at(m.time), at(m.time));
    steps.push({ from: m.time, nodes: row(`stored ${m.subject}`, "", 0, { bar, took: "" }) });
  }
  if (alone.length) steps.sort((a, b) => a.from - b.from);
  const folds = el("div", { class: "folds", "aria-hidden": "true" }, gaps.map((g) => place(el("i", {}, el("span", {}, duration(g.gap))), g.at, g.at + g.width)));
  return el("div", { class: "waterfall" },
    el("p", { class: "sum" }, el("b", {}, duration(last - first)), end ? ` from publish to ${end}` : " in all", `, ${spans.length} spans`),
    el("div", { class: "steps" }, el("div", { class: "axis" }, el("span"), folds, el("span")), steps.map((s) => s.nodes).flat().filter(Boolean)));
}
