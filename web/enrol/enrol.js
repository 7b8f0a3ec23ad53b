// One's own avatar, wherever the page has a place for it: what one is shown as, the way to make another, how refining
// goes. Pages only call `mountEnrolment`.

import { make, write } from "../ui/dom.js";
import { EnrolDialog } from "./dialog.js";
import { button } from "./parts.js";
import { Session } from "./session.js";
import { makeLabel, tuningWords, wornWords } from "./words.js";

const TOLD_MS = 9000; // that the end of refining is shown

/**
 * @param {object} page
 * @param {Session|null} [page.session]  who makes it, if that is not an edge
 * @param {() => Promise<{url: string, token: string} | null>} page.find  where the edge's enrolment is now
 * @param {HTMLElement[]} page.places  that show what one is shown as
 * @param {HTMLElement} page.status  where it is told how refining goes
 * @param {() => MediaStreamTrack|null} page.camera  the page's own, if it is on
 * @param {() => string} page.name  what one is called
 */
export function mountEnrolment(page) {
  const session = page.session ?? new Session(page.find);
  const rows = page.places.map(() => row(() => dialog.begin()));
  const dialog = new EnrolDialog(session, { ...page, closed: () => show() });
  const pill = refining(() => session.send("stop"));
  page.places.forEach((place, nth) => place.replaceChildren(rows[nth].element));
  page.status.append(pill.element);
  let pictured = "";

  async function show() {
    for (const one of rows) one.show(session);
    const { own } = session;
    const key = own && `${own.worn} ${own.name} ${own.label} ${own.made}`;
    if (!key || !session.linked) return;
    if (key !== pictured || session.stale) {
      [pictured, session.stale] = [key, false];
      const blob = await session.picture();
      const url = blob ? URL.createObjectURL(blob) : "";
      for (const one of rows) one.picture(url);
      if (page.url) URL.revokeObjectURL(page.url);
      page.url = url;
    }
  }

  for (const type of ["own", "link", "guide", "superseded"]) session.addEventListener(type, show);
  for (const type of ["kept", "deleted"]) session.addEventListener(type, () => { session.stale = true; });
  session.addEventListener("tuning", ({ detail }) => {
    if (detail.state === "better") session.stale = true;
    pill.show(detail);
  });
  session.connect();
  return { session, dialog };
}

/** A line with what one is shown as, and a button. */
function row(begin) {
  const image = make("img", { alt: "", hidden: "" });
  const words = make("span", { className: "worn" }), before = make("span", { className: "soft small" }, "You are shown as");
  const open = button("Make your avatar", begin, "", { act: "enrol" });
  const element = make("div", { className: "enrol-row", dataset: { testid: "own-avatar" } }, image, make("div", { className: "worn-as" }, before, words), open);
  return {
    element,
    picture(url) {
      image.hidden = !url;
      if (url) image.src = url;
    },
    show({ own, guide, linked }) {
      write(words, wornWords(own));
      write(open, makeLabel(own, guide.state));
      open.disabled = !linked && !own;
    },
  };
}

/** How refining goes, in a corner of the page. */
function refining(stop) {
  const bar = make("progress", { max: "1", value: "0", "aria-label": "Refining your avatar" });
  const words = make("span", { className: "refining-words" });
  const end = button("Stop", stop, "plain");
  const element = make("div", { className: "refining", role: "status", dataset: { testid: "refining" } }, words, bar, end);
  element.hidden = true;
  let timer = 0;
  return {
    element,
    show(told) {
      clearTimeout(timer);
      const running = told.state === "running";
      element.hidden = false;
      element.dataset.state = told.state;
      bar.hidden = end.hidden = !running;
      bar.value = told.share;
      write(words, tuningWords(told));
      if (!running) timer = setTimeout(() => { element.hidden = true; }, TOLD_MS);
    },
  };
}
