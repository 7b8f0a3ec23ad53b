// What the room's page says, as a function of what it knows. No DOM here: facts in, words out.

const CAMERA = {
  asking: ["May this page use your camera?", "Your browser is asking; choose Allow. You can also join without."],
  refused: ["The camera was refused", "Open the site settings beside the address, set Camera to Allow, then try again. If it is allowed there, allow the browser in the system's privacy settings."],
  missing: ["No camera was found", "Plug one in, or switch on the one that is built in. You can also join without."],
  busy: ["Another program has the camera", "Close what uses it, such as another call, then try again."],
  insecure: ["No camera at this address", "Browsers give it only to pages of this machine or over HTTPS. Ask for a link that begins with https://."],
  unplugged: ["The camera has gone", "It was unplugged or switched off. Connect it again, or choose another."],
  failed: ["The camera does not start", "The browser gives no reason. Unplug it and plug it in again, or restart the browser."],
};

const MICROPHONE = {
  asking: "Your browser is asking; choose Allow.",
  refused: "The microphone was refused. Open the site settings beside the address, set Microphone to Allow, then try again.",
  missing: "No microphone was found. Plug one in; you can also join without.",
  busy: "Another program has the microphone. Close what uses it, then try again.",
  insecure: "Browsers give it only to pages of this machine or over HTTPS.",
  unplugged: "The microphone has gone. Connect it again, or choose another.",
  failed: "The microphone does not start. Unplug it and plug it in again, or restart the browser.",
};

const RETRY = new Set(["refused", "missing", "busy", "unplugged", "failed"]);

/** What stands in place of the camera's picture in the lobby; null: nothing. */
export function cameraNotice(own, takesCamera) {
  if (!takesCamera) return { title: "The camera is the program's own", text: "It was started with one, so this page needs none.", actions: [] };
  if (own.cameraProblem) {
    const [title, text] = CAMERA[own.cameraProblem];
    return { title, text, actions: RETRY.has(own.cameraProblem) ? ["again"] : [] };
  }
  return own.camera ? null : { title: "Your camera is off", text: "Your avatar rests, and its lips follow your voice.", actions: [] };
}

/** What is wrong with the microphone; empty: nothing. */
export function microphoneHelp(problem) {
  return problem ? MICROPHONE[problem] : "";
}

/** What a banner says of a device that fails in the call. */
export function deviceBanner(device, problem) {
  if (!problem || problem === "asking") return "";
  return device === "camera" ? `${CAMERA[problem][0]}. ${CAMERA[problem][1]}` : MICROPHONE[problem];
}

/** The button that joins. */
export function joinLabel(own, takesCamera) {
  const missing = [takesCamera && !own.camera && "camera", !own.microphone && "microphone"].filter(Boolean);
  return missing.length ? `Join without ${missing.join(" and ")}` : "Join";
}

/** Who is there, for the lobby. */
export function presence(names) {
  if (!names) return "";
  if (!names.length) return "Nobody else is here yet.";
  const known = names.map((name) => name || "Somebody");
  const some = known.length > 4 ? [...known.slice(0, 3), `${known.length - 3} others`] : known;
  return `${listed(some)} ${known.length > 1 ? "are" : "is"} here.`;
}

/** How somebody is called. */
export function nameOf(one) {
  return one.name || "Somebody";
}

/** One or two letters in place of a picture. */
export function initials(name) {
  const parts = name.trim().split(/\s+/).filter(Boolean);
  const letters = parts.length > 1 ? [parts[0], parts.at(-1)] : parts;
  return letters.map((part) => [...part][0].toLocaleUpperCase()).join("") || "?";
}

/**
 * What a tile says instead of, or over, its picture; null: nothing.
 * @param {import("../call/call.js").Participant} one
 * @param {{shows: boolean, pictured: boolean}} page  whether this page shows pictures, and whether one has come
 */
export function tileWords(one, { shows, pictured }) {
  if (one.state === "refused") return { text: `No link: ${one.reason || "the two ends do not understand each other"}`, progress: null };
  if (one.state === "lost") return { text: "Out of reach, trying again", progress: null };
  if (one.state === "connecting") return { text: "Connecting", progress: null };
  if (!shows) return { text: "Not drawn here: the program has another --sink", progress: null };
  if (one.unshown) return { text: `Not shown: ${one.unshown}`, progress: null };
  if (one.avatar !== null && one.avatar < 1 && !pictured) return { text: `Avatar arriving, ${Math.round(one.avatar * 100)} %`, progress: one.avatar };
  if (pictured) return null;
  return { text: one.listening ? "Waiting for the first movement" : "Has not come to the page yet", progress: null };
}

/** A participant in a list, or for a screen reader: its states in words. */
export function states(one) {
  if (one.state === "refused") return ["no link"];
  if (one.state === "lost") return ["out of reach"];
  if (one.state === "connecting") return ["connecting"];
  const arriving = one.avatar !== null && one.avatar < 1 ? ["avatar arriving"] : [];
  const unshown = one.unshown ? ["not shown"] : one.label ? [one.label] : [];
  return [...arriving, ...unshown, ...(one.listening ? [] : ["no sound"]), ...(one.muted ? ["muted"] : []), ...(one.camera ? [] : ["camera off"])];
}

/** The status line of a call: its tone and text. */
export function callStatus(call) {
  const others = [...call.participants.values()];
  if (call.state === "joining") return ["wait", "Joining"];
  if (call.state === "lost") return ["warn", call.lostWords];
  if (!others.length) return ["wait", "Waiting for the others"];
  if (others.every((one) => one.state === "connecting")) return ["wait", "Connecting"];
  if (others.every((one) => one.state === "lost")) return ["warn", "Link lost, reconnecting"];
  if (others.every((one) => one.state === "refused")) return ["warn", "No link"];
  return [call.hub ? "good" : "warn", `Live, ${others.length + 1} in the call`];
}

/** What stands in place of the call when there is none: title, text, actions. */
export function overWords(state, ending) {
  if (state === "superseded") return ["This call is open in another tab", "Only one tab at a time can have the sound and the camera.", ["take"]];
  if (state === "left") return ["You have left the call", "Your camera and microphone are off. The others no longer see your avatar.", ["back", "lobby"]];
  if (state === "away") return ["The hub does not answer", "It may be restarting. This page goes on trying.", ["reload"]];
  if (state === "gone") return ["The program on this machine has stopped", "Start it again in the terminal. This page then goes on by itself.", ["reload"]];
  if (ending?.kind === "full") return ["The room is full", ending.message, ["retry", "lobby"]];
  if (ending?.kind === "refused") return ["You cannot join with this link", ending.message, ["lobby"]];
  if (ending?.kind === "unsupported") return ["This browser cannot join", ending.message, ["reload"]];
  if (ending?.kind === "incomplete") return ["This room is not ready for browsers", ending.message, ["reload"]];
  return ["The call could not begin", ending?.message ?? "Nobody answers. Look at your network, then try again.", ["retry", "lobby"]];
}

/** Labels of buttons, by the action's name. */
export const ACTIONS = {
  again: "Try again",
  reload: "Try now",
  take: "Use it here",
  back: "Come back",
  retry: "Try again",
  lobby: "Back to the start",
  play: "Play sound",
  devices: "Choose another",
};

function listed(words) {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
}
