/** The model's maps as pictures: coloured, with a threshold, or as outlines. */
import { DIVERGING, TABLES } from "./colours.js";

const SIDE = 512; // of the picture that a map becomes; the canvas stretches it over the square

/**
 * @typedef {{rows: number, columns: number, values: Float32Array, isSigned: boolean}} MapData values 0..1, evidence -1..1
 */

/** @param {{height: number, width: number, values: string}} packed @param {boolean} isSigned @returns {MapData} */
export function unpack({ height, width, values }, isSigned = false) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const numbers = isSigned ? Float32Array.from(new Int8Array(bytes.buffer), (v) => v / 127) : Float32Array.from(bytes, (v) => v / 255);
  return { rows: height, columns: width, values: numbers, isSigned };
}

/** Strongest place of a map; its own scale is what the colours show. @param {MapData} map */
function peakOf(map) {
  const sorted = Float32Array.from(map.values, Math.abs).sort();
  return Math.max(sorted[Math.floor(0.995 * (sorted.length - 1))], 1e-6);
}

/** A map between its cells' centres, as shares of its peak. @returns {Float32Array} (side * side) */
function stretched(map, side) {
  const { rows, columns, values } = map;
  const peak = peakOf(map);
  const result = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    const fy = Math.min(Math.max(((y + 0.5) * rows) / side - 0.5, 0), rows - 1);
    const y0 = Math.floor(fy);
    const y1 = Math.min(y0 + 1, rows - 1);
    for (let x = 0; x < side; x++) {
      const fx = Math.min(Math.max(((x + 0.5) * columns) / side - 0.5, 0), columns - 1);
      const x0 = Math.floor(fx);
      const x1 = Math.min(x0 + 1, columns - 1);
      const upper = values[y0 * columns + x0] + (values[y0 * columns + x1] - values[y0 * columns + x0]) * (fx - x0);
      const lower = values[y1 * columns + x0] + (values[y1 * columns + x1] - values[y1 * columns + x0]) * (fx - x0);
      result[y * side + x] = (upper + (lower - upper) * (fy - y0)) / peak;
    }
  }
  return result;
}

/**
 * A map's picture over the square.
 * @param {MapData} map @param {string} colours a key of TABLES @param {number} threshold share of the peak, 0..1
 * @returns {HTMLCanvasElement}
 */
export function coloured(map, colours, threshold) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  const table = map.isSigned ? DIVERGING : TABLES[colours];
  const shares = stretched(map, SIDE);
  for (let i = 0; i < shares.length; i++) {
    const share = Math.min(Math.max(shares[i], -1), 1);
    const strength = Math.abs(share);
    const entry = 3 * (map.isSigned ? Math.round(127.5 + 127.5 * share) : Math.round(255 * Math.max(share, 0)));
    image.data.set(table.subarray(entry, entry + 3), 4 * i);
    // Solid from the threshold on, with an edge soft enough not to look like something drawn.
    image.data[4 * i + 3] = 255 * Math.min(Math.max((strength - threshold + 0.02) / 0.04, 0), 1) * (0.5 + 0.5 * strength);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/**
 * Lines of equal attention, in shares of the square's side, by marching squares.
 * @param {MapData} map @param {number} level share of the peak @returns {Path2D}
 */
export function outline(map, level) {
  const side = 192;
  const shares = stretched(map, side);
  const path = new Path2D();
  const value = (x, y) => Math.abs(shares[y * side + x]) - level;
  // Where the line crosses each side of a cell: top, right, bottom, left.
  const crossing = [
    (x, y) => [x + value(x, y) / (value(x, y) - value(x + 1, y)), y],
    (x, y) => [x + 1, y + value(x + 1, y) / (value(x + 1, y) - value(x + 1, y + 1))],
    (x, y) => [x + value(x, y + 1) / (value(x, y + 1) - value(x + 1, y + 1)), y + 1],
    (x, y) => [x, y + value(x, y) / (value(x, y) - value(x, y + 1))],
  ];
  for (let y = 0; y + 1 < side; y++) {
    for (let x = 0; x + 1 < side; x++) {
      const corners = [value(x, y) > 0, value(x + 1, y) > 0, value(x + 1, y + 1) > 0, value(x, y + 1) > 0];
      const crossed = [0, 1, 2, 3].filter((edge) => corners[edge] !== corners[(edge + 1) % 4]);
      for (let i = 0; i + 1 < crossed.length; i += 2) {
        const [ax, ay] = crossing[crossed[i]](x, y);
        const [bx, by] = crossing[crossed[i + 1]](x, y);
        path.moveTo((ax + 0.5) / side, (ay + 0.5) / side);
        path.lineTo((bx + 0.5) / side, (by + 0.5) / side);
      }
    }
  }
  return path;
}
