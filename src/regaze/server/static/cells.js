/**
 * How many look and avoid pixels lie in each map cell, kept up to date run by run, and the edited maps they make.
 *
 * The cell of a pixel is found in whole numbers, as `regaze/data/geometry.py` does, so that a preview and a saved
 * correction never disagree about a cell.
 */
import { LABEL } from "./raster.js";

/** A cell's value in a what-if request: its own, as the model made it. */
export const OWN = 255;
const FULL = 254;

/**
 * Cell of every pixel along one axis, -1 outside the square.
 * @param {number} count pixels @param {number} start the square's edge @param {number} side @param {number} cells
 */
export function cellsOfAxis(count, start, side, cells) {
  const result = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const cell = Math.floor(((2 * (i - start) + 1) * cells) / (2 * side));
    result[i] = cell >= 0 && cell < cells ? cell : -1;
  }
  return result;
}

export class CellCounts {
  /**
   * @param {number} height @param {number} width of the photograph
   * @param {{left: number, top: number, side: number}} square @param {number[][]} grids [rows, columns], finest first
   */
  constructor(height, width, square, grids) {
    this.width = width;
    this.scales = grids.map(([rows, columns]) => ({
      columns,
      rowOf: cellsOfAxis(height, square.top, square.side, rows),
      columnOf: cellsOfAxis(width, square.left, square.side, columns),
      look: new Int32Array(rows * columns),
      avoid: new Int32Array(rows * columns),
    }));
  }

  /** Pixels start..stop (flat) changed from one label to another. */
  change(start, stop, from, to) {
    const width = this.width;
    for (const scale of this.scales) {
      for (let at = start; at < stop; ) {
        const row = Math.floor(at / width);
        const end = Math.min(stop, (row + 1) * width);
        changeRow(scale, scale.rowOf[row], at - row * width, end - row * width, from, to);
        at = end;
      }
    }
  }

  /**
   * The grids of a what-if request, joined: any look pixel: 1; else any avoid pixel: 0; else the model's own value.
   * @param {boolean} isNothing "nothing to see here": untouched cells are 0, strokes lie on top.
   * @returns {Uint8Array}
   */
  grids(isNothing) {
    const total = this.scales.reduce((sum, scale) => sum + scale.look.length, 0);
    const result = new Uint8Array(total).fill(isNothing ? 0 : OWN);
    let offset = 0;
    for (const { look, avoid } of this.scales) {
      for (let i = 0; i < look.length; i++) {
        if (look[i] > 0) result[offset + i] = FULL;
        else if (avoid[i] > 0) result[offset + i] = 0;
      }
      offset += look.length;
    }
    return result;
  }
}

function changeRow(scale, cellRow, begin, end, from, to) {
  if (cellRow < 0) return;
  const { columns, columnOf } = scale;
  const minus = from === LABEL.look ? scale.look : from === LABEL.avoid ? scale.avoid : null;
  const plus = to === LABEL.look ? scale.look : to === LABEL.avoid ? scale.avoid : null;
  for (let x = begin; x < end; x++) {
    const column = columnOf[x];
    if (column < 0) continue;
    const cell = cellRow * columns + column;
    if (minus) minus[cell]--;
    if (plus) plus[cell]++;
  }
}
