import { $, call, el } from "./dom.js";
import { current, lastFromUser } from "./phone.js";

const answered = () => lastFromUser() ?? "wamid.of-a-message-of-the-user";

// One example of each kind of command, short forms where they are allowed.
const examples = {
  text: () => ({ text: "Your parcel is here" }),
  image: () => ({ image: { link: `${location.origin}/page/sample.png`, caption: "Your parcel" } }),
  document: () => ({ document: { link: `${location.origin}/page/sample.png`, filename: "label.png" } }),
  audio: () => ({ audio: { link: "https://example.com/voice.ogg" } }),
  video: () => ({ video: { link: "https://example.com/unboxing.mp4", caption: "How to open it" } }),
  sticker: () => ({ sticker: { link: `${location.origin}/page/sample.png` } }),
  location: () => ({ location: { latitude: 52.52, longitude: 13.405, name: "Depot 7", address: "Berlin" } }),
  contacts: () => ({ contacts: [{ name: { formatted_name: "Jo Driver", first_name: "Jo" }, phones: [{ phone: "+15550142299" }] }] }),
  buttons: () => ({ interactive: { type: "button", body: { text: "May we deliver today?" }, footer: { text: "Depot 7" }, action: { buttons: [
    { type: "reply", reply: { id: "yes", title: "Yes, please" } }, { type: "reply", reply: { id: "no", title: "Tomorrow" } }] } } }),
  list: () => ({ interactive: { type: "list", body: { text: "When are you in?" }, action: { button: "Choose a time", sections: [
    { title: "Today", rows: [{ id: "am", title: "Morning", description: "8 to 12" }, { id: "pm", title: "Afternoon", description: "12 to 18" }] }] } } }),
  link: () => ({ interactive: { type: "cta_url", body: { text: "Follow your parcel" }, action: { name: "cta_url", parameters: { display_text: "Track it", url: "https://example.com/t/1" } } } }),
  template: () => ({ template: { name: "parcel_offer", language: { code: "en" }, components: [{ type: "body", parameters: [{ type: "text", text: "Marta" }] }] } }),
  reply: () => ({ context: { message_id: answered() }, text: "Thank you for asking" }),
  reaction: () => ({ reaction: { message_id: answered(), emoji: "🎉" } }),
  "mark as read": () => ({ status: "read", message_id: answered() }),
  typing: () => ({ status: "read", message_id: answered(), typing_indicator: { type: "text" } }),
  "a mistake": () => ({ text: { body: "" } }),
};

let filled = ""; // what fill wrote: a body that was edited is left alone

function fill() {
  const body = examples[$("example").value]();
  const to = body.status ? {} : { to: /^\d+$/.test(current()) ? `+${current()}` : current() ?? "+15550142233" };
  filled = JSON.stringify({ ...to, ...body }, null, 1).replace(/\n\s*/g, " ");
  $("body").value = filled;
}

const refill = () => $("body").value === filled && fill();

// start makes the form work. The session is the one on the phone.
export function start(prefix) {
  const session = $("session");
  const name = () => { $("publish-subject").textContent = `${prefix}.send.${session.value}`; };
  session.addEventListener("change", name);
  name();
  $("example").append(...Object.keys(examples).map((k) => el("option", { value: k }, k)));
  $("example").addEventListener("change", fill);
  // The examples speak of the phone and the messages on the screen.
  addEventListener("phone", refill);
  fill();
  const publish = async () => {
    const say = (text, bad) => {
      $("published").textContent = text;
      $("published").classList.toggle("fail", Boolean(bad));
    };
    try {
      const a = await call("POST", "/hop/publish", { session: session.value, id: $("msg-id").value, body: $("body").value });
      say(a.duplicate ? `known already: it is sequence ${a.sequence} of ${a.stream}, and is not stored again` : `stored in ${a.stream} as sequence ${a.sequence}`);
    } catch (error) {
      say(error.message, true);
    }
  };
  $("publish").addEventListener("submit", (e) => {
    e.preventDefault();
    publish();
  });
  $("body").addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey)) return;
    e.preventDefault();
    publish();
  });
  $("publisher").open = innerWidth > 820;
  $("publisher").hidden = false;
}
