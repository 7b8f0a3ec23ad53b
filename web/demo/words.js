// What the page says, as a function of what it knows. No DOM here: facts in, words out.

/**
 * @typedef {object} Facts
 * @property {"ok"|"gone"|"denied"} server  whether the program on this machine answers
 * @property {"browser"|"file"|"sample"} source  where motion comes from
 * @property {"off"|"asking"|"on"|"refused"|"missing"|"busy"|"insecure"|"unplugged"|"failed"} camera
 * @property {"idle"|"connecting"|"live"|"lost"} sending  the camera's way to the edge
 * @property {"idle"|"connecting"|"live"|"lost"} receiving  the avatar's way from the edge
 * @property {boolean} shows  whether this page is to show an avatar at all
 * @property {boolean} pictures  whether a picture of the avatar has come
 * @property {boolean|null} face  whether a face is in the camera picture; null when nobody knows
 * @property {boolean} alone  whether nobody else is in the room
 * @property {boolean|null} apart  whether the edges have no link to each other; null before anything is known
 * @property {string} refusal  why the other edge was refused; empty: it was not
 * @property {number|null} arriving  how much of the avatar has come, 0 to 1; null when none is on its way
 * @property {boolean} recorded  whether the server offers recorded motion
 */

const CAMERA = {
  asking: {
    status: "Waiting for the camera",
    title: "May this page use your camera?",
    text: "Your browser is asking; choose Allow. The picture goes to the program on this machine and no further.",
  },
  refused: {
    status: "Camera refused",
    title: "The camera was refused",
    text: "Open the site settings beside the address, set Camera to Allow, then try again. If it is allowed there, allow the browser to use it in the system's privacy settings.",
  },
  missing: {
    status: "No camera found",
    title: "No camera was found",
    text: "Plug one in, or switch on the one that is built in, then try again.",
  },
  busy: {
    status: "Camera in use",
    title: "Another program is using the camera",
    text: "Close the program or the page that has it, such as another call, then try again.",
  },
  insecure: {
    status: "Camera not available here",
    title: "This address cannot use a camera",
    text: "Browsers give the camera only to pages of this machine or over HTTPS. Open the page as http://localhost instead, with the same port.",
  },
  unplugged: {
    status: "Camera gone",
    title: "The camera has gone",
    text: "It was unplugged or switched off. Connect it again, then try again.",
  },
  failed: {
    status: "Camera does not start",
    title: "The camera does not start",
    text: "The browser gave no reason. Unplug it and plug it in again, or restart the browser, then try again.",
  },
};

const GONE = {
  gone: {
    status: "Program stopped",
    title: "The program on this machine has stopped",
    text: "Start it again in the terminal. This page then goes on by itself.",
  },
  denied: {
    status: "Not for this address",
    title: "The program does not answer this address",
    text: "Open the page at the address which the program printed, on the machine where it runs.",
  },
};

const ELSEWHERE = {
  title: "",
  text: "No avatar is shown here: telepresence was started with a --sink other than this page. Your own motion goes out all the same.",
};

/** Everything the page says for these facts: the status line, and the notices on the two tiles (null: none). */
export function describe(facts) {
  const words = describeCall(facts);
  return facts.shows || words.avatar?.title ? words : { ...words, avatar: ELSEWHERE };
}

function describeCall(facts) {
  if (facts.server !== "ok") return said("warn", GONE[facts.server].status, null, { ...GONE[facts.server], actions: ["reload"] });
  const problem = facts.source === "browser" ? CAMERA[facts.camera] : undefined;
  if (problem) {
    const asking = facts.camera === "asking";
    const actions = [...(asking || facts.camera === "insecure" ? [] : ["again"]), ...(facts.recorded && !asking ? ["recorded"] : [])];
    return said(asking ? "wait" : "warn", problem.status, { ...problem, actions }, restingAvatar(facts));
  }
  if (facts.refusal) {
    return said("warn", "No link", null, { title: "The two ends do not understand each other", text: facts.refusal });
  }
  if (facts.receiving === "lost" || facts.sending === "lost" || (facts.apart && facts.pictures && facts.shows)) {
    return said("warn", "Link lost, reconnecting", null,
      { title: "The link was lost", text: "Reconnecting. There is nothing you need to do." });
  }
  if (facts.alone) {
    return said("wait", "Waiting for the others", null, { title: "Nobody else is here yet", text: facts.shows ? "Their avatar appears when they join." : "Your motion goes out to them when they join." });
  }
  const unseen = facts.source === "browser" ? "No face in view, so your avatar rests. Move until all of your face is in the picture." : "";
  const pictures = facts.pictures && (facts.receiving === "live" || facts.receiving === "idle");
  if (facts.face === false && facts.shows && !pictures) {
    return { ...said("wait", "No face in view", null, { title: "", text: "The avatar comes to life when the camera sees a face." }), hint: unseen };
  }
  if (facts.sending === "connecting" || (facts.shows ? !pictures : facts.apart !== false)) {
    const text = !facts.shows ? "" : facts.arriving === null ? "The first picture takes a few seconds."
      : `The avatar is on its way, ${Math.round(facts.arriving * 100)} % so far.`;
    return said("wait", "Connecting", null, { title: "Connecting", text });
  }
  if (facts.face === false) {
    return { ...said("wait", "Avatar at rest", null, null), hint: unseen };
  }
  return said("good", facts.source === "sample" ? "Live, from recorded motion" : "Live", null, null);
}

function said(tone, status, camera, avatar) {
  return { tone, status, camera, avatar, hint: "" };
}

/** The avatar's tile while there is no camera: nothing once its pictures have come, since it then simply rests. */
function restingAvatar(facts) {
  return facts.pictures && facts.receiving === "live" ? null : { title: "", text: "The avatar comes to life with your camera." };
}

/** Labels of the buttons, by the action's name. */
export const ACTIONS = {
  again: "Try again",
  recorded: "Use recorded motion instead",
  browser: "Use your camera",
  reload: "Try now",
};

/** The caption of the avatar. */
export function caption(ownAvatar, source, name) {
  if (!ownAvatar) return name || "The other person";
  return source === "browser" ? "You, as others see you" : "The avatar, as others see it";
}

/** What the avatar is drawn from. */
export function origin(source, shows) {
  if (!shows) return source === "browser" ? "Your camera picture never leaves this machine." : "";
  if (source === "sample") return "Drawn from recorded motion. No camera is in use.";
  return "Drawn from motion alone. Your camera picture never leaves this machine.";
}
