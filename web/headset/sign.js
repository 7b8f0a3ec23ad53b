// Words in the room: a small plane with text that is drawn on a canvas.

import { CanvasTexture, LinearFilter, Mesh, MeshBasicMaterial, PlaneGeometry, SRGBColorSpace } from "../vendor/three/build/three.module.js";

const PIXELS_PER_M = 1600; // a headset shows 20 to 25 pixels a degree: at 1.3 m 900 to 1100 a metre
const FONT = "system-ui, sans-serif";

/** @typedef {{text: string, size: number, colour: string, weight?: number}} Run  size: metres */

export class Sign {
  #said = "";

  /** @param {number} width @param {number} height  metres */
  constructor(width, height) {
    this.canvas = document.createElement("canvas");
    this.canvas.width = Math.round(width * PIXELS_PER_M);
    this.canvas.height = Math.round(height * PIXELS_PER_M);
    this.texture = new CanvasTexture(this.canvas);
    this.texture.colorSpace = SRGBColorSpace;
    this.texture.generateMipmaps = false;
    this.texture.minFilter = LinearFilter;
    const material = new MeshBasicMaterial({ map: this.texture, transparent: true, depthWrite: false, toneMapped: false });
    this.mesh = new Mesh(new PlaneGeometry(width, height), material);
    this.mesh.renderOrder = 1; // over people, whom it is in front of
    this.mesh.visible = false;
  }

  /** Runs of text in a row, in the middle of a rounded field; without any it is not there. @param {Run[]} runs */
  write(runs, field = "#14181cd0") {
    const said = JSON.stringify([runs, field]);
    if (said === this.#said) return;
    this.#said = said;
    this.mesh.visible = runs.length > 0;
    if (!runs.length) return;
    const { canvas } = this;
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.textBaseline = "middle";
    const gap = 0.35 * runs[0].size * PIXELS_PER_M, beside = 0.25 * canvas.height;
    const room = canvas.width - 2 * beside;
    const wide = (run) => {
      brush.font = `${run.weight ?? 400} ${run.size * PIXELS_PER_M}px ${FONT}`;
      return brush.measureText(run.text).width;
    };
    const fixed = runs.slice(1).reduce((sum, run) => sum + gap + wide(run), 0);
    const first = { ...runs[0], text: shortened(runs[0].text, room - fixed, (text) => wide({ ...runs[0], text })) };
    const all = [first, ...runs.slice(1)];
    const total = Math.min(room, wide(first) + fixed);
    let at = (canvas.width - total) / 2;
    brush.fillStyle = field;
    brush.beginPath();
    brush.roundRect(at - beside, 0, total + 2 * beside, canvas.height, canvas.height / 2);
    brush.fill();
    for (const run of all) {
      const width = wide(run);
      brush.fillStyle = run.colour;
      brush.fillText(run.text, at, 0.53 * canvas.height);
      at += width + gap;
    }
    this.texture.needsUpdate = true;
  }

  dispose() {
    this.texture.dispose();
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
  }
}

/** As much of a text as fits. */
function shortened(text, room, wide) {
  if (wide(text) <= room) return text;
  const letters = [...text];
  while (letters.length > 1 && wide(`${letters.join("")}\u2026`) > room) letters.pop();
  return `${letters.join("")}\u2026`;
}
