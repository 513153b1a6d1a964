/** The rail of tools: what to say (look, not here, erase), with what, and how large. */
import { drawing, mark, size, tool } from "../state.js";
import { t } from "../i18n.js";
import { Choice, IconButton, html } from "../ui.js";

const MARKS = [["look", "L"], ["avoid", "N"], ["erase", "E"]];
const TOOLS = [["brush", "B"], ["lasso", "F"], ["box", "R"], ["wand", "W"], ["hand", "V"]];

const options = (group, entries) =>
  entries.map(([value, key]) => ({
    value,
    icon: value,
    name: t(`${group}.${value}`),
    hint: `${t(`${group}.${value}`)}  ${key}`,
    kind: `${group}-${value}`,
  }));

// The slider is logarithmic: a step is the same share at every size.
const toSlider = (pixels) => Math.round(100 * Math.log(pixels / 2) / Math.log(150));
const toPixels = (at) => Math.round(2 * 150 ** (at / 100));

/** @param {{desk: {current: import("../desk.js").Desk|null}}} props */
export function Tools({ desk }) {
  return html`
    <div class="tools" role="toolbar" aria-label=${t("tools")}>
      <${Choice} label=${t("marks")} kind="stacked marks" value=${mark.value} options=${options("mark", MARKS)}
        onChange=${(value) => (mark.value = value)} />
      <${Choice} label=${t("tools")} kind="stacked" value=${tool.value} options=${options("tool", TOOLS)}
        onChange=${(value) => (tool.value = value)} />
      <label class="size" title=${`${t("size")}  [ ]`}>
        <span class="hidden-text">${t("size")}</span>
        <input type="range" min="0" max="100" step="1" value=${toSlider(size.value)}
          aria-valuetext=${t("size.pixels", { n: Math.round(size.value) })}
          onInput=${(event) => (size.value = toPixels(Number(event.currentTarget.value)))} />
        <output>${Math.round(size.value)}</output>
      </label>
      <div class="pair"><${UndoRedo} desk=${desk} /></div>
    </div>
  `;
}

/** @param {{desk: {current: import("../desk.js").Desk|null}}} props */
export function UndoRedo({ desk }) {
  const { undo, redo } = drawing.value;
  return html`
    <${IconButton} icon="undo" label=${t("edit.undo")} keys="Ctrl Z" isOff=${!undo} onClick=${() => desk.current?.undo()} />
    <${IconButton} icon="redo" label=${t("edit.redo")} keys="Ctrl Shift Z" isOff=${!redo} onClick=${() => desk.current?.redo()} />
  `;
}
