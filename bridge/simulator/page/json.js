import { el } from "./dom.js";

// Tokens of JSON: string, number, word, punctuation.
const token = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/g;

// pretty lays a JSON text out, token by token, so that every number and escape
// stays as it came. What is no JSON comes back as it is.
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return [text];
  }
  const parts = [];
  let depth = 0;
  let previous = "";
  const tokens = text.match(token) ?? [];
  const line = () => parts.push("\n" + "  ".repeat(depth));
  tokens.forEach((t, i) => {
    const opens = t === "{" || t === "[";
    const closes = t === "}" || t === "]";
    if (closes) {
      depth--;
      if (previous !== "{" && previous !== "[") line();
    } else if (previous === "{" || previous === "[" || previous === ",") {
      line();
    }
    if (opens) depth++;
    if (t[0] === '"') parts.push(el("span", { class: tokens[i + 1] === ":" ? "key" : "string" }, t));
    else if (/^[\d-]/.test(t)) parts.push(el("span", { class: "number" }, t));
    else if (/^[tfn]/.test(t)) parts.push(el("span", { class: "word" }, t));
    else parts.push(t === ":" ? ": " : t);
    previous = t;
  });
  return parts;
}
