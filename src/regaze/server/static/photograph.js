/** A photograph's pictures at several sizes, and its red-free and contrast versions, made once when asked for. */
import { photographUrl } from "./api.js";

const STRIP = 128; // rows worked on before the page gets its turn
const LEVELS = [2, 0, 1]; // a quarter at once, then everything, then the half that moving views are drawn from

const RETRY = 3000; // milliseconds until a server that is away is asked again

const nextTurn = () => new Promise((resolve) => setTimeout(resolve));

export class Photograph {
  /** @param {{id: number, width: number, height: number}} info @param {() => void} onChange a better picture is there */
  constructor(info, onChange) {
    this.info = info;
    this.onChange = onChange;
    /** @type {Map<string, ImageBitmap|HTMLCanvasElement>} "variant level" -> picture */
    this.pictures = new Map();
    this.making = new Set();
    this.isClosed = false;
    this.loaded = this.#load();
    this.loaded.catch(() => {}); // who shows it awaits it; the one that comes next may never be shown
  }

  /** Ask until the server is there. @param {number} level */
  async #asked(level) {
    for (;;) {
      try {
        return await fetch(photographUrl(this.info.id, level));
      } catch (error) {
        if (this.isClosed) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
  }

  async #load() {
    for (const level of LEVELS) {
      const response = await this.#asked(level);
      if (!response.ok) throw new Error(`photograph: HTTP ${response.status}`);
      const bitmap = await createImageBitmap(await response.blob());
      if (this.isClosed) {
        bitmap.close();
        return;
      }
      this.pictures.set(`colour ${level}`, bitmap);
      this.onChange();
    }
  }

  /**
   * The best picture there is for a view.
   * @param {string} variant "colour", "redfree" or "contrast" @param {number} scale device pixels per original one
   * @param {boolean} isMoving a rougher one is drawn faster
   */
  picture(variant, scale, isMoving) {
    const wanted = scale > (isMoving ? 0.75 : 0.5) ? 0 : scale > 0.25 || !isMoving ? 1 : 2;
    const order = [wanted, 0, 1, 2].filter((level, i, all) => all.indexOf(level) === i);
    if (variant !== "colour") {
      const level = order.find((l) => this.pictures.has(`colour ${l}`));
      if (level !== undefined && !this.pictures.has(`${variant} ${level}`)) void this.#make(variant, level);
    }
    for (const name of variant === "colour" ? [variant] : [variant, "colour"]) {
      for (const level of order) {
        const found = this.pictures.get(`${name} ${level}`);
        if (found) return found;
      }
    }
    return null;
  }

  /** Green channel of a window, for the wand. @returns {Uint8ClampedArray} (rows * columns) */
  green(left, top, side, columns, rows, height) {
    const source = this.pictures.get("colour 0") ?? this.pictures.get("colour 1") ?? this.pictures.get("colour 2");
    const factor = source.width / this.info.width;
    const context = smallContext(columns, rows);
    context.drawImage(source, left * factor, top * factor, side * factor, height * factor, 0, 0, columns, rows);
    const { data } = context.getImageData(0, 0, columns, rows);
    const green = new Uint8ClampedArray(columns * rows);
    for (let i = 0; i < green.length; i++) green[i] = data[4 * i + 1];
    return green;
  }

  async #make(variant, level) {
    const key = `${variant} ${level}`;
    if (this.making.has(key)) return;
    this.making.add(key);
    const source = this.pictures.get(`colour ${level}`);
    const { width, height } = source;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(source, 0, 0);
    const change = variant === "redfree" ? redFree : contrast(source);
    for (let top = 0; top < height; top += STRIP) {
      const image = context.getImageData(0, top, width, Math.min(STRIP, height - top));
      change(image, top);
      context.putImageData(image, 0, top);
      await nextTurn();
      if (this.isClosed) return;
    }
    this.pictures.set(key, canvas);
    this.onChange();
  }

  close() {
    this.isClosed = true;
    for (const picture of this.pictures.values()) if (picture instanceof ImageBitmap) picture.close();
    this.pictures.clear();
  }
}

function smallContext(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

/** The green channel as grey: what a red-free filter shows. @param {ImageData} image */
function redFree(image) {
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    const value = Math.min(255, data[i + 1] * 1.35);
    data[i] = data[i + 1] = data[i + 2] = value;
  }
}

/** Each pixel's difference from its surroundings, four times over (Graham 2015): uneven light goes, small things stay. */
function contrast(source) {
  const columns = 48;
  const rows = Math.max(1, Math.round((columns * source.height) / source.width));
  const small = smallContext(columns, rows);
  small.imageSmoothingQuality = "high";
  small.drawImage(source, 0, 0, columns, rows);
  const surroundings = smallContext(source.width, STRIP);
  return (image, top) => {
    const height = image.height;
    surroundings.drawImage(
      small.canvas, 0, (top * rows) / source.height, columns, (height * rows) / source.height, 0, 0, source.width, height,
    );
    const around = surroundings.getImageData(0, 0, source.width, height).data;
    const { data } = image;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] + data[i + 1] + data[i + 2] < 30) continue;
      for (let channel = 0; channel < 3; channel++) data[i + channel] = 4 * (data[i + channel] - around[i + channel]) + 118;
    }
  };
}
