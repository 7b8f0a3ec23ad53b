// Prompts for the ear: read aloud where the browser can, and a soft tone when a step is done, for eyes that are shut.

const NOTES = { followed: [660, 880], finished: [660, 880, 1320], wrong: [330], anew: [330, 262], slow: [440] };
const NOTE_S = 0.11;
const LOUD = 0.09;

/** Speaks and sounds while `on`. */
export class Prompts {
  on = true;

  /** Whether the browser can read aloud at all. */
  static async canSpeak() {
    if (!("speechSynthesis" in window)) return false;
    if (speechSynthesis.getVoices().length) return true;
    await new Promise((resolve) => {
      speechSynthesis.addEventListener("voiceschanged", resolve, { once: true });
      setTimeout(resolve, 800);
    });
    return speechSynthesis.getVoices().length > 0;
  }

  /** Read something aloud, in place of what is being read. */
  say(text) {
    if (!this.on || !text || !("speechSynthesis" in window)) return;
    speechSynthesis.cancel();
    const spoken = new SpeechSynthesisUtterance(text);
    spoken.lang = "en";
    spoken.rate = 1.08;
    speechSynthesis.speak(spoken);
  }

  /** The tone of some news. */
  sound(news) {
    const notes = NOTES[news];
    if (!this.on || !notes) return;
    try {
      this.context ??= new AudioContext();
      const { context } = this;
      notes.forEach((frequency, nth) => {
        const at = context.currentTime + nth * NOTE_S;
        const tone = new OscillatorNode(context, { type: "sine", frequency });
        const loud = new GainNode(context, { gain: 0 });
        loud.gain.setValueAtTime(0, at);
        loud.gain.linearRampToValueAtTime(LOUD, at + 0.015);
        loud.gain.exponentialRampToValueAtTime(0.0005, at + NOTE_S * 1.6);
        tone.connect(loud).connect(context.destination);
        tone.start(at);
        tone.stop(at + NOTE_S * 1.7);
      });
    } catch {
      // No sound here: the screen says it all.
    }
  }

  /** Be quiet, and let go of the loudspeaker. */
  close() {
    if ("speechSynthesis" in window) speechSynthesis.cancel();
    this.context?.close();
    this.context = null;
  }
}
