// What the dialog of enrolment is made of: elements, and nothing that they do.

import { make } from "../ui/dom.js";
import { STEPS, TEXT } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** A button. */
export function button(label, act, className = "", dataset = {}) {
  const made = make("button", { type: "button", className, dataset }, label);
  made.addEventListener("click", act);
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The oval to put one's face into, which fills as a step comes along, and arrows to the sides. */
function oval() {
  const around = { d: "M200 30a88 116 0 0 1 0 232a88 116 0 0 1 0-232", pathLength: 1 }; // from the top, clockwise
  const arrow = (name, d) => svg("path", { class: `arrow ${name}`, d });
  return svg("svg", { class: "oval", viewBox: "0 0 400 300", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("path", { ...around, class: "around" }), svg("path", { ...around, class: "filled-part" }),
    arrow("left", "M80 122 54 146l26 24"), arrow("right", "m320 122 26 24-26 24"), arrow("up", "m176 18 24-15 24 15"));
}

/** The dialog's elements by name; `dialog` holds them. */
export function parts() {
  const video = make("video", { className: "mirrored", playsinline: "", autoplay: "", disablepictureinpicture: "", "aria-label": "Your camera, mirrored", dataset: { testid: "enrol-camera" } });
  video.muted = true;
  const canvas = make("canvas", { width: "256", height: "256", role: "img", "aria-label": "Your avatar", dataset: { testid: "enrol-avatar" } });
  const label = make("span", { className: "label" }, "avatar");
  const p = {
    label,
    title: make("h2", { id: "enrol-title", tabindex: "-1" }, TEXT.title),
    close: make("button", { type: "button", className: "icon quiet", "aria-label": "Close" }, svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: "M6 6l12 12M18 6 6 18" }))),
    link: make("p", { className: "enrol-gone", role: "status", hidden: "" }),
    ask: make("h3", { dataset: { testid: "enrol-prompt" } }),
    how: make("p", { className: "how" }),
    news: make("p", { className: "news", role: "status", dataset: { testid: "enrol-news" } }),
    video,
    canvas,
    hint: make("p", { className: "hint", role: "status", dataset: { testid: "enrol-hint" }, hidden: "" }),
    noCamera: make("div", { className: "no-camera", role: "group", "aria-label": "Camera", hidden: "" }),
    words: make("div", { className: "enrol-words" }),
    steps: make("ol", { className: "steps", "aria-label": "Steps" }),
    actions: make("div", { className: "enrol-actions" }),
  };
  p.prompt = make("div", { className: "prompt", "aria-live": "polite" }, p.ask, p.how);
  p.own = make("figure", { className: "shot own" }, make("div", { className: "frame" }, video, oval(), p.noCamera, p.hint),
    make("figcaption", {}, "Your camera, mirrored. Only you see this."));
  p.avatar = make("figure", { className: "shot made" }, make("div", { className: "frame" }, canvas, label),
    make("figcaption", {}, "Your avatar, as the others see it."));
  p.body = make("div", { className: "enrol-body" }, p.link,
    make("div", { className: "scene" }, p.prompt, make("div", { className: "shots" }, p.own, p.avatar), p.news, p.steps), make("div", { className: "aside" }, p.words, p.actions));
  p.dialog = make("dialog", { className: "enrol", "aria-labelledby": "enrol-title", dataset: { testid: "enrol", view: "intro" } },
    make("header", {}, p.title, p.close), p.body);
  return p;
}

/** Paragraphs, lists and headings of a side column. */
export function words(...given) {
  return given.filter(Boolean).map((one) => {
    if (one instanceof Node) return one;
    if (Array.isArray(one)) return make("ul", {}, ...one.map((text) => make("li", {}, text)));
    return make("p", {}, one);
  });
}

/** A step in the row below the picture: only those that are over, and the one at hand, are told. */
export function stepDots(guide) {
  return guide.steps.map(({ step, done, followed }) => {
    const now = step === guide.step;
    const dot = make("li", { className: done ? (followed ? "done" : "skipped") : now ? "now" : "" }, make("span", {}, done || now ? STEPS[step].short : ""));
    if (now) dot.setAttribute("aria-current", "step");
    return dot;
  });
}
