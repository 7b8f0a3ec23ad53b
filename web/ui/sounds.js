// The others' voices: an element for each, and what to do when the browser plays nothing until it is asked to.

import { find, make } from "./dom.js";

/** Plays everybody's sound. */
export class Sounds {
  /** @param {(refused: boolean) => void} onRefused  told whether the browser holds the sound back */
  constructor(onRefused) {
    this.onRefused = onRefused;
    this.elements = new Map();
    this.speaker = "";
  }

  /** @param {Iterable<import("../call/call.js").Participant>} participants */
  show(participants) {
    const sounds = new Map([...participants].filter((one) => one.sound).map((one) => [one.id, one.sound]));
    for (const [id, element] of this.elements) {
      if (sounds.has(id)) continue;
      element.srcObject = null;
      element.remove();
      this.elements.delete(id);
    }
    for (const [id, sound] of sounds) {
      const element = this.elements.get(id) ?? this.#add(id);
      if (element.srcObject === sound) continue;
      element.srcObject = sound;
      this.#play(element);
    }
  }

  /** Through which loudspeaker. */
  choose(speaker) {
    if (speaker === this.speaker) return;
    this.speaker = speaker;
    for (const element of this.elements.values()) this.#route(element);
  }

  /** Try again; from a click it works. */
  play() {
    this.onRefused(false);
    for (const element of this.elements.values()) this.#play(element);
  }

  #add(id) {
    const element = make("audio", { dataset: { id } });
    this.elements.set(id, element);
    this.#route(element);
    find("#sounds").append(element);
    return element;
  }

  #route(element) {
    if (this.speaker || element.sinkId) element.setSinkId?.(this.speaker).catch((error) => console.info(`loudspeaker: ${error.message}`));
  }

  async #play(element) {
    try {
      await element.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.onRefused(true);
    }
  }
}
