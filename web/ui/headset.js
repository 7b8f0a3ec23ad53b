// The way into a headset: link, code and fingerprint of the certificate, as the edge gives them.

import { find, write } from "./dom.js";

const WAIT_MS = 5000;

/** @param {string} where  of the edge's page about it (docs/headset.md) */
export async function showHeadset(where) {
  const dialog = find("#headset");
  const [image, link, fingerprint] = ["img", "a", "code"].map((name) => dialog.querySelector(name));
  dialog.showModal();
  try {
    const response = await fetch(`${where}.json`, { cache: "no-store", signal: AbortSignal.timeout(WAIT_MS) });
    if (!response.ok) throw new Error(`the program answered ${response.status}`);
    const words = await response.json();
    image.src = `${where}.svg`;
    link.href = words.link;
    write(link, words.link);
    write(fingerprint, words.fingerprint);
  } catch (error) {
    link.removeAttribute("href");
    write(link, `The program on this machine does not answer (${error.message}).`);
  }
}
