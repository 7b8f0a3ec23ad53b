// The figures under the pictures. Pictures per second are counted here, where they are shown; the rest comes from /api/stats.

const POLL_MS = 1000;
const WINDOW_MS = 2000;
const MISSES = 2; // polls in a row without an answer before the program counts as gone

/** Pictures that really reach the screen, over the last two seconds. */
export class PictureRate {
  #times = [];

  /** @param {HTMLVideoElement} video @param {() => void} onPicture called for each picture shown */
  constructor(video, onPicture) {
    if (!("requestVideoFrameCallback" in video)) {
      video.addEventListener("timeupdate", onPicture);
      this.unknown = true;
      return;
    }
    const shown = (now) => {
      this.#times.push(now);
      while (this.#times[0] < now - WINDOW_MS) this.#times.shift();
      onPicture();
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  /** Pictures per second; null where the browser cannot tell, or shows none because the page is hidden. */
  get perSecond() {
    if (this.unknown || document.hidden) return null;
    const since = performance.now() - WINDOW_MS;
    return this.#times.filter((time) => time >= since).length / (WINDOW_MS / 1000);
  }
}

/**
 * Ask for the figures once a second, for ever.
 * @param {() => string[]} urls
 * @param {(stats: object) => void} onStats
 * @param {() => void} onGone called at every poll from the second miss on
 */
export async function pollStats(urls, onStats, onGone) {
  let missed = 0;
  for (;;) {
    const began = performance.now();
    try {
      onStats(await readStats(urls()));
      missed = 0;
    } catch {
      missed += 1;
      if (missed >= MISSES) onGone();
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(POLL_MS / 4, POLL_MS - (performance.now() - began))));
  }
}

async function readStats(urls) {
  const answers = await Promise.all(urls.map(async (url) => {
    const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(3 * POLL_MS) });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return response.json();
  }));
  const known = (stats) => Object.fromEntries(Object.entries(stats).filter(([, value]) => value !== null));
  return Object.assign({}, ...answers.map(known));
}

/** Write the figures into the page; an edge that does not know the picture's whole age knows the age between edges. */
export function showFigures(root, stats, perSecond) {
  const values = {
    ...stats,
    fps: perSecond,
    age_ms_p50: stats.age_ms_p50 ?? stats.edge_ms_p50,
    age_ms_p95: stats.age_ms_p95 ?? stats.edge_ms_p95,
  };
  for (const cell of root.querySelectorAll("[data-figure]")) {
    const { number, unit } = figure(cell.dataset.figure, values[cell.dataset.figure]);
    const small = document.createElement("small");
    small.textContent = unit;
    cell.replaceChildren(number, ...(unit ? [" ", small] : []));
  }
}

/** One figure as `{number, unit}`; a dash for what nobody knows. */
function figure(name, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return { number: "\u2013", unit: "" };
  if (name.endsWith("_kbps")) return { number: value.toFixed(value < 100 ? 1 : 0), unit: "kbit/s" };
  if (name.includes("_ms_")) return { number: value.toFixed(0), unit: "ms" };
  if (name === "fps") return { number: value.toFixed(0), unit: "per second" };
  return { number: value.toFixed(0), unit: "" };
}
