/**
 * Colours of attention: tables of 256 entries along a path through OKLab (Ottosson 2020, the published matrices), with
 * equal steps of perceived difference from entry to entry and lightness that only rises.
 */

// Knots as [lightness 0..1, chroma, hue in degrees].
const PATHS = {
  // Deep blue over teal to pale straw: the hues that a fundus lacks, apart without telling red from green.
  dusk: [[0.34, 0.15, 268], [0.47, 0.14, 255], [0.6, 0.115, 225], [0.74, 0.115, 198], [0.87, 0.13, 160], [0.97, 0.14, 112]],
  // Plum over ember to pale yellow, for red-free photographs.
  ember: [[0.2, 0.09, 305], [0.36, 0.16, 340], [0.52, 0.19, 15], [0.68, 0.18, 45], [0.83, 0.16, 80], [0.95, 0.12, 105]],
};
// What speaks against the class (negative) and what speaks for it, from neutral grey.
const AGAINST = [[0.5, 0.0, 55], [0.62, 0.12, 55], [0.76, 0.16, 65]];
const FOR = [[0.5, 0.0, 220], [0.64, 0.1, 220], [0.82, 0.13, 200]];

const FINE = 2048;

/** @param {number[]} knot @returns {number[]} OKLab */
function toLab([lightness, chroma, hue]) {
  const angle = (hue * Math.PI) / 180;
  return [lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)];
}

/** OKLab to sRGB bytes. @param {number[]} lab */
export function toRgb([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const light = Math.min(Math.max(value, 0), 1);
    return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
  });
}

/** Points along a path at equal distances in OKLab. */
function evenly(knots, count) {
  const labs = knots.map(toLab);
  const fine = [];
  for (let i = 0; i <= FINE; i++) {
    const at = (i / FINE) * (labs.length - 1);
    const knot = Math.min(Math.floor(at), labs.length - 2);
    fine.push(labs[knot].map((value, axis) => value + (labs[knot + 1][axis] - value) * (at - knot)));
  }
  const along = [0];
  for (let i = 1; i < fine.length; i++) along.push(along[i - 1] + Math.hypot(...fine[i].map((v, axis) => v - fine[i - 1][axis])));
  const result = [];
  for (let i = 0, at = 0; i < count; i++) {
    const wanted = (i / (count - 1)) * along[FINE];
    while (at < FINE - 1 && along[at + 1] < wanted) at++;
    const share = (wanted - along[at]) / (along[at + 1] - along[at]);
    result.push(fine[at].map((value, axis) => value + (fine[at + 1][axis] - value) * share));
  }
  return result;
}

/** @param {number[][]} labs @returns {Uint8Array} (256 * 3) sRGB */
const table = (labs) => Uint8Array.from(labs.flatMap(toRgb));

/** Name -> 256 * 3 bytes. @type {Record<string, Uint8Array>} */
export const TABLES = Object.fromEntries(Object.entries(PATHS).map(([name, knots]) => [name, table(evenly(knots, 256))]));

/** Evidence: 0 speaks most against the class, 128 is neutral, 255 speaks most for it. */
export const DIVERGING = table([...evenly(AGAINST, 128).reverse(), ...evenly(FOR, 128)]);

/** A gradient for a legend. @param {Uint8Array} colours */
export function gradient(colours) {
  const stops = [];
  for (let i = 0; i < 256; i += 15) stops.push(`rgb(${colours[3 * i]} ${colours[3 * i + 1]} ${colours[3 * i + 2]})`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}
