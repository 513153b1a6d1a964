/**
 * What an expert drew, as pixels: the same rules as `regaze/corrections/shapes.py`, to the pixel.
 *
 * A shape becomes runs of flat pixel indices (row * width + column), handed to `emit(start, stop)`; runs of one shape
 * may overlap. Everything is in original pixels, the centre of the top-left pixel at (0.5, 0.5).
 *
 * @typedef {"look"|"avoid"|"erase"} Mark
 * @typedef {{kind: "stroke"|"polygon"|"box"|"mask", mark: Mark, points?: number[][], radius?: number, runs?: number[]}} Shape
 * @typedef {(start: number, stop: number) => void} Emit
 */

/** Labels of pixels: 0 untouched, 1 look here, 2 not here. */
export const LABEL = Object.freeze({ erase: 0, look: 1, avoid: 2 });

// Any line that runs through a pixel passes its centre within half the diagonal.
const HALF_DIAGONAL = Math.sqrt(0.5);
// Keeps a division finite, and the product of its result with any coordinate too.
const TINY = 1e-280;

/** @param {number} value @param {number} low @param {number} high */
const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * Runs of pixels that a shape marks.
 * @param {Shape} shape @param {number} height @param {number} width @param {Emit} emit
 */
export function eachRun(shape, height, width, emit) {
  if (shape.kind === "mask") {
    maskRuns(shape.runs ?? [], emit);
    return;
  }
  const points = shape.points ?? [];
  if (shape.kind === "stroke") {
    if (points.length === 1) segmentRuns(points[0], points[0], shape.radius ?? 0, height, width, emit);
    for (let i = 1; i < points.length; i++) {
      segmentRuns(points[i - 1], points[i], shape.radius ?? 0, height, width, emit);
    }
    return;
  }
  const corners = shape.kind === "box" ? boxCorners(points) : points;
  if (polygonRuns(corners, height, width, emit)) return;
  corners.forEach((corner, i) => lineRuns(corner, corners[(i + 1) % corners.length], height, width, emit));
}

/** Runs of one segment of a stroke: a stroke's pixels are the union of its segments'. */
export function segmentRuns(start, stop, radius, height, width, emit) {
  brushRuns(start, stop, radius, height, width, emit);
  if (radius < HALF_DIAGONAL) lineRuns(start, stop, height, width, emit);
}

/** @param {number[]} runs @param {Emit} emit */
function maskRuns(runs, emit) {
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2 && run) emit(at, at + run);
    at += run;
  });
}

/** @param {number[][]} points */
const boxCorners = ([[x0, y0], [x1, y1]]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];

/** Upper end first, whichever way it was drawn, so that neighbours round a shared edge alike. */
const topFirst = (start, stop) => (start[1] > stop[1] ? [stop, start] : [start, stop]);

/** Columns per row; 0 for a level segment. */
const slopeOf = (ax, ay, bx, by) => (by - ay > TINY ? (bx - ax) / Math.max(by - ay, TINY) : 0);

/** First and past-the-last row within the photograph. */
function rows(first, last, height) {
  const start = clip(first, 0, height);
  return [start, Math.max(start, clip(last, 0, height))];
}

/**
 * Pixels whose centres a closed outline winds around.
 * @returns {boolean} whether there are any.
 */
function polygonRuns(points, height, width, emit) {
  /** @type {number[][][]} */
  const crossings = [];
  points.forEach((point, i) => {
    const next = points[(i + 1) % points.length];
    const turn = point[1] < next[1] ? 1 : -1;
    const [[ax, ay], [bx, by]] = topFirst(point, next);
    const [first, last] = rows(Math.ceil(ay - 0.5), Math.ceil(by - 0.5), height);
    const slope = slopeOf(ax, ay, bx, by);
    for (let row = first; row < last; row++) {
      const x = ax + (row + 0.5 - ay) * slope;
      (crossings[row] ??= []).push([clip(Math.ceil(x - 0.5), 0, width), turn]);
    }
  });
  let found = false;
  crossings.forEach((turns, row) => {
    turns.sort((a, b) => a[0] - b[0]);
    let depth = 0;
    for (let i = 0; i + 1 < turns.length; i++) {
      depth += turns[i][1];
      if (depth === 0 || turns[i][0] === turns[i + 1][0]) continue;
      found = true;
      emit(row * width + turns[i][0], row * width + turns[i + 1][0]);
    }
  });
  return found;
}

/** Pixels whose centres lie at most `radius` from a segment: one interval in every row. */
function brushRuns(start, stop, radius, height, width, emit) {
  const [[ax, ay], [bx, by]] = topFirst(start, stop);
  const dy = by - ay;
  const slope = slopeOf(ax, ay, bx, by);
  const isLevel = dy <= TINY;
  const leftmost = isLevel ? Math.min(ax, bx) : ax;
  const rightmost = isLevel ? Math.max(ax, bx) : ax;
  // Rows from the segment's upper end to where its left side is tangent.
  const tangent = (radius * (bx - ax)) / Math.max(Math.hypot(bx - ax, dy), TINY);
  const [first, last] = rows(Math.ceil(ay - radius - 0.5), Math.floor(by + radius - 0.5) + 1, height);
  for (let row = first; row < last; row++) {
    const y = row + 0.5 - ay;
    const from = Math.ceil(reach(leftmost, -1, y, tangent, dy, slope, radius));
    const to = Math.max(Math.floor(reach(rightmost, 1, y, tangent, dy, slope, radius)) + 1, from);
    const begin = clip(from, 0, width);
    const end = clip(to, 0, width);
    if (end > begin) emit(row * width + begin, row * width + end);
  }
}

/** Where, in columns of pixel centres, the brush's interval in a row ends on one side. */
function reach(endX, sign, y, tangent, dy, slope, radius) {
  const down = Math.min(Math.max(y + sign * tangent, 0), dy);
  const half = Math.sqrt(Math.max(radius * radius - (y - down) * (y - down), 0));
  return endX + down * slope + sign * half - 0.5;
}

/** Pixels (with their upper and left edges, without the others) that a segment runs through. */
function lineRuns(start, stop, height, width, emit) {
  const [[ax, ay], [bx, by]] = topFirst(start, stop);
  const [first, last] = rows(Math.floor(ay), Math.floor(by) + 1, height);
  const slope = slopeOf(ax, ay, bx, by);
  const low = Math.min(ax, bx);
  const high = Math.max(ax, bx);
  for (let row = first; row < last; row++) {
    const endsHere = by < row + 1;
    const enter = ay >= row ? ax : clip(ax + (row - ay) * slope, low, high);
    const leave = endsHere ? bx : clip(ax + (row + 1 - ay) * slope, low, high);
    // The point where a line leaves a row belongs to the next row, unless the line ends before.
    const after = endsHere || leave <= enter ? Math.floor(Math.max(enter, leave)) + 1 : Math.ceil(leave);
    const from = Math.floor(Math.min(enter, leave));
    const begin = clip(from, 0, width);
    const end = clip(Math.max(after, from + 1), 0, width);
    if (end > begin) emit(row * width + begin, row * width + end);
  }
}

/**
 * Draw shapes in order over an untouched photograph.
 * @param {Shape[]} shapes @param {number} height @param {number} width
 * @returns {Uint8Array} (height * width) labels.
 */
export function rasterise(shapes, height, width) {
  const labels = new Uint8Array(height * width);
  for (const shape of shapes) {
    const label = LABEL[shape.mark];
    eachRun(shape, height, width, (start, stop) => labels.fill(label, start, stop));
  }
  return labels;
}

/**
 * Run lengths of the set samples of a mask, row by row, beginning with the unset ones, as a shape of kind mask holds.
 * @param {Uint8Array} mask (height * width), 0 or not.
 * @returns {number[]}
 */
export function maskToRuns(mask) {
  const runs = [];
  let at = 0;
  let isSet = false;
  while (at < mask.length) {
    let next = at;
    while (next < mask.length && Boolean(mask[next]) === isSet) next++;
    runs.push(next - at);
    at = next;
    isSet = !isSet;
  }
  return runs.length ? runs : [0];
}
