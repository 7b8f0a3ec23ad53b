// The page of a room: the lobby, the call, what comes after. Which call it is, the server's configuration says.

import { CallError } from "./call/call.js";
import { EdgeCall } from "./call/edge-call.js";
import { showFigures } from "./overlay.js";
import { Banners } from "./ui/banners.js";
import { dress, find, showActions, write } from "./ui/dom.js";
import { dressOwn, Lobby } from "./ui/lobby.js";
import { memory, Own } from "./ui/own.js";
import { Announcer, showPeople } from "./ui/people.js";
import { Pickers } from "./ui/pickers.js";
import { Sounds } from "./ui/sounds.js";
import { showHeadset } from "./ui/headset.js";
import { Stage } from "./ui/stage.js";
import { ACTIONS, callStatus, deviceBanner, overWords } from "./ui/words.js";

const CONFIG_URL = new URL("../api/page-config", import.meta.url); // the page may be at /room/NAME, its files at /web/
const CONFIG_MS = 5000;
const AGAIN_MS = 2000;
const BROWSER_FAILS = "The files for a browser by itself cannot be loaded. With telepresence on your machine, enter by: telepresence join '(this page\u2019s address)'";
const COPIED_MS = 2000;

const own = new Own();
const banners = new Banners();
const announcer = new Announcer();
const sounds = new Sounds((refused) => {
  banners.say("play", refused ? "Your browser holds the sound back until you ask for it." : "", { action: "play", act: () => sounds.play() });
});
let call = null;
let stage = null;
let lobby = null;
let settings = null;
let sent = {}; // what the call was last told of our own
let entering = false;

// beginning

async function begin() {
  appear(memory.read().theme ?? "");
  let config;
  try {
    const response = await fetch(CONFIG_URL, { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) });
    if (!response.ok) throw new Error(`${CONFIG_URL} answered ${response.status}`);
    config = await response.json();
  } catch (error) {
    console.info(error.message);
    showOver(location.pathname.startsWith("/room/") ? "away" : "gone"); // such addresses are the hub's
    setTimeout(begin, AGAIN_MS);
    return;
  }
  try {
    call = await open(config);
  } catch (error) {
    showOver("ended", error);
    return;
  }
  prepare();
  enrol(config);
  showLobby();
}

async function open(config) {
  if (config.mode !== "browser") return new EdgeCall(config);
  const { BrowserCall } = await import("./browser/browser-call.js").catch((error) => {
    console.info(error.message);
    throw new CallError("incomplete", BROWSER_FAILS);
  });
  return new BrowserCall(config);
}

function prepare() {
  own.takesCamera = call.takesCamera;
  lobby = new Lobby(call, own, join);
  stage = new Stage(call, own, showBar);
  settings = new Pickers(find("#call-pickers"), own);
  find("#camera-stays").hidden = !call.takesCamera;
  call.addEventListener("change", showCall);
  call.addEventListener("participants", showParticipants);
  call.addEventListener("figures", showNumbers);
  call.addEventListener("problem", ({ detail }) => banners.say(detail.key ?? detail.text, detail.text, { level: detail.level }));
  own.addEventListener("change", onOwn);
}

/** One's own avatar is made by the edge that serves this page, or by the page itself. */
async function enrol(config) {
  const session = await call.enrolment().catch((error) => void console.info(`no avatar can be made here: ${error.message}`));
  if (!config.enrol && !session) return;
  const { mountEnrolment } = await import("./enrol/enrol.js");
  const places = ["#own-avatar", "#own-avatar-in-call"].map(find);
  for (const place of places) place.hidden = false;
  if (session) {
    find("#avatar-field").classList.add("beside");
    write(find("#avatar-label"), "Or an avatar file that you have");
  }
  mountEnrolment({
    session,
    find: async () => (await (await fetch(CONFIG_URL, { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) })).json()).enrol,
    places, status: find("#refining"), camera: () => own.camera, name: () => own.name || find("#name").value,
    inCall: () => document.body.dataset.view === "call",
  });
}

// the three views

function view(name) {
  document.body.dataset.view = name;
  find("#call").hidden = name !== "call";
  find("#over").hidden = name !== "over";
  lobby?.open(name === "lobby");
  if (name !== "call") closePanels();
}

function showLobby() {
  view("lobby");
  say("wait", "Not in the call");
  own.begin();
  if (!own.name) find("#name").focus();
}

async function join() {
  if (entering) return;
  entering = true;
  view("call");
  announcer.forget();
  const { name, camera, microphone, muted } = own;
  sent = { name, camera, microphone, muted };
  try {
    await call.join(sent);
    stage.tellAgain();
    find("#bar [data-do=mute]").focus({ preventScroll: true });
  } catch (error) {
    own.rest();
    showOver("ended", error);
  } finally {
    entering = false;
  }
}

function showOver(state, ending = null) {
  view("over");
  const [title, text, actions] = overWords(state, ending);
  say(state === "left" || state === "superseded" ? "wait" : "warn", "Not in the call", title);
  const place = find("#over");
  write(place.querySelector("h2"), title);
  write(place.querySelector("p"), text);
  showActions(place.querySelector(".actions"), actions, ACTIONS, after);
  place.querySelector("h2").focus();
}

async function after(action) {
  if (action === "reload") location.reload();
  if (action === "lobby") showLobby();
  if (action === "back" || action === "retry") {
    await own.begin();
    join();
  }
  if (action === "take") {
    await own.begin();
    call.take();
  }
}

// the call

function showCall() {
  write(find("#room-name"), call.room);
  if (call.state === "superseded" || call.state === "left" || (call.state === "ended" && !entering)) {
    if (document.body.dataset.view === "call") {
      own.rest();
      sounds.show([]);
      showOver(call.state, call.ending);
    }
    return;
  }
  if (call.state === "joined" && document.body.dataset.view === "over") {
    view("call");
    onOwn(); // camera and microphone were opened anew while the call was elsewhere
  }
  showElsewhere();
  banners.say("hub", call.hub || call.state === "lost" ? "" : "The hub is out of reach. The call goes on; nobody new can join until it is back.");
  showParticipants();
}

/** While the sound is in the headset, this page's microphone is off: its light must not say otherwise. */
function showElsewhere() {
  const moved = Boolean(call.elsewhere) !== (find("#call").dataset.sound === "elsewhere");
  if (!moved) return;
  find("#call").dataset.sound = call.elsewhere ? "elsewhere" : "here";
  banners.say("headset", call.elsewhere ? "Sound and microphone are in your headset. The camera stays here." : "", { action: "take", act: () => call.take() });
  if (call.elsewhere) own.lend("microphone");
  else own.retrieve("microphone");
}

function showParticipants() {
  if (document.body.dataset.view !== "call") return;
  stage.show();
  sounds.show(call.participants.values());
  showPeople(call, own);
  if (call.state === "joined") announcer.show(call.participants);
  showBar();
  const [tone, text] = callStatus(call);
  say(tone, text);
}

function showBar() {
  const bar = find("#bar");
  dressOwn(bar, own, call.takesCamera);
  const many = call.participants.size;
  dress(bar.querySelector("[data-do=view]"), stage.mode === "grid" ? "speaker" : "grid", stage.mode === "grid" ? "Speaker large" : "Everybody in a grid");
  bar.querySelector("[data-do=view]").disabled = many === 0;
  dress(bar.querySelector("[data-do=people]"), "people", `People, ${many + 1}`);
  dress(bar.querySelector("[data-do=settings]"), "settings", "Settings");
  bar.querySelector("[data-do=headset]").hidden = !call.headset;
  dress(bar.querySelector("[data-do=headset]"), "headset", "Into your headset");
  dress(bar.querySelector("[data-do=leave]"), "leave", "Leave the call");
}

function onOwn() {
  if (document.body.dataset.view !== "call") return;
  if (own.camera !== sent.camera) call.setCamera(own.camera);
  if (own.microphone !== sent.microphone) call.setMicrophone(own.microphone);
  if (own.muted !== sent.muted) call.setMuted(own.muted);
  if (own.name !== sent.name) call.setName(own.name);
  const { name, camera, microphone, muted } = own;
  sent = { name, camera, microphone, muted };
  sounds.choose(own.ids.speaker);
  for (const device of ["camera", "microphone"]) {
    const text = deviceBanner(device, own[`${device}Problem`]);
    banners.say(device, text, { action: "devices", act: openSettings });
  }
  showParticipants();
}

function showNumbers() {
  write(find("#engine"), call.figures.drawn_by ?? "");
  const { skew_ms: skew, ...figures } = call.figures;
  showFigures(document, { ...figures, skew_ms_now: skew }, stage.perSecond ?? figures.fps ?? null);
  if (figures.hub_refusal) banners.say("refusal", `Nobody new can join: ${figures.hub_refusal}`);
}

function say(tone, text, title = text) {
  document.body.dataset.tone = tone;
  write(find("#status"), text);
  document.title = tone === "good" ? "Telepresence" : `${title} \u00b7 Telepresence`;
}

// what can be done

const doings = {
  mute() {
    if (!own.microphone) return own.open("microphone");
    own.setMuted(!own.muted);
    return announcer.say(own.muted ? "Microphone off" : "Microphone on");
  },
  camera() {
    if (!call.takesCamera) return;
    announcer.say(own.camera ? "Camera off" : "Camera on");
    own.toggleCamera();
  },
  view: () => call.participants.size && stage.toggle(),
  people: () => showPanel(find("#people").hidden),
  settings: () => openSettings(),
  headset: () => call.headset && showHeadset(call.headset),
  close: (button) => button.closest("dialog").close(),
  copy,
  leave() {
    own.rest();
    call.leave();
  },
  figures() {
    const shown = find("#figures").hidden;
    memory.write({ figures: shown });
    find("#figures").hidden = !shown;
    find("#figures-shown").checked = shown;
  },
};

const KEYS = { m: "mute", v: "camera", g: "view", p: "people", s: "settings", f: "figures", h: "headset" };
const ALSO_BEFORE = new Set(["mute", "camera"]); // of these, which there are in the lobby

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-do]");
  if (button) doings[button.dataset.do](button);
});

document.addEventListener("keydown", (event) => {
  const doing = KEYS[event.key.toLowerCase()];
  const { view: shown } = document.body.dataset;
  if (event.key === "Escape" && !find("#people").hidden) showPanel(false);
  if (!doing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog")) return;
  if (shown !== "call" && !(shown === "lobby" && ALSO_BEFORE.has(doing))) return;
  event.preventDefault();
  doings[doing]();
});

async function copy(button) {
  try {
    await navigator.clipboard.writeText(call.link);
  } catch {
    const field = find("#link");
    field.value = call.link;
    field.select();
    document.execCommand("copy");
  }
  const label = button.querySelector("span");
  write(label, "Copied");
  announcer.say("The link has been copied.");
  setTimeout(() => write(label, "Copy link"), COPIED_MS);
}

function showPanel(shown) {
  find("#people").hidden = !shown;
  const button = find("#bar [data-do=people]");
  button.setAttribute("aria-expanded", String(shown));
  if (shown) find("#people button").focus();
  else button.focus();
}

function openSettings() {
  find("#call-name").value = own.name;
  settings.look(true);
  find("#settings").showModal();
}

function closePanels() {
  find("#people").hidden = true;
  for (const dialog of document.querySelectorAll("dialog.settings[open]")) dialog.close();
}

find("#settings").addEventListener("close", () => settings?.look(false));
for (const dialog of document.querySelectorAll("dialog.settings")) {
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // beside it
}
find("#call-name").addEventListener("change", ({ target }) => own.setName(target.value));
find("#figures-shown").addEventListener("change", doings.figures);
find("#appearance").addEventListener("change", ({ target }) => choose(target.value));
find("#theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  choose(dark ? "light" : "dark");
});

function choose(theme) {
  memory.write({ theme });
  appear(theme);
}

function appear(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  find("#appearance").value = theme;
}

find("#figures").hidden = !memory.read().figures;
find("#figures-shown").checked = Boolean(memory.read().figures);
begin();
