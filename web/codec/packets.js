// Messages of the motion channel that are not motion, and what all have in common: the twin of telepresence/wire/packets.py.
// Times are microseconds; a double holds them exactly for 285 years.

export const VERSION = 1;
export const MAX_PACKET_BYTES = 1160;
export const KIND_PLAIN = 1;
export const KIND_PING = 2;
export const KIND_PONG = 3;
export const KIND_WHOLE = 4;
export const KIND_DELTA = 5;
export const KIND_ACK = 6;
export const ACK_WINDOW = 32;

/** Bytes from the network that are not a packet of a known version: count it and go on. */
export class PacketError extends Error {}

/** A packet refers to a motion that this end does not hold; the next acknowledgement tells the sender. */
export class MissingReferenceError extends PacketError {}

export const firstByte = (kind) => (VERSION << 4) | kind;

/** Kind of a message; throws PacketError if it is of no known version. */
export function kindOf(data) {
  if (data.length > MAX_PACKET_BYTES) throw new PacketError(`${data.length} bytes; at most ${MAX_PACKET_BYTES}`);
  if (!data.length) throw new PacketError("an empty packet");
  if (data[0] >> 4 !== VERSION) throw new PacketError(`packet version ${data[0] >> 4}; this page knows ${VERSION}`);
  return data[0] & 15;
}

export const view = (data) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** Reads an unsigned 64-bit integer; times beyond 2^53 microseconds are no times. */
export function readTime(data, at) {
  return checkTime(view(data).getUint32(at) * 2 ** 32 + view(data).getUint32(at + 4));
}

export function checkTime(time) {
  if (time > Number.MAX_SAFE_INTEGER) throw new PacketError("a time beyond 2^53 microseconds");
  return time;
}

export function writeTime(data, at, time) {
  view(data).setUint32(at, Math.floor(time / 2 ** 32));
  view(data).setUint32(at + 4, time % 2 ** 32);
}

/** {newest, mask} -> bytes; newest null: nothing is held. */
export function encodeAck({ newest, mask = 0 }) {
  if (newest === null) return Uint8Array.of(firstByte(KIND_ACK));
  const data = new Uint8Array(7);
  data[0] = firstByte(KIND_ACK);
  view(data).setUint16(1, newest & 0xffff);
  view(data).setUint32(3, mask >>> 0);
  return data;
}

export function decodeAck(data) {
  if (kindOf(data) !== KIND_ACK || (data.length !== 1 && data.length !== 7)) throw new PacketError("no acknowledgement");
  if (data.length === 1) return { kind: "ack", newest: null, mask: 0 };
  return { kind: "ack", newest: view(data).getUint16(1), mask: view(data).getUint32(3) };
}

/** {kind: "ping", sequence, sentUs} or {kind: "pong", sequence, sentUs, answeredUs} -> bytes. */
export function encodePing(packet) {
  const pong = packet.kind === "pong";
  const data = new Uint8Array(pong ? 22 : 14);
  data[0] = firstByte(pong ? KIND_PONG : KIND_PING);
  view(data).setUint32(2, packet.sequence);
  writeTime(data, 6, packet.sentUs);
  if (pong) writeTime(data, 14, packet.answeredUs);
  return data;
}

export function decodePing(data) {
  const kind = kindOf(data);
  if (kind === KIND_PING && data.length === 14) {
    return { kind: "ping", sequence: view(data).getUint32(2), sentUs: readTime(data, 6) };
  }
  if (kind === KIND_PONG && data.length === 22) {
    const sequence = view(data).getUint32(2);
    return { kind: "pong", sequence, sentUs: readTime(data, 6), answeredUs: readTime(data, 14) };
  }
  throw new PacketError(`packet kind ${kind} with ${data.length} bytes`);
}
