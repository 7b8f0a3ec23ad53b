// The calm space of VR, and nothing of it in AR: a floor that fades into the dark, a round table, soft light from above.

import { CircleGeometry, Color, CylinderGeometry, Group, Mesh, MeshBasicMaterial, ShaderMaterial } from "../vendor/three/build/three.module.js";

export const BACKGROUND = new Color(0x14181c);
const TABLE_M = 0.42; // radius; between the viewer and those opposite
const TABLE_TOP_M = 0.72;
const AHEAD_M = 0.62;

export class Space {
  constructor(scene) {
    this.scene = scene;
    this.room = new Group(); // what AR leaves out
    this.table = new Group();
    this.room.add(floor());
    this.table.add(top());
    this.table.position.set(0, TABLE_TOP_M, -AHEAD_M);
    this.room.add(this.table);
    scene.add(this.room);
    this.show(true);
  }

  /** Whether it is there; in AR one's own room is. */
  show(there) {
    this.room.visible = there;
    this.scene.background = there ? BACKGROUND : null;
  }
}

function floor() {
  const material = new ShaderMaterial({
    transparent: true,
    vertexShader: "varying vec2 at; void main() { at = position.xy; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }",
    fragmentShader: "varying vec2 at; void main() { float fade = exp(-dot(at, at) / 4.0); gl_FragColor = vec4(0.16, 0.2, 0.23, fade); }",
  });
  const mesh = new Mesh(new CircleGeometry(6, 48), material);
  mesh.rotation.x = -Math.PI / 2;
  return mesh;
}

function top() {
  return new Mesh(new CylinderGeometry(TABLE_M, TABLE_M, 0.03, 64), new MeshBasicMaterial({ color: 0x39424a }));
}
