import { el } from "./dom.js";

// link is a URL that a message names, if it is one to open.
function webLink(text) {
  try {
    const u = new URL(text);
    return u.protocol === "http:" || u.protocol === "https:" ? u : undefined;
  } catch {
    return undefined;
  }
}

// source is where a media object can be shown from: a file of this WhatsApp, or
// a link to this very server. Others are not fetched.
function source(media) {
  if (media?.id) return `/page/media/${encodeURIComponent(media.id)}`;
  const u = webLink(media?.link);
  return u?.origin === location.origin ? u.pathname + u.search : undefined;
}

function placeholder(sign, name, media) {
  const u = webLink(media?.link);
  const known = source(media);
  return el("div", { class: "file" },
    el("span", { class: "sign", "aria-hidden": "true" }, sign),
    el("span", { class: "name" }, name, u && !known && el("small", {}, u.host)),
    (known || u) && el("a", { href: known ?? u.href, target: "_blank", rel: "noopener noreferrer", "aria-label": `Open ${name}` }, "Open"));
}

function image(media, what) {
  const src = source(media);
  if (!src) return placeholder("🖼", what, media);
  const img = el("img", { src, alt: media.caption || what, class: what === "Sticker" ? "sticker" : "photo" });
  img.addEventListener("error", () => img.replaceWith(placeholder("🖼", `${what} ${media.id ?? ""}`, undefined)));
  return img;
}

function player(tag, media, sign, name) {
  const src = source(media);
  if (!src || !media.id) return placeholder(sign, name, media);
  return el("div", { class: "player" }, placeholder(sign, name, media), el(tag, { src, controls: true, preload: "none" }));
}

const caption = (media) => media?.caption && el("p", { class: "text" }, media.caption);

function mediaContent(kind, m) {
  switch (kind) {
    case "image": return [image(m, "Photo"), caption(m)];
    case "sticker": return [image(m, "Sticker")];
    case "video": return [player("video", m, "🎬", "Video"), caption(m)];
    case "audio": return [player("audio", m, "🎤", "Audio")];
    default: return [placeholder("📄", m?.filename || "Document", m), caption(m)];
  }
}

function place(l) {
  return [el("div", { class: "map", "aria-hidden": "true" }, el("span", {}, "📍")),
    el("p", { class: "text" }, l.name && el("b", {}, l.name), l.address && ` ${l.address}`,
      el("small", {}, `${l.latitude}, ${l.longitude}`))];
}

function cards(contacts) {
  return contacts.map((c) => el("div", { class: "file" },
    el("span", { class: "sign", "aria-hidden": "true" }, "👤"),
    el("span", { class: "name" }, c.name?.formatted_name ?? "Contact",
      el("small", {}, (c.phones ?? []).map((p) => p.phone).join(", ")))));
}

function template(t) {
  const values = (t.components ?? []).flatMap((c) => (c.parameters ?? [])
    .filter((p) => p.type !== "payload")
    .map((p) => el("li", {}, `${c.type}: `, el("b", {}, p.text ?? p[p.type]?.fallback_value ?? p.type))));
  return [el("p", { class: "text" }, el("b", {}, t.name), el("small", {}, `template, ${t.language?.code ?? ""}`)),
    values.length > 0 && el("ul", { class: "values" }, values)];
}

// buttonsOf lists what can be tapped: label, and what that writes.
function buttonsOf(body) {
  if (body.type === "template" || body.template) {
    return (body.template.components ?? [])
      .filter((c) => /^button$/i.test(c.type) && /^quick_reply$/i.test(c.sub_type))
      .map((c) => {
        const payload = c.parameters?.[0]?.payload ?? "";
        return { label: payload || `Button ${c.index}`, write: { type: "button", button: { payload, text: payload } } };
      });
  }
  const { type, action } = body.interactive ?? {};
  switch (type) {
    case "button":
      return (action?.buttons ?? []).map((b) => ({ label: b.reply?.title, write: { button_reply: b.reply?.id } }));
    case "location_request_message":
      return [{ label: "Send location", write: { type: "location", location: { latitude: 52.52, longitude: 13.405, name: "Berlin" } } }];
  }
  return [];
}

function rows(action, tap) {
  return el("details", { class: "list" }, el("summary", {}, action.button || "Choose"),
    (action.sections ?? []).map((s) => el("div", { role: "group", "aria-label": s.title || "Choices" },
      s.title && el("p", { class: "section" }, s.title),
      (s.rows ?? []).map((r) => el("button", {
        type: "button",
        onclick: (e) => { e.currentTarget.closest("details").open = false; tap({ list_reply: r.id }); },
      }, r.title, r.description && el("small", {}, r.description))))));
}

function interactive(i, fromUser) {
  if (fromUser) {
    const reply = i.button_reply ?? i.list_reply;
    return [el("p", { class: "text" }, reply?.title ?? i.nfm_reply?.body ?? i.type, reply?.description && el("small", {}, reply.description))];
  }
  const h = i.header;
  const parameters = i.action?.parameters ?? {};
  const url = webLink(parameters.url);
  const label = parameters.display_text ?? parameters.flow_cta;
  return [
    h?.type === "text" && el("p", { class: "text" }, el("b", {}, h.text)),
    h && h.type !== "text" && mediaContent(h.type, h[h.type]),
    i.body && el("p", { class: "text" }, i.body.text),
    i.footer && el("p", { class: "footer" }, i.footer.text),
    url && el("a", { class: "cta", href: url.href, target: "_blank", rel: "noopener noreferrer" }, label ?? url.host),
    !url && label && el("span", { class: "cta" }, label),
    !["button", "list", "cta_url", "location_request_message"].includes(i.type) && el("p", { class: "footer" }, `interactive: ${i.type}`),
  ].flat();
}

// content is what a message shows. tap is called with what a tap writes.
export function content(m, tap) {
  const body = m.body ?? {};
  const inner = body[m.type];
  const nodes = (() => {
    switch (m.type) {
      case "text": return [el("p", { class: "text" }, body.text?.body ?? body.text ?? "")];
      case "image": case "sticker": case "video": case "audio": case "document": return mediaContent(m.type, inner);
      case "location": return place(inner ?? {});
      case "contacts": return cards(inner ?? []);
      case "template": return template(inner ?? {});
      case "interactive": return interactive(inner ?? {}, m.from_user);
      case "button": return [el("p", { class: "text" }, inner?.text ?? "")];
      default: return [el("p", { class: "footer" }, `a message of type ${m.type}`)];
    }
  })();
  if (!m.from_user) {
    if (inner?.type === "list") nodes.push(rows(inner.action ?? {}, tap));
    const buttons = buttonsOf({ type: m.type, ...body });
    if (buttons.length) {
      nodes.push(el("div", { class: "taps" }, buttons.map((b) => el("button", { type: "button", onclick: () => tap(b.write) }, b.label ?? "?"))));
    }
  }
  return nodes.flat(2).filter(Boolean);
}

// preview is a message in a few words.
export function preview(m) {
  const body = m.body ?? {};
  const inner = body[m.type];
  switch (m.type) {
    case "text": return body.text?.body ?? String(body.text ?? "");
    case "image": return `🖼 ${inner?.caption ?? "Photo"}`;
    case "video": return `🎬 ${inner?.caption ?? "Video"}`;
    case "audio": return "🎤 Audio";
    case "sticker": return "Sticker";
    case "document": return `📄 ${inner?.filename ?? "Document"}`;
    case "location": return `📍 ${inner?.name ?? "Location"}`;
    case "contacts": return `👤 ${inner?.[0]?.name?.formatted_name ?? "Contact"}`;
    case "template": return inner?.name ?? "Template";
    case "interactive": return inner?.body?.text ?? (inner?.button_reply ?? inner?.list_reply)?.title ?? inner?.type ?? "";
    case "reaction": return inner?.emoji ? `Reacted ${inner.emoji}` : "Took a reaction back";
    case "button": return inner?.text ?? "";
  }
  return m.type;
}
