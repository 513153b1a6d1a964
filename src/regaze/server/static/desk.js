/** The open case on the canvas: what the tools do to the drawing, and what follows from each change. */
import { CellCounts } from "./cells.js";
import { unpack } from "./attention.js";
import { History } from "./history.js";
import { Photograph } from "./photograph.js";
import { Stage, lesionPath } from "./stage.js";
import { View } from "./view.js";
import { WhatIf } from "./whatif.js";
import { wandRuns } from "./wand.js";
import { decision, drawing, isHidden, isOther, layers, mark, size, tool, zoom } from "./state.js";

const round = (value) => Math.round(value * 100) / 100;
const TOLERANCE = 10; // levels of green that a click's region may differ; dragging to the right makes it more
const NEAREST = 0.7; // canvas pixels between points of a line that is kept

export class Desk {
  /** @param {HTMLCanvasElement} canvas @param {() => void} onEdit after each change by the expert */
  constructor(canvas, onEdit) {
    this.view = new View();
    this.stage = new Stage(canvas, this.view, () => this.#scene());
    this.onEdit = onEdit;
    this.onHover = () => {};
    this.case = null;
    this.history = null;
    this.photograph = null;
    this.maps = null;
    this.curtain = 0.5;
    this.revision = 0;
    /** @type {{kind: string, points: number[][], mark: string, canvas: number[][]}|null} a lasso, box or wand at work */
    this.gesture = null;
    this.#clearBox();
  }

  /** @param {any} info the server's case @param {any[]} shapes @param {Photograph|null} photograph decoded ahead */
  open(info, shapes, photograph) {
    this.close();
    this.case = info;
    this.lesions = (info.lesions ?? []).map((lesion) => ({ ...lesion, path: lesionPath(lesion, info.width) }));
    this.counts = new CellCounts(info.height, info.width, info.square, info.grids);
    this.history = new History(info.height, info.width, (start, stop, from, to) => this.#changed(start, stop, from, to));
    this.photograph = photograph ?? new Photograph(info, () => {});
    this.photograph.onChange = () => this.stage.all();
    this.whatIf = new WhatIf(info.id);
    this.view.photo = { width: info.width, height: info.height };
    this.view.fit();
    zoom.value = this.view.scale;
    for (const shape of shapes) this.history.add(shape);
    this.#clearBox();
    this.#tell();
    this.ask();
    this.stage.all();
  }

  /** @param {any} answer of /maps @param {string} [prefix] of a second model's */
  addMaps(answer, prefix = "") {
    const maps = { ...this.maps, [`${prefix}fused`]: unpack(answer.fused) };
    answer.scales.forEach((scale, i) => (maps[`${prefix}${i}`] = unpack(scale)));
    if (answer.evidence) maps[`${prefix}evidence`] = unpack(answer.evidence, true);
    this.maps = maps;
    this.stage.all();
  }

  /** Other shapes than those shown, from another window. */
  replace(shapes) {
    while (this.history.undo());
    this.history.undone = [];
    for (const shape of shapes) this.history.add(shape);
    this.#flush();
  }

  close() {
    this.photograph?.close();
    this.whatIf?.close();
    this.history = this.photograph = this.case = this.maps = this.gesture = null;
  }

  /** The shapes of the drawing, a stroke at work among them. */
  get shapes() {
    if (!this.history) return [];
    const open = this.history.open;
    return open ? [...this.history.shapes, { ...open.shape, points: [...open.shape.points] }] : this.history.shapes;
  }

  #scene() {
    return {
      photograph: this.photograph,
      history: this.history,
      maps: this.maps,
      layers: layers.value,
      lesions: this.lesions,
      square: this.case?.square,
      isHidden: isHidden.value,
      isOther: isOther.value,
      curtain: this.curtain,
      path: this.gesture && this.gesture.kind !== "wand" ? (context) => this.#drawGesture(context) : null,
    };
  }

  // ---- what the pointer does -------------------------------------------------------------------------------------

  down(x, y, { isEraser }) {
    if (!this.history) return;
    const what = isEraser ? "erase" : mark.value;
    const point = this.view.toOriginal(x, y).map(round);
    if (tool.value === "brush") {
      this.history.begin(what, size.value / 2, point);
      this.lastPlace = [x, y];
      this.#flush();
      return;
    }
    this.gesture = { kind: tool.value, mark: what, points: [point], canvas: [[x, y]], count: 0 };
    if (tool.value === "wand") this.#wand();
  }

  move(places) {
    if (this.history?.open) {
      for (const [x, y] of places) {
        if (Math.hypot(x - this.lastPlace[0], y - this.lastPlace[1]) < NEAREST) continue;
        this.lastPlace = [x, y];
        this.history.extend(this.view.toOriginal(x, y).map(round));
      }
      this.#flush();
      this.onEdit();
    } else if (this.gesture) this.#moveGesture(places);
  }

  #moveGesture(places) {
    const { gesture } = this;
    if (gesture.kind === "lasso") {
      gesture.canvas.push(...places);
      gesture.points.push(...places.map(([x, y]) => this.view.toOriginal(x, y).map(round)));
      this.stage.touchAll();
      return;
    }
    gesture.canvas[1] = places.at(-1);
    gesture.points[1] = this.view.toOriginal(...places.at(-1)).map(round);
    if (gesture.kind === "box") this.stage.touchAll();
    else this.#wand();
  }

  up() {
    if (!this.history) return;
    if (this.history.open) {
      this.history.end();
      this.#flush(true);
    } else if (this.gesture) {
      const { kind, points, mark: what, count } = this.gesture;
      this.gesture = null;
      if (kind === "lasso" && points.length >= 3) this.history.add({ kind: "polygon", mark: what, points });
      if (kind === "box" && points.length === 2) this.history.add({ kind: "box", mark: what, points });
      this.#flush(kind !== "wand" || count > 0);
      this.stage.touchAll();
    }
  }

  /** As if the stroke or gesture had not begun. */
  abort() {
    if (!this.history) return;
    const isOpen = Boolean(this.history.open);
    const { undone } = this.history;
    if (isOpen) this.history.end();
    if (isOpen || this.gesture?.count) {
      this.history.undo();
      this.history.undone = undone;
    }
    this.gesture = null;
    this.#flush();
    this.stage.touchAll();
  }

  /** The region of the click; dragging right or up takes in more, left or down less. */
  #wand() {
    const { gesture } = this;
    const [[x0, y0], [x1, y1] = [x0, y0]] = gesture.canvas;
    const tolerance = Math.min(Math.max(TOLERANCE * Math.exp((x1 - x0 - (y1 - y0)) / 140), 1), 120);
    if (!this.photograph.pictures.size) return;
    const runs = wandRuns(this.photograph, gesture.points[0], tolerance, this.view.scale);
    if (gesture.count) {
      this.history.undo();
      this.history.undone = [];
    }
    gesture.count = runs ? 1 : 0;
    if (runs) this.history.add({ kind: "mask", mark: gesture.mark, runs });
    this.#flush();
  }

  #drawGesture(context) {
    const { kind, canvas, mark: what } = this.gesture;
    context.lineWidth = 1.5;
    context.strokeStyle = { look: "#9af5fc", avoid: "#ff9cc8", erase: "#ffffff" }[what];
    context.fillStyle = { look: "rgba(80,226,240,.16)", avoid: "rgba(255,92,160,.16)", erase: "rgba(255,255,255,.12)" }[what];
    context.beginPath();
    if (kind === "box" && canvas[1]) context.rect(...canvas[0], canvas[1][0] - canvas[0][0], canvas[1][1] - canvas[0][1]);
    else canvas.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.fill();
    if (kind === "lasso") context.setLineDash([6, 4]);
    context.stroke();
  }

  hover(x, y, isPointer) {
    this.onHover(x, y, isPointer);
  }

  leave() {
    this.onHover(0, 0, false);
  }

  // ---- what keys and buttons do ----------------------------------------------------------------------------------

  undo() {
    if (this.history && !this.history.open && this.history.undo()) this.#flush(true);
  }

  redo() {
    if (this.history && !this.history.open && this.history.redo()) this.#flush(true);
  }

  pan(dx, dy) {
    this.view.pan(dx, dy);
    this.#viewed();
  }

  zoom(x, y, factor) {
    this.view.zoomAt(x, y, factor);
    this.#viewed();
  }

  zoomBy(factor) {
    this.zoom(this.view.width / 2, this.view.height / 2, factor);
  }

  fit() {
    this.view.fit();
    this.#viewed();
  }

  actual(scale = 1) {
    this.view.zoomTo(scale);
    this.#viewed();
  }

  #viewed() {
    zoom.value = this.view.scale;
    this.stage.moved();
  }

  // ---- what follows ----------------------------------------------------------------------------------------------

  #clearBox() {
    this.box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  }

  #changed(start, stop, from, to) {
    this.counts.change(start, stop, from, to);
    const { width } = this.case;
    const first = Math.floor(start / width);
    const last = Math.floor((stop - 1) / width);
    const { box } = this;
    box.top = Math.min(box.top, first);
    box.bottom = Math.max(box.bottom, last + 1);
    box.left = Math.min(box.left, first === last ? start - first * width : 0);
    box.right = Math.max(box.right, first === last ? stop - first * width : width);
  }

  /** Show and ask about what has changed. @param {boolean} [isWhole] a step that undo takes back is complete */
  #flush(isWhole = false) {
    const { left, top, right, bottom } = this.box;
    if (right > left) this.stage.changed(left, top, right, bottom);
    this.#clearBox();
    this.ask();
    if (!isWhole) return;
    this.#tell();
    this.onEdit();
  }

  #tell() {
    const { done, undone } = this.history;
    drawing.value = { undo: done.length, redo: undone.length, revision: ++this.revision };
  }

  /** Ask the network about the drawing as it is when its turn comes. */
  ask() {
    const { whatIf, history, counts } = this;
    if (!whatIf) return;
    whatIf.ask(() => {
      const isNothing = decision.value.decision === "nothing";
      const isEdited = isNothing || history.done.length > 0 || history.open;
      return isEdited ? counts.grids(isNothing) : null;
    });
  }
}
