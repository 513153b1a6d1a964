/** Everything by keyboard. One table: what the keys do and what the sheet behind `?` says of them. */
import { isHidden, isOther, layers, mark, patch, screen, sheet, size, tool } from "./state.js";

const BIGGER = 1.18;
const STEP = 80; // canvas pixels a key pans

/** @param {number} factor */
export function resizeBrush(factor) {
  size.value = Math.min(Math.max(Math.round(size.value * factor * 10) / 10, 1), 400);
}

/**
 * @param {import("./desk.js").Desk} desk @param {import("./cases.js").Cases} cases
 * @returns {{group: string, keys: string[], label: string, run: () => void, up?: () => void}[]}
 */
export function keyTable(desk, cases) {
  const choose = (what, value) => () => (what.value = value);
  const flip = (name) => () => patch(layers, { [name]: !layers.value[name] });
  const photo = (name) => () => patch(layers, { photo: layers.value.photo === name ? "colour" : name });
  const layer = (name) => () => patch(layers, { layer: name });
  const entry = (group, keys, label, run, up) => ({ group, keys, label, run, up });
  return [
    entry("mark", ["l"], "mark.look", choose(mark, "look")),
    entry("mark", ["n"], "mark.avoid", choose(mark, "avoid")),
    entry("mark", ["e"], "mark.erase", choose(mark, "erase")),
    entry("tool", ["b"], "tool.brush", choose(tool, "brush")),
    entry("tool", ["f"], "tool.lasso", choose(tool, "lasso")),
    entry("tool", ["r"], "tool.box", choose(tool, "box")),
    entry("tool", ["w"], "tool.wand", choose(tool, "wand")),
    entry("tool", ["v"], "tool.hand", choose(tool, "hand")),
    entry("tool", ["["], "size.smaller", () => resizeBrush(1 / BIGGER)),
    entry("tool", ["]"], "size.larger", () => resizeBrush(BIGGER)),
    entry("edit", ["mod+z"], "edit.undo", () => desk.undo()),
    entry("edit", ["mod+shift+z", "mod+y"], "edit.redo", () => desk.redo()),
    entry("view", ["+", "="], "view.in", () => desk.zoomBy(1.25)),
    entry("view", ["-"], "view.out", () => desk.zoomBy(0.8)),
    entry("view", ["0"], "view.fit", () => desk.fit()),
    entry("view", ["1"], "view.actual", () => desk.actual()),
    entry("view", ["arrowleft"], "view.left", () => desk.pan(STEP, 0)),
    entry("view", ["arrowright"], "view.right", () => desk.pan(-STEP, 0)),
    entry("view", ["arrowup"], "view.up", () => desk.pan(0, STEP)),
    entry("view", ["arrowdown"], "view.down", () => desk.pan(0, -STEP)),
    entry("layer", ["h"], "layer.hide", () => (isHidden.value = true), () => (isHidden.value = false)),
    entry("layer", ["c"], "layer.other", () => (isOther.value = true), () => (isOther.value = false)),
    entry("layer", ["m"], "layer.fused", layer("fused")),
    entry("layer", ["2"], "layer.scale_1", layer("0")),
    entry("layer", ["3"], "layer.scale_2", layer("1")),
    entry("layer", ["4"], "layer.scale_3", layer("2")),
    entry("layer", ["5"], "layer.none", layer("none")),
    entry("layer", ["o"], "layer.outline", flip("outline")),
    entry("layer", ["k"], "layer.lesions", flip("lesions")),
    entry("layer", ["g"], "photo.redfree", photo("redfree")),
    entry("layer", ["x"], "photo.contrast", photo("contrast")),
    entry("case", ["mod+enter"], "decide.save", () => cases.primary()),
    entry("case", ["shift+a"], "decide.accept", () => cases.accept()),
    entry("case", ["shift+n"], "decide.nothing", () => cases.toggleNothing()),
    entry("case", ["shift+s"], "decide.skip", () => (sheet.value = "skip")),
    entry("case", ["shift+f"], "decide.flag", () => cases.toggleFlag()),
    entry("case", ["?"], "help.title", () => (sheet.value = sheet.value === "help" ? null : "help")),
  ];
}

/** How a key event is written in the table. @param {KeyboardEvent} event */
function nameOf(event) {
  const key = event.key.toLowerCase();
  const isLetter = /^[a-z]$/.test(key);
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("mod");
  if (event.shiftKey && (isLetter || key.length > 1)) parts.push("shift");
  return [...parts, key].join("+");
}

const isTyping = (target) => target instanceof HTMLElement && target.matches("input:not([type=range]), textarea, select");

/** @param {ReturnType<typeof keyTable>} table @param {import("./pointer.js").Pointers} pointers */
export function listen(table, pointers) {
  const byKey = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry])));
  /** @type {Map<string, () => void>} code of a held key -> what ends it */
  const held = new Map();
  const release = () => {
    for (const end of held.values()) end();
    held.clear();
    pointers.isSpace = false;
  };
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && sheet.value) sheet.value = null;
    if (event.altKey || isTyping(event.target) || event.isComposing) return;
    const name = nameOf(event);
    if (sheet.value && name !== "?") return;
    if (name !== "?" && screen.value !== "draw") return;
    const onControl = event.target instanceof HTMLElement && event.target.closest("button, a, input, [role=tab]");
    if (event.key === " " && !onControl) {
      pointers.isSpace = true;
      event.preventDefault();
      return;
    }
    // Arrows on a slider or a row of choices are theirs.
    if (onControl && name.startsWith("arrow")) return;
    const entry = byKey.get(name);
    if (!entry || (event.repeat && entry.up)) return;
    event.preventDefault();
    entry.run();
    if (entry.up) held.set(event.code, entry.up);
  });
  window.addEventListener("keyup", (event) => {
    if (event.key === " ") pointers.isSpace = false;
    held.get(event.code)?.();
    held.delete(event.code);
  });
  window.addEventListener("blur", release);
}
