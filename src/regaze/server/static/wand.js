/** The wand: the region around a click that is about as green as it, in the green channel, where lesions stand out. */
import { maskToRuns } from "./raster.js";

const SAMPLES = 384; // side of the window that is looked at, in samples

/**
 * @param {import("./photograph.js").Photograph} photograph
 * @param {[number, number]} point original pixels @param {number} tolerance levels of 0..255
 * @param {number} scale of the view: the window is as large as about half of what is seen
 * @returns {number[]|null} runs over the whole photograph
 */
export function wandRuns(photograph, [x, y], tolerance, scale) {
  const { width, height } = photograph.info;
  const step = Math.max(1, Math.round(1.5 / scale)); // original pixels per sample
  const side = SAMPLES * step;
  const left = Math.floor(x) - Math.floor(side / 2);
  const top = Math.floor(y) - Math.floor(side / 2);
  const green = photograph.green(left, top, side, SAMPLES, SAMPLES, side);
  const inside = (column, row) => {
    const px = left + (column + 0.5) * step;
    const py = top + (row + 0.5) * step;
    return px >= 0 && py >= 0 && px < width && py < height;
  };
  const region = grow(smooth(green, SAMPLES), SAMPLES, SAMPLES / 2, SAMPLES / 2, tolerance, inside);
  return region && runsOf(region, SAMPLES, left, top, step, width, height);
}

/** Mean of 3 x 3 samples. @param {Uint8ClampedArray} values @param {number} side */
function smooth(values, side) {
  const result = new Float32Array(values.length);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let sum = 0;
      let count = 0;
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, side - 1); v++) {
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, side - 1); u++, count++) sum += values[v * side + u];
      }
      result[y * side + x] = sum / count;
    }
  }
  return result;
}

/** Samples that hang together with the seed and differ from it by at most `tolerance`; holes of it are filled. */
function grow(values, side, seedX, seedY, tolerance, inside) {
  const region = new Uint8Array(values.length);
  const seed = values[seedY * side + seedX];
  const stack = [seedY * side + seedX];
  while (stack.length) {
    const at = stack.pop();
    const x = at % side;
    const y = (at - x) / side;
    if (region[at] || Math.abs(values[at] - seed) > tolerance || !inside(x, y)) continue;
    region[at] = 1;
    if (x > 0) stack.push(at - 1);
    if (x < side - 1) stack.push(at + 1);
    if (y > 0) stack.push(at - side);
    if (y < side - 1) stack.push(at + side);
  }
  return region.some(Boolean) ? filled(region, side) : null;
}

/** What the outside cannot reach belongs to the region. */
function filled(region, side) {
  const outside = new Uint8Array(region.length);
  const stack = [];
  for (let i = 0; i < side; i++) stack.push(i, (side - 1) * side + i, i * side, i * side + side - 1);
  while (stack.length) {
    const at = stack.pop();
    if (outside[at] || region[at]) continue;
    outside[at] = 1;
    const x = at % side;
    if (x > 0) stack.push(at - 1);
    if (x < side - 1) stack.push(at + 1);
    if (at >= side) stack.push(at - side);
    if (at < side * (side - 1)) stack.push(at + side);
  }
  return outside.map((value) => (value ? 0 : 1));
}

/** A window's samples as runs over the photograph. */
function runsOf(region, side, left, top, step, width, height) {
  const spans = [];
  for (let row = Math.max(top, 0); row < Math.min(top + side * step, height); row++) {
    const offset = Math.floor((row - top) / step) * side;
    for (let x = 0; x < side; ) {
      if (!region[offset + x]) {
        x++;
        continue;
      }
      let end = x;
      while (end < side && region[offset + end]) end++;
      const start = Math.max(left + x * step, 0);
      const stop = Math.min(left + end * step, width);
      if (stop > start) spans.push([row * width + start, row * width + stop]);
      x = end;
    }
  }
  const runs = [];
  let at = 0;
  for (const [start, stop] of spans) {
    if (start === at && runs.length) runs[runs.length - 1] += stop - start;
    else runs.push(start - at, stop - start);
    at = stop;
  }
  if (at < width * height) runs.push(width * height - at);
  return runs.length ? runs : maskToRuns(new Uint8Array(width * height));
}
