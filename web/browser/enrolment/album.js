// Photos of which an avatar is to be made: the twin of telepresence/avatar/photos.py, and of what enrol.py does with them, from
// where the face in each is known.

import { toSquare } from "../../face/motion.js";
import { choose, missing } from "./choose.js";
import { COLOUR, FRONTAL, GREY, colourfulness, flaw, touchesEdge, turnDegrees } from "./flaws.js";
import { MAX_SIDE } from "./file.js";
import { chooseSquare } from "./framing.js";
import { OTHER_PERSON, REFERENCES } from "./gathered.js";
import { brightMouth, describe, sharpness } from "./looks.js";
import { matteOf, onlyPerson } from "./matte.js";
import { difference, neutralShape } from "./neutral.js";
import { backgroundPlate } from "./plate.js";
import { EnrolmentError } from "./problems.js";

const DOUBTFUL = 0.016; // of `difference`, against the mean shape of the others
const TURNED_SHAPE = 25; // degrees: the shape of a head turned further is too rough to call it somebody else's

/** Usable photos, cut to the avatar's framing. */
export class Album {
  #photos = [];

  clear() { this.#photos = []; }

  /** @returns {string[]} what is to be said of it @throws {EnrolmentError} it cannot be used */
  add(photo, face, name) {
    const square = chooseSquare(photo.width, photo.height, [face], name);
    const reason = flaw(photo, face);
    if (reason) throw new EnrolmentError(`${name}: ${reason}`);
    const lacking = touchesEdge(photo, face);
    const side = Math.min(MAX_SIDE, square.side);
    const landmarks = square.landmarks(face, side);
    const neutral = neutralShape([toSquare(landmarks, side, side)]);
    this.#photos.push({ name, picture: square.cut(photo, side), side, landmarks, neutral, turn: turnDegrees(photo, face), colour: colourfulness(photo, face) });
    return lacking ? [`${name}: ${lacking}`] : [];
  }

  /**
   * @returns {Promise<{made: import("./file.js").Made, lacking: string[], said: string[]}>}
   * @throws {EnrolmentError} there is none
   */
  async make(name, masked) {
    const said = [];
    if (!this.#photos.length) throw new EnrolmentError("no photo has come; choose them again");
    const photos = onePerson(oneColouring(this.#photos, said), said);
    const neutral = neutralShape(photos.map(({ landmarks, side }) => toSquare(landmarks, side, side)));
    const looks = photos.map(({ picture, landmarks, side }) => describe(landmarks, neutral, side, side, sharpness(picture, landmarks), brightMouth(picture, landmarks)));
    const chosen = choose(looks, REFERENCES);
    const first = photos[chosen[0]];
    if (first.turn > FRONTAL) said.push(`${first.name}: turned away by ${first.turn.toFixed()} degrees, and no photo is closer to the front; add one that looks into the camera`);
    const references = [];
    for (const i of chosen) {
      const { picture, landmarks, side } = photos[i];
      references.push({ picture, landmarks, matte: onlyPerson(matteOf(picture, await masked(picture)), side, side, landmarks) });
    }
    const background = backgroundPlate([references[0].picture], [references[0].matte]);
    return { made: { name, references, neutral, background }, lacking: missing(chosen.map((i) => looks[i])), said };
  }
}

/** Leave out black-and-white photos among coloured ones, or the other way round: the avatar would flicker. */
function oneColouring(photos, said) {
  const grey = photos.filter(({ colour }) => colour < GREY);
  const coloured = photos.filter(({ colour }) => colour > COLOUR);
  if (!grey.length || !coloured.length) return photos;
  const [few, what] = grey.length <= coloured.length ? [grey, "black and white"] : [coloured, "in colour"];
  for (const { name } of few) said.push(`left out: ${name}: ${what}, unlike the others; replace it with one like them`);
  return photos.filter((photo) => !few.includes(photo));
}

/** Leave out photos of somebody else than most are of; of two alike in number, whoever was given first counts. */
export function onePerson(photos, said) {
  const shapes = photos.map(({ neutral }) => neutral);
  const alike = shapes.map((one) => shapes.map((other) => difference(one, other) < DOUBTFUL));
  const counts = alike.map((row) => row.filter(Boolean).length);
  const group = alike[counts.indexOf(Math.max(...counts))].flatMap((is, n) => (is ? [n] : []));
  return photos.filter((photo, n) => {
    const rest = group.filter((i) => i !== n);
    const others = (rest.length ? rest : group.slice(0, 1)).map((i) => shapes[i]);
    const apart = difference(photo.neutral, photo.neutral.map((_, i) => others.reduce((sum, shape) => sum + shape[i], 0) / others.length));
    if (group.includes(n) || apart < DOUBTFUL) return true;
    const names = group.slice(0, 3).filter((i) => i !== n).map((i) => photos[i].name).join(", ");
    const doubtful = apart < OTHER_PERSON || photo.turn > TURNED_SHAPE;
    said.push(doubtful ? `${photo.name}: may be somebody else than in ${names}; look at it, and replace it if so`
      : `left out: ${photo.name}: looks like somebody else than in ${names}; replace it with one of the same person, seen from about the same distance`);
    return doubtful;
  });
}
