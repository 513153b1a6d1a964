/**
 * Mouse, pen and fingers on the canvas.
 *
 * Pen mode begins with the pen's first contact and ends by a button only. In it fingers pan and pinch and never paint;
 * while the pen is down, hovers or was near half a second ago, every touch is ignored: it is the hand that holds it.
 * Without a pen one finger uses the tool and two pan and pinch. A cancelled pointer ends a stroke and loses nothing.
 */
import { penMode, tool } from "./state.js";

const NEAR = 500; // milliseconds for which the pen counts as near
const PALM = 32; // a contact wider than this, in CSS pixels, is no fingertip
const YOUNG = 300; // a touch stroke younger than this was the first finger of two, or the hand before the pen

/**
 * @typedef {{down: (x: number, y: number, how: {isEraser: boolean}) => void, move: (points: number[][]) => void,
 *   up: () => void, abort: () => void, hover: (x: number, y: number, isPointer: boolean) => void, leave: () => void}} Tool
 * @typedef {{pan: (dx: number, dy: number) => void, zoom: (x: number, y: number, factor: number) => void}} Camera
 */

export class Pointers {
  /**
   * @param {HTMLElement} element @param {Tool} actions @param {Camera} camera all in the element's device pixels
   * @param {() => number} ratio device pixels per CSS pixel
   */
  constructor(element, actions, camera, ratio) {
    Object.assign(this, { element, actions, camera, ratio });
    this.penSeen = -Infinity;
    this.isPenDown = false;
    /** @type {{id: number, kind: string, isPan: boolean, began: number, last: number[]}|null} */
    this.active = null;
    /** @type {Map<number, number[]>} fingers that move the view */
    this.fingers = new Map();
    this.isSpace = false;
    const listen = (name, handler, options) => element.addEventListener(name, handler.bind(this), options);
    listen("pointerdown", this.#down);
    listen("pointermove", this.#move);
    listen("pointerup", this.#up);
    listen("pointercancel", this.#up);
    listen("lostpointercapture", this.#up);
    listen("pointerleave", this.#leave);
    listen("wheel", this.#wheel, { passive: false });
    listen("contextmenu", (event) => event.preventDefault());
    // Touch events would otherwise scroll or select where the pointer events are ignored.
    listen("touchstart", (event) => event.cancelable && event.preventDefault(), { passive: false });
  }

  #at(event) {
    const box = this.element.getBoundingClientRect();
    const ratio = this.ratio();
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  get #isPenNear() {
    return this.isPenDown || performance.now() - this.penSeen < NEAR;
  }

  #notePen(event) {
    if (event.pointerType === "pen") this.penSeen = performance.now();
  }

  #down(event) {
    this.#notePen(event);
    this.element.focus({ preventScroll: true });
    if (event.pointerType === "touch") {
      this.#touchDown(event);
      return;
    }
    if (event.pointerType === "pen") this.#penDown();
    if (this.active) return;
    const isPan = event.button === 1 || this.isSpace || (tool.value === "hand" && event.button === 0);
    // Button 5 is a pen's eraser end, 2 its barrel button or the mouse's right one.
    const isEraser = event.button === 5 || event.button === 2 || Boolean(event.buttons & 32);
    this.#begin(event, isPan, isEraser);
  }

  #penDown() {
    penMode.value = true;
    this.isPenDown = true;
    this.fingers.clear();
    const { active } = this;
    if (active?.kind !== "touch") return;
    if (performance.now() - active.began < 2 * NEAR) this.actions.abort();
    else this.actions.up();
    this.active = null;
  }

  #touchDown(event) {
    const isPalm = Math.max(event.width, event.height) > PALM;
    if (this.#isPenNear || isPalm) return;
    const point = this.#at(event);
    if (this.active?.kind === "touch" && !this.active.isPan) this.#firstOfTwo();
    if (this.active && this.active.kind !== "touch") return;
    const isFree = !penMode.value && tool.value !== "hand" && this.fingers.size === 0 && !this.active;
    if (isFree) {
      this.#begin(event, false, false);
      return;
    }
    this.fingers.set(event.pointerId, point);
    this.#capture(event);
  }

  /** The finger that began a stroke turns out to be one of two that move the view. */
  #firstOfTwo() {
    const { id, began, last } = this.active;
    if (performance.now() - began < YOUNG) this.actions.abort();
    else this.actions.up();
    this.active = null;
    this.fingers.set(id, last);
  }

  #begin(event, isPan, isEraser) {
    const point = this.#at(event);
    this.active = { id: event.pointerId, kind: event.pointerType, isPan, began: performance.now(), last: point };
    this.#capture(event);
    if (!isPan) this.actions.down(...point, { isEraser });
    this.element.classList.toggle("is-panning", isPan);
  }

  #capture(event) {
    try {
      this.element.setPointerCapture(event.pointerId);
    } catch {
      // A pointer that is already gone.
    }
  }

  #move(event) {
    this.#notePen(event);
    if (this.fingers.has(event.pointerId)) {
      this.#fingerMove(event);
      return;
    }
    if (this.active?.id !== event.pointerId) {
      if (event.pointerType !== "touch") this.actions.hover(...this.#at(event), true);
      return;
    }
    const point = this.#at(event);
    if (this.active.isPan) {
      this.camera.pan(point[0] - this.active.last[0], point[1] - this.active.last[1]);
    } else {
      const events = event.getCoalescedEvents?.() ?? [];
      this.actions.move((events.length ? events : [event]).map((single) => this.#at(single)));
      this.actions.hover(...point, event.pointerType !== "touch");
    }
    this.active.last = point;
  }

  #fingerMove(event) {
    const before = [...this.fingers.values()];
    const was = this.fingers.get(event.pointerId);
    const point = this.#at(event);
    this.fingers.set(event.pointerId, point);
    if (this.#isPenNear) return;
    if (before.length < 2) {
      this.camera.pan(point[0] - was[0], point[1] - was[1]);
      return;
    }
    const after = [...this.fingers.values()];
    const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const apart = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const [from, to] = [middle(before), middle(after)];
    this.camera.pan(to[0] - from[0], to[1] - from[1]);
    if (apart(before) > 1) this.camera.zoom(...to, apart(after) / apart(before));
  }

  #up(event) {
    this.#notePen(event);
    this.fingers.delete(event.pointerId);
    if (event.pointerType === "pen") this.isPenDown = false;
    if (this.active?.id !== event.pointerId) return;
    const { isPan } = this.active;
    this.active = null;
    this.element.classList.remove("is-panning");
    if (!isPan) this.actions.up();
    if (event.pointerType === "touch") this.actions.leave();
  }

  #leave(event) {
    if (!this.active) this.actions.leave(event);
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    if (event.shiftKey) {
      this.camera.pan(-(event.deltaX || event.deltaY) * lines, 0);
      return;
    }
    // A pinch on a trackpad comes as a wheel with ctrl and small steps.
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    this.camera.zoom(...this.#at(event), Math.exp(-event.deltaY * lines * speed));
  }
}
