// One request to a store of IndexedDB that has a database to itself.

const WAIT_MS = 3000;
const STORE = "all";
const opened = new Map();

/**
 * @template T
 * @param {string} name  of the database
 * @param {"readonly"|"readwrite"} mode
 * @param {(all: IDBObjectStore) => IDBRequest<T>} ask
 * @returns {Promise<T>} once it is on the disk
 * @throws {DOMException|Error} it may not be used, or does not answer
 */
export async function asking(name, mode, ask) {
  if (!opened.has(name)) opened.set(name, open(name).catch((error) => { opened.delete(name); throw error; }));
  const transaction = (await opened.get(name)).transaction(STORE, mode);
  const request = ask(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(request.error ?? transaction.error);
  });
}

function open(name) {
  const request = globalThis.indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds it"));
    setTimeout(() => reject(new Error("no answer")), WAIT_MS);
  });
}
