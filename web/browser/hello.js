// The control channel's messages: who speaks what, and which avatar. The twin of telepresence/rtc/hello.py; docs/edge.md
// specifies every field.

import { PARSERS as OWNERS } from "../owner/presence.js";
import { ProtocolError, checkedInteger, checkedName, parseObject, printable } from "./rules.js";
import { MAX_AVATAR_BYTES, parseOffer } from "./transfer.js";

export const PROTOCOL = 1;
export const SCHEMAS = [1];
const MAX_BYTES = 16 * 1024;
const MAX_SCHEMAS = 16;
const MAX_TEXT = 300;
const MAX_PAGE_MS = 60_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Message -> UTF-8 JSON. One of
 * {type: "hello", schemas, avatar: {sha256, size, epoch} | null}, {type: "want", sha256, start},
 * {type: "state", name, muted, camera, sound, pageMs?: number}, {type: "refuse", code, message}; what ../owner/gate.js
 * sends goes as it is.
 */
export function encode({ type, ...fields }) {
  if (type === "hello") fields = { protocol: PROTOCOL, ...fields };
  if (type === "state") {
    const { pageMs, ...state } = fields;
    fields = Number.isFinite(pageMs) ? { ...state, page_ms: pageMs } : state;
  }
  return encoder.encode(JSON.stringify({ type, ...fields }));
}

/** A message of the control channel; null for a type of a later version. @throws {ProtocolError} */
export function parse(data) {
  const size = typeof data === "string" ? data.length : data.byteLength;
  if (size > MAX_BYTES) throw new ProtocolError(`a control message of ${size} bytes`);
  const fields = parseObject(typeof data === "string" ? data : text(data));
  if (typeof fields.type !== "string") throw new ProtocolError("a control message without a type");
  return Object.hasOwn(PARSERS, fields.type) ? { type: fields.type, ...PARSERS[fields.type](fields) } : null;
}

/** The motion schema to use with whom said `hello`, {schema}; or {refuse}, why there is none. */
export function agreed(schemas, hello) {
  if (hello.protocol !== PROTOCOL) {
    const message = `no common protocol: ${PROTOCOL} here, ${hello.protocol} there; update the older telepresence`;
    return { refuse: { type: "refuse", code: "protocol", message } };
  }
  const common = schemas.filter((schema) => hello.schemas.includes(schema));
  if (common.length) return { schema: Math.max(...common) };
  const message = `no common motion schema: [${schemas}] and [${hello.schemas}]; update the older telepresence`;
  return { refuse: { type: "refuse", code: "schema", message } };
}

const PARSERS = {
  ...OWNERS,
  hello({ protocol, schemas, avatar }) {
    if (!Array.isArray(schemas) || !schemas.length || schemas.length > MAX_SCHEMAS) throw new ProtocolError("hello.schemas");
    return {
      protocol: checkedInteger(protocol, "protocol", 2 ** 31),
      schemas: schemas.map((schema) => checkedInteger(schema, "schemas", 255)),
      avatar: avatar == null ? null : parseOffer(avatar),
    };
  },
  want({ sha256, start }) {
    if (typeof sha256 !== "string" || sha256.length !== 64) throw new ProtocolError("want.sha256");
    return { sha256, start: checkedInteger(start, "start", MAX_AVATAR_BYTES) };
  },
  refuse({ code, message }) {
    if (typeof code !== "string" || typeof message !== "string" || code.length > 32) throw new ProtocolError("refuse");
    return { code, message: [...message].slice(0, MAX_TEXT).filter(printable).join("") };
  },
  state({ name = "", muted = false, camera = true, sound = false, page_ms: pageMs = null }) {
    for (const value of [muted, camera, sound]) if (typeof value !== "boolean") throw new ProtocolError("state");
    if (pageMs !== null && !(Number.isFinite(pageMs) && pageMs >= 0 && pageMs <= MAX_PAGE_MS)) throw new ProtocolError("state.page_ms");
    return { name: checkedName(name), muted, camera, sound, pageMs };
  },
};

function text(data) {
  try {
    return decoder.decode(data);
  } catch {
    throw new ProtocolError("not UTF-8");
  }
}
