// What there is to press inside the headset, where the page's buttons cannot be seen: a board before the viewer, on the
// table in VR, that says how the microphone and the connection are. A controller's ray, or a look and a pinch, presses it.

import { BufferGeometry, Group, Line, LineBasicMaterial, Raycaster, Vector3 } from "../vendor/three/build/three.module.js";
import { Sign } from "./sign.js";

const WIDTH_M = 0.34, HEIGHT_M = 0.052;
const PLACE = [0, 0.79, -0.5]; // for a head at 1.2 m
const LEAN = -0.9; // radians, towards the viewer
const LETTERS_M = 0.021;
const RAY_M = 0.7;
const CONTROLLERS = 2;

const LOOKS = {
  on: { runs: [run("Microphone on", "#ffffff")], field: "#1f6f43e6" },
  muted: { runs: [run("Microphone off", "#ffffff")], field: "#7a2a2ae6" },
  none: { runs: [run("No microphone: you only hear", "#e8edf0")], field: "#14181cd0" },
};

export class Board {
  #ray = new Raycaster();
  #pointed = false;
  #look = "";

  /** @param {import("../vendor/three/build/three.module.js").WebGLRenderer} renderer @param {() => void} onPress */
  constructor(scene, renderer, onPress) {
    this.group = new Group();
    this.sign = new Sign(WIDTH_M, HEIGHT_M);
    this.sign.mesh.rotation.x = LEAN;
    this.group.add(this.sign.mesh);
    this.group.visible = false;
    this.raise(0);
    scene.add(this.group);
    this.controllers = Array.from({ length: CONTROLLERS }, (_, n) => renderer.xr.getController(n));
    for (const controller of this.controllers) {
      const line = ray();
      controller.add(line);
      controller.addEventListener("connected", ({ data }) => { controller.userData.points = data.targetRayMode === "tracked-pointer"; });
      controller.addEventListener("disconnected", () => { controller.userData.points = false; });
      controller.addEventListener("select", () => this.group.visible && this.#hits(controller) && onPress());
      scene.add(controller);
    }
  }

  /** With the table, by so much. */
  raise(metres) {
    this.group.position.set(PLACE[0], PLACE[1] + metres, PLACE[2]);
  }

  /**
   * @param {"on"|"muted"|"none"|""} speaking  "": there is no sound here at all
   * @param {string} trouble  words; empty: none
   */
  show(speaking, trouble) {
    this.#look = trouble ? "trouble" : speaking;
    const look = trouble ? { runs: [run(trouble, "#ffd9a8")], field: "#14181ce6" } : LOOKS[speaking];
    this.#write(look ?? { runs: [], field: "" });
    this.group.visible = Boolean(look);
  }

  /** Once a frame: what is pointed at is a little larger. */
  update() {
    for (const one of this.controllers) one.children[0].visible = Boolean(one.userData.points) && this.group.visible;
    const pointed = this.group.visible && this.#look !== "none" && this.controllers.some((one) => one.visible && this.#hits(one));
    if (pointed === this.#pointed) return;
    this.#pointed = pointed;
    this.sign.mesh.scale.setScalar(pointed ? 1.08 : 1);
  }

  #write({ runs, field }) { this.sign.write(runs, field); }

  #hits(controller) {
    controller.updateWorldMatrix(true, false);
    this.#ray.setFromXRController(controller);
    return this.#ray.intersectObject(this.sign.mesh, false).length > 0;
  }
}

function run(text, colour) { return { text, colour, size: LETTERS_M, weight: 600 }; }

function ray() {
  const geometry = new BufferGeometry().setFromPoints([new Vector3(0, 0, 0), new Vector3(0, 0, -RAY_M)]);
  const line = new Line(geometry, new LineBasicMaterial({ color: 0xffffff, transparent: true, opacity: 0.35 }));
  line.visible = false;
  return line;
}
