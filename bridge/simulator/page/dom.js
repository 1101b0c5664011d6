// Small helpers. Text only ever becomes text nodes: nothing here, or anywhere
// on the page, makes markup out of what people wrote.

export const $ = (id) => document.getElementById(id);

// el makes an element. Properties that begin with "on" are listeners, "class"
// is the class, everything else an attribute; children are nodes or text.
export function el(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name === "class") e.className = value;
    else e.setAttribute(name, value === true ? "" : String(value));
  }
  e.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

// call speaks JSON to the server and throws what it complains of.
export async function call(method, path, body, type = "application/json") {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": type };
    options.body = type === "application/json" ? JSON.stringify(body) : body;
  }
  const response = await fetch(path, options);
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: text.trim() || response.statusText };
  }
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
}

// follow listens to server-sent events for as long as the page can be seen: a
// browser opens six connections to a server, and a hidden page needs none.
export function follow(url, heard, changed) {
  let source, retry;
  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  };
  const open = () => {
    close();
    if (document.hidden) return;
    source = new EventSource(url());
    source.onopen = () => changed(true);
    source.onmessage = (e) => heard(JSON.parse(e.data));
    source.onerror = () => {
      close();
      changed(false);
      retry = setTimeout(open, 1000);
    };
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

const two = (n) => String(n).padStart(2, "0");

export const clock = (at) => {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}`;
};

export const exactClock = (at) => {
  const d = new Date(at);
  return `${clock(at)}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
};

// span of time in words: 12 µs, 3.4 ms, 1.25 s.
export function duration(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(2)} s`;
  return `${Math.round(ms / 60000)} min`;
}

// instant reads a time with all its digits, in milliseconds.
export function instant(text) {
  const fraction = /\.(\d+)/.exec(text);
  const whole = Date.parse(text.replace(/\.\d+/, ""));
  return whole + (fraction ? Number(`0.${fraction[1]}`) * 1000 : 0);
}

export const atEnd = (e) => e.scrollHeight - e.scrollTop - e.clientHeight < 48;
