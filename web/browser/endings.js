// Why a page by itself is not, or no longer, in a call: in words for the user.

import { CallError } from "../call/call.js";

const REFUSALS = {
  token: ["refused", "This link is not good any more. Ask whoever sent it for a new one."],
  full: ["full", "The room is full."],
  replaced: ["refused", "This call goes on in another tab or window."],
};
const FETCHING = /fetch|network|load failed/i; // what browsers call a fetch that failed

/** Whether a call can be tried at all. @param {{problem: string|null}} config @throws {CallError} */
export function checkPossible({ problem }) {
  if (problem) throw new CallError("incomplete", `${problem[0].toUpperCase()}${problem.slice(1)}.`);
  if (globalThis.RTCPeerConnection && globalThis.WebAssembly && globalThis.OffscreenCanvas) return;
  throw new CallError("unsupported", "This browser cannot take part by itself: it lacks WebRTC, WebAssembly or canvases for workers. A newer one has all of them.");
}

/** The hub has refused us for good. @returns {CallError} */
export function refused(code, message) {
  const [kind, text] = REFUSALS[code] ?? ["refused", message];
  return new CallError(kind, text);
}

/** What is needed did not come, or does not work here. @returns {CallError} */
export function whyNot(error) {
  if (error instanceof CallError) return error;
  console.info(error.message);
  const fetching = error instanceof TypeError && FETCHING.test(error.message);
  if (fetching) return new CallError("unreachable", "What draws the avatars cannot be fetched from the hub. Look at your network, then try again.");
  return new CallError("unsupported", `This browser cannot take part by itself: ${error.message}`);
}
