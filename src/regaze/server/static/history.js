/**
 * The labels of all pixels and everything that was drawn, with undo and redo without limit, exact to the pixel.
 *
 * Each shape keeps the runs of pixels that it changed and what they were, so that undoing gives back the same bytes.
 */
import { LABEL, eachRun, segmentRuns } from "./raster.js";

/** @typedef {import("./raster.js").Shape} Shape */
/** @typedef {(start: number, stop: number, from: number, to: number) => void} Watcher */

export class History {
  /** @param {number} height @param {number} width @param {Watcher} watch told of each run that changes */
  constructor(height, width, watch) {
    this.height = height;
    this.width = width;
    this.watch = watch;
    this.labels = new Uint8Array(height * width);
    /** @type {{shape: Shape, changes: Int32Array}[]} */
    this.done = [];
    /** @type {Shape[]} */
    this.undone = [];
    /** @type {{shape: Shape, changes: number[]}|null} a stroke that is being drawn */
    this.open = null;
  }

  /** @returns {Shape[]} */
  get shapes() {
    return this.done.map((entry) => entry.shape);
  }

  /** Draw a whole shape. @param {Shape} shape */
  add(shape) {
    this.undone = [];
    this.#apply(shape);
  }

  /** Begin a stroke at a point. @param {import("./raster.js").Mark} mark */
  begin(mark, radius, point) {
    this.open = { shape: { kind: "stroke", mark, radius, points: [point] }, changes: [] };
    this.#segment(point, point);
  }

  /** Go on with the stroke to a point. */
  extend(point) {
    const points = this.open.shape.points;
    points.push(point);
    this.#segment(points[points.length - 2], point);
  }

  /** End the stroke and keep it. */
  end() {
    if (!this.open) return;
    this.undone = [];
    this.done.push({ shape: this.open.shape, changes: Int32Array.from(this.open.changes) });
    this.open = null;
  }

  undo() {
    const entry = this.done.pop();
    if (!entry) return false;
    const { changes } = entry;
    const to = LABEL[entry.shape.mark];
    for (let i = changes.length - 3; i >= 0; i -= 3) {
      this.labels.fill(changes[i + 2], changes[i], changes[i + 1]);
      this.watch(changes[i], changes[i + 1], to, changes[i + 2]);
    }
    this.undone.push(entry.shape);
    return true;
  }

  redo() {
    const shape = this.undone.pop();
    if (!shape) return false;
    this.#apply(shape);
    return true;
  }

  #apply(shape) {
    const changes = [];
    const label = LABEL[shape.mark];
    eachRun(shape, this.height, this.width, (start, stop) => this.#paint(start, stop, label, changes));
    this.done.push({ shape, changes: Int32Array.from(changes) });
  }

  #segment(start, stop) {
    const { shape, changes } = this.open;
    const label = LABEL[shape.mark];
    segmentRuns(start, stop, shape.radius, this.height, this.width, (a, b) => this.#paint(a, b, label, changes));
  }

  /** Set a run and note each stretch that changes, as start, stop, what it was. */
  #paint(start, stop, label, changes) {
    const labels = this.labels;
    for (let at = start; at < stop; ) {
      const was = labels[at];
      let end = at + 1;
      while (end < stop && labels[end] === was) end++;
      if (was !== label) {
        changes.push(at, end, was);
        labels.fill(label, at, end);
        this.watch(at, end, was, label);
      }
      at = end;
    }
  }
}
