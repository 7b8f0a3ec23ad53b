// The overlay's figures of a page by itself, named as those of GET /api/stats (docs/edge.md).

const WINDOW = 6; // readings, one a second, over which bytes are counted

export class Figures {
  #bytes = []; // {at, sent, received} on motion channels
  #wire = []; // the same of whole connections

  /**
   * @param {{engine: object, name: string, network: import("./network.js").Network, drawing: import("./drawing.js").Drawing,
   *   sending: import("./sending.js").Sending, hearing: import("./hearing.js").Hearing}} of  name: the engine's
   */
  constructor(of) {
    this.of = of;
  }

  /** Now, about once a second. @param {boolean} camera  whether there is one: what it sends is told then, else what comes */
  read(camera) {
    const { engine, name, network, drawing, sending, hearing } = this.of;
    const now = performance.now();
    const peers = [...network.others.values()].map(({ peer }) => peer);
    const sum = (field) => peers.reduce((total, { counters }) => total + counters[field], 0);
    this.#bytes = [...this.#bytes, { at: now, sent: sum("sentBytes"), received: sum("receivedBytes") }].slice(-WINDOW);
    this.#look(peers);
    const { fps, renderMs, ageMs } = drawing.figures(now);
    const { cameraFps, landmarksMs, faces } = sending.figures(now);
    return {
      ...hearing.lips,
      fps, faces,
      drawn_by: [name, engine.size, engine.drawnBy].join(" \u00b7 "),
      engine: name,
      size: engine.size,
      threads: engine.threads,
      camera_fps: cameraFps,
      landmarks_by: sending.where,
      landmarks_ms_p50: landmarksMs[0],
      landmarks_ms_p95: landmarksMs[1],
      render_ms_p50: renderMs[0],
      render_ms_p95: renderMs[1],
      age_ms_p50: ageMs[0],
      age_ms_p95: ageMs[1],
      sent: sum("sent"),
      skipped: sum("skipped"),
      received: sum("received"),
      violations: network.violations,
      rebuilds: peers.reduce((total, { rebuilds }) => total + rebuilds, 0),
      dropped: drawing.dropped,
      payload_kbps: rate(this.#bytes, camera ? "sent" : "received"),
      wire_kbps: rate(this.#wire, camera ? "sent" : "received"),
      rtt_ms: peers.find((peer) => peer.clock?.known)?.clock.rttUs / 1000,
    };
  }

  /** For the next reading: asking a connection takes a moment. */
  async #look(peers) {
    const found = (await Promise.all(peers.map((peer) => peer.wire()))).filter(Boolean);
    const sum = (way) => found.reduce((total, one) => total + one[way], 0);
    this.#wire = [...this.#wire, { at: performance.now(), sent: sum("sent"), received: sum("received") }].slice(-WINDOW);
  }
}

/** kbit/s over the last seconds; null at first, and when a connection has gone. */
function rate(readings, way) {
  const [first, last] = [readings[0], readings.at(-1)];
  const seconds = last ? (last.at - first.at) / 1000 : 0;
  return seconds > 0 && last[way] >= first[way] ? ((last[way] - first[way]) * 8) / 1000 / seconds : null;
}
