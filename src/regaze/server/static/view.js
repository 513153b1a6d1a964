/** Where the photograph lies in the canvas: zoom and pan. Everything in the canvas's device pixels. */

const MOST = 16; // device pixels per original pixel
const MARGIN = 24;

export class View {
  constructor() {
    /** Device pixels per original pixel; original coordinates of the canvas's top-left corner. */
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.width = 1;
    this.height = 1;
    this.photo = { width: 1, height: 1 };
    this.isFitted = true;
  }

  /** @param {number} width @param {number} height of the canvas */
  resize(width, height) {
    const x = this.left + this.width / 2 / this.scale;
    const y = this.top + this.height / 2 / this.scale;
    this.width = width;
    this.height = height;
    if (this.isFitted) this.fit();
    else {
      this.left = x - width / 2 / this.scale;
      this.top = y - height / 2 / this.scale;
      this.#keepInSight();
    }
  }

  get fitScale() {
    const across = (this.width - 2 * MARGIN) / this.photo.width;
    const down = (this.height - 2 * MARGIN) / this.photo.height;
    return Math.max(Math.min(across, down), 0.01);
  }

  fit() {
    this.scale = this.fitScale;
    this.left = (this.photo.width - this.width / this.scale) / 2;
    this.top = (this.photo.height - this.height / this.scale) / 2;
    this.isFitted = true;
  }

  /** Zoom such that the original point below a place of the canvas stays there. */
  zoomAt(x, y, factor) {
    const [ox, oy] = this.toOriginal(x, y);
    this.scale = Math.min(Math.max(this.scale * factor, this.fitScale * 0.5), MOST);
    this.left = ox - x / this.scale;
    this.top = oy - y / this.scale;
    this.isFitted = false;
    this.#keepInSight();
  }

  /** @param {number} scale device pixels per original pixel, around the middle */
  zoomTo(scale) {
    this.zoomAt(this.width / 2, this.height / 2, scale / this.scale);
  }

  pan(dx, dy) {
    this.left -= dx / this.scale;
    this.top -= dy / this.scale;
    this.isFitted = false;
    this.#keepInSight();
  }

  /** @returns {[number, number]} original pixels */
  toOriginal(x, y) {
    return [this.left + x / this.scale, this.top + y / this.scale];
  }

  /** @returns {[number, number]} canvas pixels */
  toCanvas(x, y) {
    return [(x - this.left) * this.scale, (y - this.top) * this.scale];
  }

  /** At least a third of the view shows photograph. */
  #keepInSight() {
    const across = this.width / this.scale;
    const down = this.height / this.scale;
    const slackX = Math.min(across, this.photo.width) / 3;
    const slackY = Math.min(down, this.photo.height) / 3;
    this.left = Math.min(Math.max(this.left, slackX - across), this.photo.width - slackX);
    this.top = Math.min(Math.max(this.top, slackY - down), this.photo.height - slackY);
  }
}
