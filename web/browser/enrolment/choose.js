// Which pictures of a person become references: one at rest, then those that differ most in expression and pose. The second
// half of telepresence/avatar/choose.py, which explains the bounds.

import { median, percentile } from "./numbers.js";

const SHUT = 0.45; // of the usual lid opening: below it the eyes are shut
const AWAKE = 0.85; // below it a blink may be under way
const OPEN_MOUTH = 0.12; // canonical units between the inner lips
const TURNED = 0.25; // radians of yaw
const TEETH = 0.02; // bright part of the mouth, canonical units squared
const NEAR = 0.5; // steps: as good as the same picture, so the sharper one is taken
const DISTINCT = 0.75; // steps: a picture nearer than this to a chosen one adds nothing
const ODD = 3; // medians: a face whose bones fit this much worse than usual is mistracked, or someone else
const FEW = 12; // of so many and more the blurred and the mistracked are left out

/** Pick up to `count` looks, the one closest to rest first; fewer where the rest would add nothing. @returns {number[]} */
export function choose(looks, count) {
  const usable = usableOf(looks);
  const chosen = [firstOf(looks, usable)];
  const apart = (i) => distance(looks, i, chosen);
  for (const extreme of extremes(looks, usable)) {
    if (chosen.length < count && apart(extreme) > DISTINCT) chosen.push(sharper(looks, usable, extreme));
  }
  while (chosen.length < count) {
    const farthest = best(usable, apart);
    if (apart(farthest) < DISTINCT) break;
    chosen.push(sharper(looks, usable, farthest));
  }
  return [...new Set(chosen)];
}

/** What an avatar's references do not show and a generator would have to invent. @returns {string[]} */
export function missing(looks) {
  const usual = Math.max(...looks.map(({ lids }) => lids));
  const seen = {
    "the mouth open": looks.some(({ mouth }) => mouth > OPEN_MOUTH),
    "teeth in a smile": looks.some(({ teeth }) => teeth > TEETH),
    "the eyes shut": looks.some(({ lids }) => lids < SHUT * usual),
    "the head turned to one side": looks.some(({ yaw }) => yaw < -TURNED),
    "the head turned to the other side": looks.some(({ yaw }) => yaw > TURNED),
  };
  return Object.keys(seen).filter((what) => !seen[what]);
}

/** The first of those for which something is largest. */
function best(indices, worth) {
  let found = indices[0];
  let most = -Infinity;
  for (const i of indices) {
    const value = worth(i);
    if (value > most) [found, most] = [i, value];
  }
  return found;
}

/** Without the blurred and the mistracked, where there is something else. */
function usableOf(looks) {
  const all = looks.map((_, i) => i);
  if (looks.length < FEW) return all;
  const sharp = median(looks.map(({ sharpness }) => sharpness));
  const misfit = median(looks.map((look) => look.misfit));
  const good = all.filter((i) => looks[i].sharpness >= 0.6 * sharp && looks[i].misfit <= ODD * misfit);
  return good.length ? good : all;
}

/** Nearest to rest among those whose eyes are open, and the sharpest of those that are nearly as near. */
function firstOf(looks, usable) {
  const usual = percentile(usable.map((i) => looks[i].lids), 60);
  const open = usable.filter((i) => looks[i].lids >= AWAKE * usual);
  const awake = open.length ? open : usable;
  const least = Math.min(...awake.map((i) => looks[i].rest));
  return best(awake.filter((i) => looks[i].rest <= least + NEAR), (i) => looks[i].sharpness);
}

/** What a generator cannot make up: an open mouth, shut lids, teeth, both sides of the head. */
function extremes(looks, usable) {
  const usual = percentile(usable.map((i) => looks[i].lids), 60);
  const opened = best(usable, (i) => looks[i].mouth);
  const shut = best(usable, (i) => -looks[i].lids);
  const teeth = best(usable, (i) => looks[i].teeth);
  const [left, right] = [best(usable, (i) => -looks[i].yaw), best(usable, (i) => looks[i].yaw)];
  const there = [ // one picture may be several of these
    [opened, looks[opened].mouth > OPEN_MOUTH / 2],
    [shut, looks[shut].lids < SHUT * usual],
    [teeth, looks[teeth].teeth > TEETH / 2],
    [left, looks[left].yaw < -TURNED / 2],
    [right, looks[right].yaw > TURNED / 2],
  ];
  return there.filter(([, worth]) => worth).map(([index]) => index);
}

function sharper(looks, usable, index) {
  const near = usable.filter((i) => between(looks[i].features, looks[index].features) <= NEAR);
  return best([...near, index], (i) => looks[i].sharpness);
}

const distance = (looks, index, chosen) => Math.min(...chosen.map((i) => between(looks[i].features, looks[index].features)));

function between(one, other) {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += (one[i] - other[i]) ** 2;
  return Math.sqrt(sum);
}
