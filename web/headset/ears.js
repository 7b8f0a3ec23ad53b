// The others' voices, each from the mouth of its avatar: a panner with a head's transfer function (HRTF) for each, and a
// listener that turns and moves with the viewer's head. Metres, in the frame of the room (docs/headset.md).

const FROM_M = 1.3; // where a voice is as loud as it came: the seat opposite; twice as far it is half
const FORWARD_M = 0.09; // the mouth, from the head's centre
const DOWN_M = 0.07;

export class Ears {
  #voices = new Map(); // id -> { panner, source, element }
  #mouths = new Map(); // id -> [x, y, z]

  /** @param {BaseAudioContext} context */
  constructor(context) {
    this.context = context;
    this.out = new GainNode(context);
    this.out.connect(context.destination);
  }

  /** Somebody's head is here, and faces so (radians about y, 0 towards +z). */
  seat(id, [x, y, z], yaw) {
    const mouth = [x + FORWARD_M * Math.sin(yaw), y - DOWN_M, z + FORWARD_M * Math.cos(yaw)];
    this.#mouths.set(id, mouth);
    const voice = this.#voices.get(id);
    if (voice) put(voice.panner, mouth);
  }

  /** Hear somebody, or with null no longer. @param {MediaStream|AudioNode|null} sound */
  hear(id, sound) {
    this.#silence(id);
    if (!sound) return;
    const panner = new PannerNode(this.context, { panningModel: "HRTF", distanceModel: "inverse", refDistance: FROM_M, rolloffFactor: 1 });
    put(panner, this.#mouths.get(id) ?? [0, 0, -FROM_M]);
    const [source, element] = sound instanceof AudioNode ? [sound, null] : this.#ofStream(sound);
    source.connect(panner).connect(this.out);
    this.#voices.set(id, { panner, source, element });
  }

  /** The viewer's head: position and quaternion as arrays. */
  head(position, [x, y, z, w]) {
    const { listener } = this.context;
    const forward = [-2 * (x * z + w * y), -2 * (y * z - w * x), 2 * (x * x + y * y) - 1];
    const up = [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)];
    if (listener.positionX === undefined) { // Firefox
      listener.setPosition(...position);
      listener.setOrientation(...forward, ...up);
      return;
    }
    put(listener, position);
    put(listener, forward, "forward");
    put(listener, up, "up");
  }

  /** Everybody who is not here any more. @param {Iterable<string>} ids  who is */
  keep(ids) {
    const here = new Set(ids);
    for (const id of [...this.#voices.keys()]) if (!here.has(id)) this.#silence(id);
    for (const id of [...this.#mouths.keys()]) if (!here.has(id)) this.#mouths.delete(id);
  }

  #ofStream(stream) {
    const element = new Audio(); // Chromium lets a connection's sound into the graph only while an element plays it, too
    element.muted = true;
    element.srcObject = stream;
    element.play().catch(() => {});
    return [this.context.createMediaStreamSource(stream), element];
  }

  #silence(id) {
    const voice = this.#voices.get(id);
    if (!voice) return;
    voice.source.disconnect(voice.panner);
    voice.panner.disconnect();
    if (voice.element) voice.element.srcObject = null;
    this.#voices.delete(id);
  }
}

function put(node, values, name = "position") {
  ["X", "Y", "Z"].forEach((axis, n) => { node[name + axis].value = values[n]; });
}
