// What of the browser's call is heavy, loaded while the lobby is looked at: tables, what finds faces, what draws.

import { loadBasis } from "../face/basis.js";
import { Playout } from "../face/playout.js";
import { Puppet } from "../face/puppet.js";
import { createEngine } from "./engine.js";
import { Landmarks, warmUp } from "./landmarks.js";

/** @param {{engines: string, engine: string, sample_avatar: string, size: number}} config */
export async function loadParts({ engines, engine: name, sample_avatar: sample, size }) {
  warmUp().catch(() => {}); // not waited for: who cannot be followed takes part with an avatar at rest
  const [engine] = await Promise.all([createEngine({ engines, name, size, sample }), loadBasis()]);
  return {
    engine,
    Landmarks,
    newPlayout: () => new Playout({ forget: true }),
    newPuppet: (prepared) => new Puppet(prepared),
  };
}
