// What enrolment says, as a function of what it knows. No DOM here: facts in, words out.

/** What the guide asks for: title, and how. Left and right are the person's own, and so they are in a mirror. */
export const STEPS = {
  rest: { title: "Look into the camera", how: "Mouth closed, face at ease. Keep still for a moment.", short: "At rest" },
  left: { title: "Turn your head to the left", how: "A little further than you think, and hold it.", short: "Left" },
  right: { title: "Turn your head to the right", how: "A little further than you think, and hold it.", short: "Right" },
  up: { title: "Raise your chin", how: "As if you looked at a clock above the screen. Hold it.", short: "Up" },
  smile: { title: "Smile", how: "Broadly, with your teeth if you like. Hold it.", short: "Smile" },
  open: { title: "Open your mouth wide, then close it", how: "As for a dentist.", short: "Mouth" },
  blink: { title: "Close both eyes, then open them", how: "For about a second.", short: "Eyes" },
  speak: { title: "Say this sentence", how: "", short: "Speak" },
};

const SENTENCES = [
  "\u201cPlease fetch five big maps from my bedroom before we go.\u201d",
  "\u201cMy uncle bought a very fine boat on the blue lake.\u201d",
  "\u201cWe may have to move both of the old white pianos.\u201d",
  "\u201cFour people wave from the bridge above the village.\u201d",
];

/** The sentence to be said, another one each time. */
export function sentence(nth) {
  return SENTENCES[nth % SENTENCES.length];
}

/** What the guide says now. */
export function prompt({ step, phase }, nth) {
  if (!step) return { title: "Done", how: "" };
  if (phase === "back") return { title: "Back to the middle", how: "Face the camera, mouth closed, eyes open." };
  const { title, how } = STEPS[step];
  return { title, how: step === "speak" ? sentence(nth) : how };
}

const HINTS = {
  nobody: "Nobody to be seen. Sit before the camera, face into the light.",
  two: "Somebody else is in the picture. Be alone in it for this half minute.",
  dark: "Too dark. Turn on a lamp, or face a window.",
  bright: "Too bright. Turn away from the lamp, or dim it.",
  far: "Too far away. Come closer, until your face fills the oval.",
  near: "Too close. Move back, until your face fits into the oval.",
  cut: "Part of your face is outside. Move until all of it is in the picture.",
  shades: "Your eyes cannot be seen. Take off the dark glasses.",
  blurred: "Blurred. Hold still, and wipe the lens if it stays so.",
  aside: "Move to the middle of the picture.",
  glare: "Light is mirrored in your glasses. Tilt your head or move the lamp.",
};

/** What is wrong with the picture; empty: nothing. */
export function hintWords(hint) {
  return HINTS[hint] ?? "";
}

/** What a picture has brought about; empty: nothing to say. */
export function newsWords({ news, step }) {
  if (news === "followed") return "Good";
  if (news === "wrong") return `That was something else. ${STEPS[step]?.title ?? ""}`;
  if (news === "slow") return "That one comes again later.";
  if (news === "anew") return "Too many other movements. It begins again, in a new order: do only what is asked for.";
  return news === "finished" ? "That was all" : "";
}

/** What one is shown as, for a line in the lobby. */
export function wornWords(own) {
  if (!own) return "";
  if (own.worn === "sample") return "the sample avatar";
  if (own.worn === "own") return own.label === "avatar" ? "your own avatar" : "your own photo avatar";
  if (own.worn === "file") return own.name || "an avatar from a file";
  return "nobody: no picture";
}

/** The button beside it. */
export function makeLabel(own, state) {
  if (["guide", "making", "failed", "review"].includes(state)) return "Go on";
  return own?.there ? "Change" : "Make your avatar";
}

/** What a new avatar will be labelled, and why. */
export function labelWords(how) {
  if (how === "live") return "Others read \u201cavatar\u201d on it, because you followed the guide live.";
  if (how === "video") return "Others read \u201cphoto avatar\u201d on it, because steps were left out.";
  return "Others read \u201cphoto avatar\u201d on it: photos could be of anybody.";
}

/** What it has not seen. */
export function lackingWords(lacking) {
  if (!lacking?.length) return "";
  const listed = lacking.length > 1 ? `${lacking.slice(0, -1).join(", ")} and ${lacking.at(-1)}` : lacking[0];
  return `It has not seen ${listed}, and makes that up.`;
}

/** How refining goes. */
export function tuningWords({ state, share, line }) {
  if (state === "running") return share > 0 ? `Refining your avatar, ${Math.round(share * 100)} %` : "Refining your avatar";
  if (state === "better") return "Your avatar has become better. It is in use already.";
  if (state === "none") return "Refining has found nothing better. Your avatar stays as it is.";
  if (state === "stopped") return "Refining was stopped. Your avatar stays as it is.";
  return line || "Refining has failed. Your avatar stays as it is.";
}

/** The camera, when there is none: title and text. */
export const CAMERA = {
  asking: ["May this page use your camera?", "Your browser is asking; choose Allow."],
  refused: ["The camera was refused", "Open the site settings beside the address, set Camera to Allow, then try again. Photos do as well."],
  missing: ["No camera was found", "Plug one in and try again. Photos do as well."],
  busy: ["Another program has the camera", "Close what uses it, then try again. Photos do as well."],
  insecure: ["No camera at this address", "Browsers give it only to pages of this machine or over HTTPS. Photos do as well."],
  unplugged: ["The camera has gone", "Connect it again, then go on. Nothing is lost: the steps so far are kept."],
  failed: ["The camera does not start", "Unplug it and plug it in again, then try again. Photos do as well."],
};

export const TEXT = {
  title: "Make your avatar",
  intro: "About half a minute before the camera. Do what the screen says when it says so: the order is drawn by lot, and that is how others can tell that it was you, live.",
  tips: ["Light from the front, nobody else in the picture", "Head and shoulders in view, no dark glasses", "Clear glasses, a beard, a hat you always wear: keep them on"],
  disclosure: "The camera\u2019s pictures stay on this machine. But an avatar is made of some of them: when you join a room, those go to everybody in it.",
  disclosurePhotos: "The photos stay on this machine. But an avatar is made of them: when you join a room, those in it go to everybody there.",
  stays: "Your present avatar stays until you accept the new one.",
  making: "Making your avatar",
  makingHow: "A second or two.",
  photosHow: "Up to 20 photos of you alone, all in the same light and clothes: one from the front, and if you have them some that smile, speak, or look to a side. JPEG, PNG or WebP, 24 MB each at most.",
  photosLabel: "Others will read \u201cphoto avatar\u201d on it, because photos could be of anybody.",
  review: "This is you, as the others will see you",
  reviewHow: "Move, speak, smile: it follows. It stays on this machine until you accept it and join a room.",
  reviewPhotos: "Without a camera, recorded motion moves it. It stays on this machine until you accept it and join a room.",
  done: "You are shown as this avatar now",
  doneHow: "In this call, and in all to come on this machine.",
  refineHow: "It can learn from the pictures you just took and become more like you. That takes about four minutes of this machine\u2019s spare time, beside a call or whatever you do.",
  learning: "It is learning now, and goes on when you close this.",
  remove: "Delete your avatar?",
  removeHow: "It is deleted from this machine, and whoever you meet in a call again is asked to delete their copy. You are shown as the sample avatar. This cannot be undone.",
  discard: "Leave without this avatar?",
  discardHow: "It is not in use yet. If you leave now, it and the pictures are gone; your avatar from before stays.",
  gone: "The program on this machine does not answer. This goes on by itself when it is back.",
  superseded: "Your avatar is being made in another tab.",
};
