// What this browser keeps of avatars: what one is shown as, what one has made, and those of others, so that they need not come again. IndexedDB; where
// that may not be used, for as long as the page is open.

const NAME = "telepresence-avatars";
const OWN = "own"; // what one is shown as
const MADE = "made"; // in this browser
const MOST_BYTES = 64 * 1024 * 1024; // of the others' avatars; the least recently used go first
const KEPT_MS = 7 * 24 * 3600 * 1000; // of the others' avatars, since they were used last
const WAIT_MS = 3000;

/** Keys to {data, name, size, usedMs}. Nothing here throws: what cannot be kept comes again. */
export class Store {
  #held = new Map();
  #opened = null;

  /** What one is shown as: {name, data}, or null. @returns {Promise<{name: string, data: Uint8Array}|null>} */
  async own() { return this.#get(OWN); }

  /** @param {{name: string, data: Uint8Array}|null} avatar */
  async setOwn(avatar) { await this.#set(OWN, avatar); }

  /** What one has made here, whether one is shown as it or not. */
  async made() { return this.#get(MADE); }

  /** @param {{name: string, data: Uint8Array}|null} avatar */
  async setMade(avatar) { await this.#set(MADE, avatar); }

  /** Another's avatar by its hash; verified when it was kept. @returns {Promise<Uint8Array|null>} */
  async find(sha256) {
    const found = await this.#get(`sha256:${sha256}`);
    if (found && found.usedMs < Date.now() - KEPT_MS) {
      await this.drop(sha256);
      return null;
    }
    if (found) this.#put(`sha256:${sha256}`, found);
    return found?.data ?? null;
  }

  /** Forget another's avatar. */
  async drop(sha256) {
    this.#held.delete(`sha256:${sha256}`);
    await this.#do("readwrite", (kept) => kept.delete(`sha256:${sha256}`));
  }

  async keep(sha256, data) {
    await this.#put(`sha256:${sha256}`, { name: "", data });
    const all = (await this.#do("readonly", (kept) => kept.getAll())) ?? [...this.#held.values()];
    let left = MOST_BYTES;
    for (const one of all.filter(({ key }) => key !== OWN && key !== MADE).sort((a, b) => b.usedMs - a.usedMs)) {
      left -= one.data.length;
      if (left >= 0 && one.usedMs >= Date.now() - KEPT_MS) continue;
      this.#held.delete(one.key);
      await this.#do("readwrite", (kept) => kept.delete(one.key));
    }
  }

  async #get(key) {
    return this.#held.get(key) ?? (await this.#do("readonly", (all) => all.get(key))) ?? null;
  }

  async #set(key, avatar) {
    if (avatar) return void await this.#put(key, avatar);
    this.#held.delete(key);
    await this.#do("readwrite", (all) => all.delete(key));
  }

  async #put(key, { name, data }) {
    const entry = { key, name, data, usedMs: Date.now() };
    if (key === OWN || key === MADE) this.#held.set(key, entry);
    if ((await this.#do("readwrite", (all) => all.put(entry))) === undefined) this.#held.set(key, entry);
  }

  /** One request; undefined if it cannot be done. */
  async #do(mode, ask) {
    try {
      this.#opened ??= open();
      const database = await this.#opened;
      return await answered(ask(database.transaction(NAME, mode).objectStore(NAME)));
    } catch (error) {
      console.info(`avatars are not kept: ${error.message}`);
      return undefined;
    }
  }
}

function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(NAME, { keyPath: "key" });
  return answered(request);
}

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds them"));
    setTimeout(() => reject(new Error("no answer")), WAIT_MS);
  });
}
