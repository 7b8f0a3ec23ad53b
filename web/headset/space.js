// The calm space of VR, and nothing of it in AR: dusk all around, a floor that fades into it, a round table.

import { BackSide, CircleGeometry, CylinderGeometry, Group, Mesh, MeshBasicMaterial, ShaderMaterial, SphereGeometry } from "../vendor/three/build/three.module.js";

const DUSK_M = 20; // radius
const FLOOR_M = 8;
const TABLE_M = 0.42; // radius; between the viewer and those opposite
const TABLE_TOP_M = 0.72;
const THICK_M = 0.03;
const AHEAD_M = 0.62;

const PLACED = "varying vec3 at; void main() { at = position; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }";
// Lighter along the horizon, so that up and far can be told, and hair stands out from what is behind it. The noise keeps
// a headset's display from showing steps.
const DUSK = `
  varying vec3 at;
  void main() {
    float up = normalize(at).y;
    vec3 colour = mix(vec3(0.205, 0.245, 0.275), up > 0.0 ? vec3(0.075, 0.09, 0.105) : vec3(0.1, 0.118, 0.13), smoothstep(0.0, 0.75, abs(up)));
    float noise = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453) - 0.5;
    gl_FragColor = vec4(colour + noise / 255.0, 1.0);
  }`;
const FLOOR = "varying vec3 at; void main() { float fade = exp(-dot(at.xy, at.xy) / 4.0); gl_FragColor = vec4(0.23, 0.26, 0.28, 0.8 * fade); }";
const TABLE = "varying vec3 at; void main() { float away = length(at.xy) / 0.42; gl_FragColor = vec4(mix(vec3(0.36, 0.4, 0.43), vec3(0.27, 0.305, 0.33), away * away), 1.0); }";

export class Space {
  constructor(scene) {
    this.room = new Group(); // what AR leaves out
    this.table = new Group();
    this.table.position.set(0, TABLE_TOP_M, -AHEAD_M);
    this.table.add(...table());
    this.room.add(dusk(), floor(), this.table);
    scene.add(this.room);
  }

  /** Whether it is there; in AR one's own room is. */
  show(there) {
    this.room.visible = there;
  }
}

function dusk() {
  const material = new ShaderMaterial({ vertexShader: PLACED, fragmentShader: DUSK, side: BackSide, depthWrite: false });
  const mesh = new Mesh(new SphereGeometry(DUSK_M, 32, 24), material);
  mesh.position.y = 1.2;
  mesh.renderOrder = -2;
  return mesh;
}

function floor() {
  const material = new ShaderMaterial({ vertexShader: PLACED, fragmentShader: FLOOR, transparent: true, depthWrite: false });
  const mesh = new Mesh(new CircleGeometry(FLOOR_M, 48), material);
  mesh.rotation.x = -Math.PI / 2;
  mesh.renderOrder = -1;
  return mesh;
}

function table() {
  const top = new Mesh(new CircleGeometry(TABLE_M, 64), new ShaderMaterial({ vertexShader: PLACED, fragmentShader: TABLE }));
  top.rotation.x = -Math.PI / 2;
  const rim = new Mesh(new CylinderGeometry(TABLE_M, TABLE_M, THICK_M, 64, 1, true), new MeshBasicMaterial({ color: 0x3a4147 }));
  rim.position.y = -THICK_M / 2;
  return [top, rim];
}
