/**
 * What was drawn, as seen in the view: sampled from the labels, so that what is seen is what is kept.
 *
 * Look here is a plain tint, not here a hatched one, each with a firm edge: told apart without colour.
 */
import { LABEL } from "./raster.js";

// Little-endian RGBA.
const rgba = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const LOOK = { fill: rgba(80, 226, 240, 92), edge: rgba(150, 244, 252, 240) };
const AVOID = { fill: rgba(255, 92, 160, 52), hatch: rgba(255, 110, 172, 170), edge: rgba(255, 150, 200, 240) };
const HATCH = 7;

export class Marks {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
  }

  resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.columns = new Int32Array(width + 2);
  }

  /**
   * Sample a rectangle of the view.
   * @param {import("./history.js").History} history @param {import("./view.js").View} view
   * @param {{x: number, y: number, width: number, height: number}} area in canvas pixels, whole, inside the canvas
   */
  draw(history, view, area) {
    const { labels, width, height } = history;
    const stride = this.image.width;
    // One more column on either side, for the edges.
    for (let i = 0; i < area.width + 2; i++) {
      const column = Math.floor(view.left + (area.x + i - 0.5) / view.scale);
      this.columns[i] = column >= 0 && column < width ? column : -1;
    }
    const rowAt = (y) => {
      const row = Math.floor(view.top + (y + 0.5) / view.scale);
      return row >= 0 && row < height ? row * width : -1;
    };
    for (let y = area.y; y < area.y + area.height; y++) {
      const out = y * stride + area.x;
      this.pixels.fill(0, out, out + area.width);
      const row = rowAt(y);
      if (row >= 0) this.#drawRow(labels, row, rowAt(y - 1), rowAt(y + 1), area, y, out);
    }
    this.context.putImageData(this.image, 0, 0, area.x, area.y, area.width, area.height);
  }

  #drawRow(labels, row, above, below, area, y, out) {
    const { columns, pixels } = this;
    for (let i = 0; i < area.width; i++) {
      const column = columns[i + 1];
      if (column < 0) continue;
      const label = labels[row + column];
      if (label === LABEL.erase) continue;
      const before = columns[i] < 0 ? 0 : labels[row + columns[i]];
      const after = columns[i + 2] < 0 ? 0 : labels[row + columns[i + 2]];
      const isEdge =
        before !== label || after !== label ||
        (above < 0 ? 0 : labels[above + column]) !== label || (below < 0 ? 0 : labels[below + column]) !== label;
      const kind = label === LABEL.look ? LOOK : AVOID;
      if (isEdge) pixels[out + i] = kind.edge;
      else if (kind === AVOID && (area.x + i + y) % HATCH < 2) pixels[out + i] = AVOID.hatch;
      else pixels[out + i] = kind.fill;
    }
  }
}
