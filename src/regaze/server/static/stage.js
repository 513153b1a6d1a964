/**
 * The canvas: one opaque one at view size. Photograph and attention are kept off screen at view size, marks too; a frame
 * puts the changed rectangle of both together. Nothing at full size but the photograph and the labels.
 */
import { coloured, outline } from "./attention.js";
import { Marks } from "./marks.js";

const CRISP_AFTER = 120; // milliseconds without movement
const SURROUND = "#07090b";
const LESION = "rgba(255, 255, 255, .92)";

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Box in canvas pixels */

export class Stage {
  /** @param {HTMLCanvasElement} canvas @param {import("./view.js").View} view @param {() => any} scene */
  constructor(canvas, view, scene) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.view = view;
    /** What is to be drawn: {photograph, history, maps, layers, lesions, square, isHidden, isOther, path}. */
    this.scene = scene;
    this.base = document.createElement("canvas");
    this.baseContext = this.base.getContext("2d", { alpha: false });
    this.marks = new Marks();
    this.isBaseStale = true;
    this.isMoving = false;
    /** @type {Box|null} */
    this.staleMarks = null;
    /** @type {Box|null} what to put together anew */
    this.stale = null;
    this.pictures = new Map();
    this.frame = 0;
    this.settle = 0;
  }

  resize(width, height) {
    for (const canvas of [this.canvas, this.base]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.marks.resize(width, height);
    this.view.resize(width, height);
    this.all();
  }

  /** Everything anew. */
  all() {
    this.isBaseStale = true;
    this.staleMarks = this.stale = this.#whole();
    this.#ask();
  }

  /** The view moved: rough pictures until it rests. */
  moved() {
    this.isMoving = true;
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      this.isMoving = false;
      this.all();
    }, CRISP_AFTER);
    this.all();
  }

  /** Labels changed between original pixels. */
  changed(left, top, right, bottom) {
    const [x0, y0] = this.view.toCanvas(left, top);
    const [x1, y1] = this.view.toCanvas(right, bottom);
    const box = this.#inside({ x0: x0 - 3, y0: y0 - 3, x1: x1 + 3, y1: y1 + 3 });
    this.staleMarks = union(this.staleMarks, box);
    this.touch(box);
  }

  /** Something over the marks changed. @param {Box} box */
  touch(box) {
    this.stale = union(this.stale, this.#inside(box));
    this.#ask();
  }

  touchAll() {
    this.touch(this.#whole());
  }

  #whole() {
    return { x0: 0, y0: 0, x1: this.canvas.width, y1: this.canvas.height };
  }

  #inside({ x0, y0, x1, y1 }) {
    const { width, height } = this.canvas;
    return {
      x0: Math.max(Math.floor(x0), 0),
      y0: Math.max(Math.floor(y0), 0),
      x1: Math.min(Math.ceil(x1), width),
      y1: Math.min(Math.ceil(y1), height),
    };
  }

  #ask() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.frame = 0;
    const scene = this.scene();
    if (this.isBaseStale) this.#drawBase(scene);
    if (this.staleMarks && scene.history) {
      const { x0, y0, x1, y1 } = this.staleMarks;
      if (x1 > x0 && y1 > y0) this.marks.draw(scene.history, this.view, { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
      this.staleMarks = null;
    }
    if (this.stale) this.#compose(scene, this.stale);
    this.stale = null;
  }

  #compose(scene, { x0, y0, x1, y1 }) {
    const width = x1 - x0;
    const height = y1 - y0;
    if (width <= 0 || height <= 0) return;
    const { context } = this;
    context.drawImage(this.base, x0, y0, width, height, x0, y0, width, height);
    if (scene.history && !scene.isHidden) {
      context.drawImage(this.marks.canvas, x0, y0, width, height, x0, y0, width, height);
    }
    if (!scene.path) return;
    context.save();
    context.beginPath();
    context.rect(x0, y0, width, height);
    context.clip();
    scene.path(context);
    context.restore();
  }

  #drawBase(scene) {
    const { baseContext: context, view } = this;
    this.isBaseStale = false;
    context.fillStyle = SURROUND;
    context.fillRect(0, 0, this.base.width, this.base.height);
    const picture = scene.photograph?.picture(scene.layers.photo, view.scale, this.isMoving);
    if (!picture) return;
    const [x, y] = view.toCanvas(0, 0);
    const width = view.photo.width * view.scale;
    const height = view.photo.height * view.scale;
    context.imageSmoothingEnabled = !this.isMoving && view.scale < 4;
    context.imageSmoothingQuality = "medium";
    context.drawImage(picture, x, y, width, height);
    if (scene.isHidden) return;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    this.#drawMaps(context, scene);
    if (scene.layers.lesions) this.#drawLesions(context, scene.lesions);
    context.restore();
  }

  #drawMaps(context, scene) {
    const { layer, compare, compareWith } = scene.layers;
    const shown = scene.isOther ? compareWith : layer;
    if (compare !== "curtain") {
      this.#drawMap(context, scene, shown);
      return;
    }
    const middle = Math.round(this.base.width * scene.curtain);
    for (const [name, left, right] of [[layer, 0, middle], [compareWith, middle, this.base.width]]) {
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, this.base.height);
      context.clip();
      this.#drawMap(context, scene, name);
      context.restore();
    }
  }

  #drawMap(context, scene, name) {
    const map = scene.maps?.[name];
    if (!map) return;
    const { opacity, threshold, colours, outline: isOutline } = scene.layers;
    const { left, top, side } = scene.square;
    const [x, y] = this.view.toCanvas(left, top);
    const length = side * this.view.scale;
    context.save();
    if (isOutline) {
      context.translate(x, y);
      context.scale(length, length);
      const levels = [0, 1, 2].map((step) => threshold + ((1 - threshold) * step) / 3);
      levels.filter((level) => level > 0.01).forEach((level, step) => {
        const path = this.#kept(`${name} outline ${level}`, map, () => outline(map, level));
        context.lineCap = "round";
        for (const [width, colour] of [[3.2, "rgba(5, 12, 18, .55)"], [1.2 + 0.4 * step, "#b9f1f5"]]) {
          context.lineWidth = width / length;
          context.strokeStyle = colour;
          context.stroke(path);
        }
      });
    } else {
      const picture = this.#kept(`${name} ${colours} ${threshold}`, map, () => coloured(map, colours, threshold));
      context.globalAlpha = opacity;
      context.imageSmoothingEnabled = true;
      context.drawImage(picture, x, y, length, length);
    }
    context.restore();
  }

  /** Pictures of maps by what they were made from; a handful. */
  #kept(key, map, make) {
    const found = this.pictures.get(key);
    if (found?.map === map) return found.picture;
    const picture = make();
    this.pictures.set(key, { map, picture });
    if (this.pictures.size > 12) this.pictures.delete(this.pictures.keys().next().value);
    return picture;
  }

  #drawLesions(context, lesions) {
    const { view } = this;
    context.save();
    context.setTransform(view.scale, 0, 0, view.scale, -view.left * view.scale, -view.top * view.scale);
    const path = new Path2D();
    for (const lesion of lesions) lesion.path && path.addPath(lesion.path);
    for (const [width, colour] of [[3, "rgba(0, 0, 0, .6)"], [1.25, LESION]]) {
      context.lineWidth = width / view.scale;
      context.strokeStyle = colour;
      context.stroke(path);
    }
    context.restore();
  }
}

/** @param {Box|null} a @param {Box} b @returns {Box} */
function union(a, b) {
  if (!a) return b;
  return { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) };
}

/** Outlines of known lesions to draw: polygons, boxes, strokes, masks. @param {any} lesion @param {number} width */
export function lesionPath(lesion, width) {
  const path = new Path2D();
  const points = lesion.points ?? [];
  if (lesion.runs?.length) return maskPath(lesion.runs, width);
  if (lesion.kind === "box" && points.length === 2) {
    path.rect(points[0][0], points[0][1], points[1][0] - points[0][0], points[1][1] - points[0][1]);
  } else {
    points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (lesion.kind !== "stroke") path.closePath();
  }
  return path;
}

/** The border of a mask, along the pixels' sides. */
function maskPath(runs, width) {
  const path = new Path2D();
  const rows = new Map();
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2) {
      for (let start = at; start < at + run; ) {
        const row = Math.floor(start / width);
        const stop = Math.min(at + run, (row + 1) * width);
        if (!rows.has(row)) rows.set(row, []);
        rows.get(row).push([start - row * width, stop - row * width]);
        start = stop;
      }
    }
    at += run;
  });
  for (const [row, spans] of rows) {
    for (const [start, stop] of spans) {
      path.moveTo(start, row), path.lineTo(start, row + 1);
      path.moveTo(stop, row), path.lineTo(stop, row + 1);
    }
    for (const [y, other] of [[row, rows.get(row - 1)], [row + 1, rows.get(row + 1)]]) {
      for (const [start, stop] of without(spans, other ?? [])) path.moveTo(start, y), path.lineTo(stop, y);
    }
  }
  return path;
}

/** Parts of spans that no other span covers. */
function without(spans, others) {
  let left = spans;
  for (const [a, b] of others) {
    left = left.flatMap(([start, stop]) => [[start, Math.min(stop, a)], [Math.max(start, b), stop]].filter(([x, y]) => y > x));
  }
  return left;
}
