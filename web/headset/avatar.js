// One person: a plane at the depth of the head's centre, turned to where its picture was drawn for, that shows each eye
// its own half of the picture and lets through what the matte leaves out. From where it was drawn for it is seen as a
// plane; an eye that has moved since sees it in relief, so that the face turns with the eye and not with the next picture.

import { BufferAttribute, DoubleSide, Group, LinearFilter, Mesh, PlaneGeometry, ShaderMaterial, Texture, Vector3 } from "../vendor/three/build/three.module.js";
import { Sign } from "./sign.js";

export const LEFT = 1; // three's own layers: what only the left eye sees
export const RIGHT = 2;
const TAG_M = [0.42, 0.046];
const NAME_M = 0.022; // height of the letters
const LABEL_M = 0.018;
const BEFORE_M = 0.1; // of the plane: no shoulder is as near
const WAITING_M = -0.2; // of the tag from the head's centre, while there is no body

const LEAST_AWAY_M = 0.2; // of an eye from the plane: nearer than this, depth means nothing

// Every point goes towards the eye that the picture was drawn for, until it is as near as what it shows: that eye sees no
// difference, any other one the right parallax. With an eye that is far away from there, 15 to 30 degrees, the relief
// ends: it knows nothing of what the picture does not show.
const VERTEX = `
  attribute float near;
  uniform vec3 from;
  uniform float width;
  uniform float deep;
  varying vec2 at;
  void main() {
    at = uv;
    vec3 metres = vec3(width, width, 1.0);
    vec3 eye = (inverse(modelViewMatrix) * vec4(0.0, 0.0, 0.0, 1.0)).xyz;
    float same = smoothstep(0.866, 0.966, dot(normalize(eye * metres), normalize(from * metres)));
    vec3 place = position + (from - position) * min(near / from.z, 0.6) * same * deep;
    gl_Position = projectionMatrix * modelViewMatrix * vec4(place, 1.0);
  }`;

const WORDS = { connecting: "connecting", lost: "out of reach", refused: "no link" };

// The picture: colour above, matte below, left eye left. Half a pixel of either is kept clear of its neighbour.
// The colour is composed over the person's own background; the matte's faint rim, where that shows, is left out. Nobody
// is cut off by the picture's edge: a bust fades out below.
const FRAGMENT = `
  uniform sampler2D pictures;
  uniform float column;
  uniform float pixel;
  varying vec2 at;
  void main() {
    vec2 inside = clamp(at, pixel, 1.0 - pixel) * 0.5;
    vec3 colour = texture2D(pictures, inside + vec2(column, 0.5)).rgb;
    float matte = texture2D(pictures, inside + vec2(column, 0.0)).r;
    float rim = smoothstep(0.0, 0.08, min(at.x, 1.0 - at.x)) * smoothstep(0.0, 0.3, at.y);
    float alpha = smoothstep(0.4, 0.9, matte) * rim;
    if (alpha < 0.01) discard;
    gl_FragColor = vec4(colour, alpha);
  }`;

export class Avatar {
  #decoding = false;
  #waiting = null;
  #plane = new Group();
  #ready = false;
  #side = 0; // points of the relief, across

  constructor() {
    this.group = new Group();
    this.group.add(this.#plane);
    this.texture = new Texture();
    this.texture.generateMipmaps = false;
    this.texture.minFilter = this.texture.magFilter = LinearFilter;
    this.texture.flipY = false; // bitmaps are flipped as they are decoded
    this.eyes = [this.#eye(LEFT, 0), this.#eye(RIGHT, 0.5)];
    this.#plane.visible = false;
    this.tag = new Sign(...TAG_M);
    this.tag.mesh.position.z = BEFORE_M;
    this.group.add(this.tag.mesh);
    this.pictures = 0;
    this.newestUs = 0;
    this.flat = false; // for the figures: show no relief
  }

  /** Where it sits, how large it is, and who it is; `body` is null while there is no avatar. */
  place({ seat, body, name, state, label }) {
    this.group.position.set(...seat.position);
    this.group.rotation.y = seat.yaw;
    this.#ready = body !== null;
    if (body !== null) {
      for (const mesh of this.eyes) {
        mesh.scale.set(body.width, body.width, 1);
        mesh.material.uniforms.width.value = body.width;
        mesh.position.set(-body.head[0], -body.head[1], 0); // the head's centre is what the plane turns about
      }
    }
    this.#plane.visible = this.#ready && this.pictures > 0;
    const bottom = body === null ? WAITING_M : -body.head[1] - body.width / 2;
    this.tag.mesh.position.y = bottom + TAG_M[1];
    const about = state === "connected" ? (body === null ? "avatar on its way" : label) : WORDS[state] ?? state;
    this.tag.write([{ text: name || "Somebody", size: NAME_M, colour: "#ffffff", weight: 600 }, { text: about, size: LABEL_M, colour: "#b9c6ce" }]);
  }

  /** Decode a picture, off this thread, and show it; of those that come meanwhile only the newest. */
  async show(picture, onShown = () => {}) {
    if (picture.renderedUs < this.newestUs) return; // held back for longer than the one after it
    this.newestUs = picture.renderedUs;
    if (this.#decoding) {
      this.#waiting = [picture, onShown];
      return;
    }
    this.#decoding = true;
    try {
      const bitmap = await createImageBitmap(new Blob([picture.jpeg], { type: "image/jpeg" }), { imageOrientation: "flipY" });
      this.#set(bitmap, picture);
      onShown();
    } catch {
      // a damaged picture: the next one is 30 ms away
    }
    this.#decoding = false;
    if (this.#waiting !== null) {
      const next = this.#waiting;
      this.#waiting = null;
      this.show(...next);
    }
  }

  dispose() {
    this.texture.image?.close?.();
    this.texture.dispose();
    this.tag.dispose();
    for (const mesh of this.eyes) {
      mesh.geometry.dispose();
      mesh.material.dispose();
    }
  }

  #set(bitmap, picture) {
    if (this.texture.image && this.texture.image.width !== bitmap.width) this.texture.dispose(); // another size: anew
    this.texture.image?.close?.();
    this.texture.image = bitmap;
    this.texture.needsUpdate = true;
    for (const mesh of this.eyes) mesh.material.uniforms.pixel.value = 0.5 / picture.side;
    this.#plane.rotation.set(-picture.drawn[1], picture.drawn[0], 0, "YXZ"); // the direction it was drawn for
    this.#relieve(picture);
    this.drawn = picture.drawn;
    this.pictures += 1;
    this.#plane.visible = this.#ready;
  }

  /** The picture's relief, towards the eyes that it was drawn for. */
  #relieve({ relief, eyes }) {
    const known = Boolean(relief && eyes) && !this.flat;
    if (known && relief.side !== this.#side) this.#cut(relief.side);
    this.group.updateMatrixWorld(true);
    this.eyes.forEach((mesh, n) => {
      const { from, deep } = mesh.material.uniforms;
      if (known) mesh.worldToLocal(from.value.copy(eyes[n]));
      deep.value = known && from.value.z > LEAST_AWAY_M ? 1 : 0;
      if (!known) return;
      mesh.geometry.attributes.near.array.set(relief.near);
      mesh.geometry.attributes.near.needsUpdate = true;
    });
  }

  /** Planes of so many points across, and down. */
  #cut(side) {
    this.#side = side;
    for (const mesh of this.eyes) {
      mesh.geometry.dispose();
      mesh.geometry = grid(side);
    }
  }

  #eye(layer, column) {
    const uniforms = {
      pictures: { value: this.texture }, column: { value: column }, pixel: { value: 0 },
      from: { value: new Vector3(0, 0, 1) }, width: { value: 1 }, deep: { value: 0 },
    };
    const material = new ShaderMaterial({ uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, transparent: true, side: DoubleSide, depthWrite: false });
    const mesh = new Mesh(grid(2), material);
    mesh.layers.set(layer);
    this.#plane.add(mesh);
    return mesh;
  }
}

function grid(side) {
  const plane = new PlaneGeometry(1, 1, side - 1, side - 1);
  plane.setAttribute("near", new BufferAttribute(new Float32Array(side * side), 1));
  return plane;
}
