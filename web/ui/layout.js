// How big tiles can be. Pure.

const NARROWEST = 0.75, WIDEST = 1.12; // width by height: avatars are drawn square, and a head needs its height

/**
 * The largest tiles that fit.
 * @param {number} count  of tiles, 1 or more @param {number} width @param {number} height  of the place, CSS pixels
 * @param {number} gap  between tiles
 * @returns {{columns: number, width: number, height: number}}
 */
export function arrange(count, width, height, gap) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tile = fitted((width - gap * (columns - 1)) / columns, (height - gap * (rows - 1)) / rows);
    if (tile.width * tile.height > best.width * best.height) best = { columns, ...tile };
  }
  return best;
}

function fitted(width, height) {
  const [w, h] = [Math.max(0, width), Math.max(0, height)];
  if (w > h * WIDEST) return { width: Math.floor(h * WIDEST), height: Math.floor(h) };
  if (w < h * NARROWEST) return { width: Math.floor(w), height: Math.floor(w / NARROWEST) };
  return { width: Math.floor(w), height: Math.floor(h) };
}
