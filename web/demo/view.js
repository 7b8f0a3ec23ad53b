// Words onto the page. Elements are touched only when what they say changes, so that a screen reader hears each thing once.

import { write } from "../ui/dom.js";
import { ACTIONS } from "./words.js";

const find = (selector) => document.querySelector(selector);

/** @param {ReturnType<import("./words.js").describe>} said @param {(action: string) => void} act */
export function show(said, act) {
  document.body.dataset.tone = said.tone;
  write(find("#status"), said.status);
  document.title = said.tone === "good" ? "Telepresence" : `${said.status} \u00b7 Telepresence`;
  notice(find("#camera-tile"), said.camera, act);
  notice(find("#avatar-tile"), said.avatar, act);
  const hint = find(".hint");
  write(hint, said.hint);
  hint.hidden = !said.hint;
  write(find(".hint-note"), said.hint);
}

/** Tell a tile whether there is a picture in it, and whether that picture is of now. */
export function showPicture(tile, { empty, stale }) {
  const picture = find(`${tile} .picture`);
  picture.classList.toggle("empty", empty);
  picture.classList.toggle("stale", !empty && stale);
}

/** Replace the buttons in `place` by those of `actions`, keeping them when they are the same (and the focus with them). */
export function showActions(place, actions, act) {
  if (place.dataset.actions === actions.join()) return;
  place.dataset.actions = actions.join();
  place.replaceChildren(...actions.map((action, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = ACTIONS[action];
    button.dataset.action = action;
    button.classList.toggle("first", index === 0);
    button.addEventListener("click", () => act(action));
    return button;
  }));
}

function notice(tile, words, act) {
  const place = tile.querySelector(".notice");
  tile.classList.toggle("speaking", Boolean(words?.title));
  place.hidden = !words;
  if (!words) return;
  const [title, text] = [place.querySelector("h2"), place.querySelector("p")];
  write(title, words.title);
  title.hidden = !words.title;
  write(text, words.text);
  showActions(place.querySelector(".actions"), words.actions ?? [], act);
}
