/** What the page shows, as signals: one place that every module reads. */
import { signal } from "./vendor/signals.js";

const remembered = (key, otherwise) => {
  try {
    return localStorage.getItem(`regaze.${key}`) ?? otherwise;
  } catch {
    return otherwise;
  }
};

/** Keep a choice of this browser. @param {string} key @param {string} value */
export function remember(key, value) {
  try {
    localStorage.setItem(`regaze.${key}`, value);
  } catch {
    // A browser that keeps nothing still works.
  }
}

const fresh = () => crypto.randomUUID();
const inTab = (id) => {
  try {
    sessionStorage.setItem("regaze.window", id);
  } catch {
    // Then a reload is a new window.
  }
  return id;
};

/** This tab, to the server: leases and drafts are by window. It outlives a reload of the tab, as its lease does. */
export let windowId = (() => {
  try {
    return sessionStorage.getItem("regaze.window") ?? inTab(fresh());
  } catch {
    return fresh();
  }
})();

/** A duplicated tab copies its id: whoever cannot lock it takes a new one. */
export async function claimWindow() {
  if (!navigator.locks) return;
  await new Promise((resolve) => {
    const options = { signal: AbortSignal.timeout(700) };
    const hold = () => {
      resolve();
      return new Promise(() => {}); // as long as the tab lives
    };
    navigator.locks.request(`regaze ${windowId}`, options, hold).catch(() => {
      windowId = inTab(fresh());
      resolve();
    });
  });
}

export const language = signal(remembered("language", navigator.language.startsWith("ja") ? "ja" : "en"));
export const theme = signal(remembered("theme", "dark"));

/** @type {import("./vendor/signals.js").Signal<any>} /api/study */
export const study = signal(null);
/** @type {import("./vendor/signals.js").Signal<"draw"|"queue"|"rounds"|"overview">} */
export const screen = signal("draw");
/** The open case as the server describes it. */
export const current = signal(null);
/** "loading", "ready", "empty" (nothing waits), "held" (another window has it), "away" (the server is) or "error". */
export const caseState = signal("loading");

/** @type {import("./vendor/signals.js").Signal<"brush"|"lasso"|"box"|"wand"|"hand">} */
export const tool = signal("brush");
/** @type {import("./vendor/signals.js").Signal<import("./raster.js").Mark>} */
export const mark = signal("look");
/** Diameter of the brush in original pixels. */
export const size = signal(Number(remembered("size", "40")));
export const penMode = signal(false);
/** Grows with each change of the drawing; {undo, redo, shapes} say what is possible. */
export const drawing = signal({ undo: 0, redo: 0, revision: 0 });

/** What the expert decides about the case beside the drawing. */
export const decision = signal({ decision: null, reason: "", grade: null, flagged: false, remark: "" });

/**
 * @typedef {{layer: string, opacity: number, threshold: number, outline: boolean, colours: string, photo: string,
 *   lesions: boolean, compare: string, model: string}} Layers
 */
/** @type {import("./vendor/signals.js").Signal<Layers>} */
export const layers = signal({
  layer: "fused",
  opacity: 0.6,
  threshold: 0.35,
  outline: false,
  colours: "dusk",
  photo: "colour",
  lesions: false,
  compare: "off",
  compareWith: "evidence",
});
/** Held: overlay and marks are hidden. */
export const isHidden = signal(false);
/** Held or blinking: the other map is shown. */
export const isOther = signal(false);

/** The last answer of the network: {before, now, same_amount, listens}, null before the first. */
export const whatIf = signal(null);
export const isAsking = signal(false);

/** @type {import("./vendor/signals.js").Signal<{state: "saved"|"saving"|"unsaved"|"away"|"refused"|"conflict", at: string|null, other: any}>} */
export const save = signal({ state: "saved", at: null, other: null });

/** The name of the open sheet: null, "help", "skip" or "grade". */
export const sheet = signal(null);
/** A line at the bottom that goes by itself. */
export const notice = signal(null);
export const zoom = signal(1);

/** @template T @param {{value: T}} what @param {Partial<T>} change */
export function patch(what, change) {
  what.value = { ...what.value, ...change };
}

let noticeTimer = 0;
/** @param {string} text @param {number} [milliseconds] */
export function say(text, milliseconds = 4000) {
  notice.value = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (notice.value = null), milliseconds);
}
