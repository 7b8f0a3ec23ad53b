// The demo page's only state, and what moves it: the program's configuration, the camera, the links to the edges, the figures.

import { DeviceProblem, onDeviceChance, openDevice } from "../call/devices.js";
import { Link } from "../connection.js";
import { mountEnrolment } from "../enrol/enrol.js";
import { PictureRate, pollStats, showFigures } from "../overlay.js";
import { freeze, write } from "../ui/dom.js";
import { show, showActions, showPicture } from "./view.js";
import { caption, describe, origin } from "./words.js";

const CONFIG_URL = "/api/page-config";
const CONFIG_MS = 5000;
const SWITCH_MS = 20_000; // to another source: an edge ends first

const cameraVideo = document.querySelector("#camera");
const avatarVideo = document.querySelector("#avatar");

const facts = {
  server: "ok", source: "browser", camera: "off", sending: "idle", receiving: "idle",
  shows: true, pictures: false, face: null, alone: false, apart: null, refusal: "", arriving: null, recorded: false,
};
let config = null;
let stream = null;
let links = [];
let stats = {};
let edges = ""; // which incarnation of the edges the links were made for

function update(change) {
  Object.assign(facts, change);
  const said = describe(facts);
  show(said, act);
  showPicture("#camera-tile", { empty: facts.camera !== "on", stale: false });
  showPicture("#avatar-tile", { empty: !facts.pictures || said.avatar?.title === "Nobody else is here yet", stale: Boolean(said.avatar) });
  document.body.classList.toggle("solo", facts.source !== "browser");
  write(document.querySelector("#avatar-name"), caption(config?.own_avatar, facts.source, stats.participants?.[0]?.name));
  write(document.querySelector("#avatar-tile .label"), stats.participants?.[0]?.label ?? "avatar");
  write(document.querySelector("#avatar-origin"), origin(facts.source, facts.shows));
  showActions(document.querySelector("#source"), config?.recorded && facts.source === "sample" ? ["browser"] : [], act);
}

async function readConfig() {
  const response = await fetch(CONFIG_URL, { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) });
  if (response.status === 403) throw new DOMException("refused", "NotAllowedError");
  if (!response.ok) throw new Error(`${CONFIG_URL} answered ${response.status}`);
  config = await response.json();
  return config;
}

/** Where the edge is that takes the camera (or gives the avatar) now; null while it is starting. */
function finder(role) {
  return async () => (await readConfig())[role];
}

async function begin() {
  try {
    await readConfig();
  } catch (error) {
    return update({ server: error.name === "NotAllowedError" ? "denied" : "gone" });
  }
  enrol();
  const source = config.source ?? (config.camera ? "browser" : "file");
  update({ server: "ok", source, recorded: Boolean(config.recorded), shows: config.shows !== false });
  if (source === "browser") await startCamera();
  else connect();
}

/** The avatar that one is shown as is made at the sender's edge. */
function enrol() {
  const place = document.querySelector("#own-avatar");
  if (!config.own_avatar || !place.hidden) return;
  place.hidden = false;
  mountEnrolment({
    find: finder("enrol"), places: [place], status: document.querySelector("#refining"),
    camera: () => stream?.getVideoTracks()[0] ?? null, name: () => "",
  });
}

async function startCamera() {
  stopCamera();
  update({ camera: "asking" });
  try {
    stream = new MediaStream([await openDevice("camera", { onEnd: (kind) => { stopCamera(); update({ camera: kind }); } })]);
  } catch (error) {
    return update({ camera: error instanceof DeviceProblem ? error.kind : "failed" });
  }
  cameraVideo.srcObject = stream;
  update({ camera: "on" });
  connect();
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  cameraVideo.srcObject = null;
}

/** Make the links anew: one to each edge, or one for both ways when they are the same edge. */
function connect() {
  links.forEach((link) => link.close());
  const [track] = stream?.getVideoTracks() ?? [];
  const onStream = (pictures) => { avatarVideo.srcObject = pictures; };
  const receive = { receive: true, onStream, onDrop: () => freeze(avatarVideo) };
  if (track && config.camera && config.camera.url === config.avatar?.url) {
    links = [new Link({ find: finder("camera"), track, ...receive, onState: (state) => update({ sending: state, receiving: state }) })];
  } else {
    links = [];
    if (facts.shows) links.push(new Link({ find: finder("avatar"), ...receive, onState: (state) => update({ receiving: state }) }));
    if (track) links.push(new Link({ find: finder("camera"), track, onState: (state) => update({ sending: state }) }));
  }
  update({ sending: "idle", receiving: "idle", pictures: false });
  links.forEach((link) => link.restart());
}

async function act(action) {
  if (action === "reload") return begin();
  if (action === "again") return startCamera();
  const camera = action === "recorded" ? "sample" : "browser";
  links.forEach((link) => link.close());
  links = [];
  stopCamera();
  try {
    const response = await fetch(config.recorded.url, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ camera }),
      signal: AbortSignal.timeout(SWITCH_MS),
    });
    if (!response.ok) return update({ camera: "failed" });
  } catch {
    return update({ server: "gone" }); // the figures' polling notices when it is back, and begins anew
  }
  update({ camera: "off", pictures: false });
  return begin();
}

function onStats(fresh) {
  stats = fresh;
  showFigures(document, stats, rate.perSecond);
  const engine = [stats.engine, stats.size, stats.runtime].filter(Boolean).join(" \u00b7 ");
  write(document.querySelector("#engine"), engine);
  if (facts.server === "gone") {
    update({ server: "ok" });
    if (links.length) links.forEach((link) => link.restart());
    else begin();
  }
  const now = JSON.stringify(Object.values(stats.edges ?? {}).map((edge) => edge?.starts ?? 0));
  if (edges && now !== edges) links.forEach((link) => link.restart());
  edges = now;
  const [other] = stats.participants ?? [];
  update({
    face: typeof stats.faces === "number" ? stats.faces > 0 : null,
    alone: !config?.own_avatar && stats.state === "alone",
    apart: ["lost", "connecting"].includes(stats.state) || (Boolean(config?.own_avatar) && stats.state === "alone"),
    refusal: other?.state === "refused" ? other.reason || "No more is known." : "",
    arriving: typeof other?.avatar === "number" && other.avatar < 1 ? other.avatar : null,
  });
}

const rate = new PictureRate(avatarVideo, () => facts.pictures || update({ pictures: true }));
onDeviceChance("camera", () => ["refused", "missing", "unplugged"].includes(facts.camera) && facts.source === "browser" && startCamera());
pollStats(() => config?.stats ?? ["/api/stats"], onStats, () => {
  stats = {};
  showFigures(document, stats, null);
  if (facts.server === "ok") update({ server: "gone" });
});
showFigures(document, stats, null);
update({});
begin();
