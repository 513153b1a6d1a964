/** The drawing page: tools, canvas, and what stands beside it. */
import { useEffect, useRef } from "../vendor/hooks.js";
import { signal } from "../vendor/signals.js";
import { caseState, current, penMode, save, screen, zoom } from "../state.js";
import { clock, percent, t } from "../i18n.js";
import { job } from "../jobs.js";
import { Icon, IconButton, html } from "../ui.js";
import { Decide } from "./decide.js";
import { Layers } from "./layers.js";
import { Predict } from "./predict.js";
import { Tools, UndoRedo } from "./tools.js";

/** On a phone one panel is open at a time, or none. */
const panel = signal("model");
const PANELS = ["model", "view", "finish"];

function Conflict({ cases }) {
  const { other } = save.value;
  return html`
    <div class="conflict" role="alert">
      <p>${t("conflict.text", { time: other?.saved_at ? clock(other.saved_at) : "–" })}</p>
      <div class="row">
        <button type="button" class="quiet" onClick=${() => cases.takeTheirs()}>${t("conflict.theirs")}</button>
        <button type="button" class="quiet" onClick=${() => cases.keepMine()}>${t("conflict.mine")}</button>
      </div>
    </div>
  `;
}

function Nothing({ cases }) {
  const state = caseState.value;
  if (state === "ready") return null;
  const isOrdering = state === "empty" && job.value?.kind === "queue" && job.value.state === "running";
  return html`
    <div class="no-case" role="status">
      <p>${t(isOrdering ? "job.queue.running" : `case.${state}`)}</p>
      ${isOrdering && html`<p class="small">${job.value.message}</p>`}
      ${state !== "loading" && !isOrdering &&
      html`
        <div class="row">
          <button type="button" class="quiet" onClick=${() => cases.next()}>${t("case.try_next")}</button>
          <button type="button" class="quiet" onClick=${() => (screen.value = "queue")}>${t("nav.queue")}</button>
        </div>
      `}
    </div>
  `;
}

/** @param {{desk: any, cases: any, attach: (canvas: HTMLCanvasElement, ring: HTMLElement, curtain: HTMLElement) => void}} props */
export function Draw({ desk, cases, attach }) {
  const canvas = useRef(null);
  const ring = useRef(null);
  const curtain = useRef(null);
  useEffect(() => attach(canvas.current, ring.current, curtain.current), []);
  const info = current.value;
  return html`
    <main class="draw" hidden=${screen.value !== "draw"} data-open=${panel.value}>
      <h1 class="hidden-text">${info?.name ?? t("nav.draw")}</h1>
      <${Tools} desk=${desk} />
      <div class="stage">
        <canvas ref=${canvas} tabindex="0" aria-label=${t("canvas")} class="canvas"></canvas>
        <div ref=${ring} class="ring" aria-hidden="true" hidden></div>
        <div ref=${curtain} class="curtain" role="slider" tabindex="0" aria-label=${t("compare.curtain")} aria-valuemin="0" aria-valuemax="100"
          aria-valuenow="50" hidden></div>
        ${info && caseState.value === "ready" &&
        html`<div class="why"><strong>${info.name}</strong><span>${info.why}</span></div>`}
        ${save.value.state === "conflict" && html`<${Conflict} cases=${cases} />`}
        <${Nothing} cases=${cases} />
        <div class="phone-edit"><${UndoRedo} desk=${desk} /></div>
        <div class="corner">
          ${penMode.value &&
          html`<button type="button" class="pen-chip" onClick=${() => (penMode.value = false)}><${Icon} name="pen" />${t("pen.leave")}</button>`}
          <div class="zoom">
            <${IconButton} icon="minus" label=${t("view.out")} keys="−" onClick=${() => desk.current?.zoomBy(0.8)} />
            <button type="button" class="zoom-value" title=${`${t("view.actual")}  1`} onClick=${() => desk.current?.actual()}>${percent(zoom.value, 0)}</button>
            <${IconButton} icon="plus" label=${t("view.in")} keys="+" onClick=${() => desk.current?.zoomBy(1.25)} />
            <${IconButton} icon="fit" label=${t("view.fit")} keys="0" onClick=${() => desk.current?.fit()} />
          </div>
        </div>
      </div>
      <div class="tabs" role="group" aria-label=${t("panels")}>
        ${PANELS.map(
          (name) => html`
            <button type="button" key=${name} aria-expanded=${String(panel.value === name)}
              onClick=${() => (panel.value = panel.value === name ? "none" : name)}>${t(`panel.${name}`)}</button>
          `,
        )}
      </div>
      <aside class="side" aria-label=${t("panels")}>
        <div class="side-scroll"><${Predict} /><${Layers} cases=${cases} /></div>
        <${Decide} cases=${cases} />
      </aside>
    </main>
  `;
}
