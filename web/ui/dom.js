// The few things that pages do to elements.

/** Leave the last picture standing: a video whose connection closes turns black. */
export function freeze(video) {
  if (!video.videoWidth || !video.srcObject) return;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  video.srcObject = null;
  canvas.convertToBlob().then((blob) => {
    if (video.poster) URL.revokeObjectURL(video.poster);
    video.poster = URL.createObjectURL(blob);
  });
}

/** Set an element's text if it differs, so that a screen reader hears each thing once. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** An element of the page. */
export const find = (selector) => document.querySelector(selector);

/** A new element. */
export function make(tag, properties = {}, ...children) {
  const { className, dataset, ...rest } = properties;
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(rest)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A picture of the set in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const SVG = "http://www.w3.org/2000/svg";

/** Give a button its picture and its name; what it said stays if it is the same. */
export function dress(button, name, label, pressed = null) {
  if (button.dataset.icon !== name) {
    button.dataset.icon = name;
    button.replaceChildren(icon(name));
  }
  const key = button.getAttribute("aria-keyshortcuts");
  button.setAttribute("aria-label", label);
  button.title = key ? `${label} (${key.toUpperCase()})` : label;
  if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
}

/** Replace the buttons in `place` by those of `actions`, keeping them when they are the same (and the focus with them). */
export function showActions(place, actions, labels, act) {
  if (place.dataset.actions === actions.join()) return;
  place.dataset.actions = actions.join();
  place.replaceChildren(...actions.map((action, index) => {
    const button = make("button", { type: "button", className: index ? "" : "first", dataset: { action } }, labels[action]);
    button.addEventListener("click", () => act(action));
    return button;
  }));
}
