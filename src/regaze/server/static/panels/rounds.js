/** Rounds: train one, follow it, see by the one vocabulary whether it helped, keep it or go back. */
import { useEffect, useState } from "../vendor/hooks.js";
import { get, photographUrl } from "../api.js";
import { cancel, job, roundsRevision, start, useModel } from "../jobs.js";
import { study } from "../state.js";
import { number, signed, t, word } from "../i18n.js";
import { html } from "../ui.js";
import { Interval } from "./charts.js";

const said = (verdict) => (verdict ? word(`verdict.${verdict}`, verdict) : t("verdict.none"));

/** One measure, before -> after, with the interval of the difference. */
function Measure({ title, measure, digits }) {
  if (!measure || measure.after === null) return html`<div class="measure"><h3>${title}</h3><p class="dim">${t("rounds.not_measured")}</p></div>`;
  const { before, after, difference, interval, verdict } = measure;
  const isMeasured = difference !== null && interval?.every((end) => end !== null);
  return html`
    <div class="measure">
      <h3>${title}</h3>
      <p class="numbers">
        ${before !== null && html`<span class="dim">${number(before, digits)}</span><span class="arrow" aria-hidden="true">→</span>`}
        <strong>${number(after, digits)}</strong>
        ${before !== null && html`<span class=${`chip is-${verdict}`}>${said(verdict)}</span>`}
      </p>
      ${isMeasured &&
      html`
        <${Interval} difference=${difference} interval=${interval} verdict=${verdict} />
        <p class="dim small">${signed(difference, 3)} (${signed(interval[0], 3)} … ${signed(interval[1], 3)})</p>
      `}
    </div>
  `;
}

/** Photographs that the round grades better or worse than the model before. */
function Changes({ model }) {
  const [changed, setChanged] = useState({ better: [], worse: [] });
  useEffect(() => void get(`/worse?model=${encodeURIComponent(model)}`).then(setChanged, () => {}), [model]);
  const { classes } = study.value;
  return ["better", "worse"].map((name) => [name, changed[name]]).map(
    ([name, items]) => items.length > 0 &&
      html`
        <div class="changes" key=${name}>
          <h3>${t(`rounds.${name}`, { n: items.length })}</h3>
          <ul>
            ${items.slice(0, 8).map(
              (item) => html`
                <li key=${item.id}>
                  <img src=${photographUrl(item.id, 3)} alt="" loading="lazy" />
                  <strong>${item.name}</strong>
                  <span>${classes[item.before]} → ${classes[item.after]}</span>
                  <small>${t("rounds.truth", { grade: classes[item.label] ?? "–" })}</small>
                </li>
              `,
            )}
          </ul>
        </div>
      `,
  );
}

function Job() {
  const state = job.value;
  if (!state) return null;
  const isRunning = state.state === "running";
  const share = state.total ? state.done / state.total : 0;
  return html`
    <section class=${`card job is-${state.state}`} aria-live="polite">
      <header><h2>${t(`job.${state.kind === "queue" ? "queue." : ""}${state.state}`)}</h2>
        ${state.verdict?.word && html`<span class=${`chip is-${state.verdict.word}`}>${said(state.verdict.word)}</span>`}<span class="dim">${isRunning ? word(`phase.${state.phase}`, state.phase) : ""}</span></header>
      ${isRunning &&
      html`
        <div class=${`progress ${state.total ? "" : "is-unknown"}`} role="progressbar" aria-label=${t("job.running")} aria-valuemin="0"
          aria-valuemax="100" aria-valuenow=${Math.round(100 * share)}><i style=${{ width: `${100 * share}%` }}></i></div>
      `}
      ${state.state !== "done" && html`<p class="message">${state.message}</p>`}
      ${isRunning && html`<button type="button" class="quiet" onClick=${cancel}>${t("job.cancel")}</button>`}
    </section>
  `;
}

function Round({ round, active, isNewest }) {
  const isLater = active && round.round > active.round;
  return html`
    <section class=${`card round ${round.is_active ? "is-active" : ""}`}>
      <header>
        <h2>${round.name}</h2>
        <span class="dim">${t("rounds.corrections", { n: round.corrections })}</span>
        ${round.word && html`<span class=${`chip is-${round.word}`}>${said(round.word)}</span>`}
        <span class="grow"></span>
        ${round.is_active
          ? html`<span class="chip is-active">${t("rounds.active")}</span>`
          : html`<button type="button" class=${isLater ? "primary" : "quiet"} onClick=${() => useModel(round.name)}>
              ${t(isLater ? "rounds.keep" : "rounds.use")}
            </button>`}
      </header>
      ${(round.grading?.after ?? round.attention?.after ?? null) !== null &&
      html`
        <div class="measures">
          <${Measure} title=${t("rounds.grading")} measure=${round.grading} digits=${3} />
          <${Measure} title=${t("rounds.attention")} measure=${round.attention} digits=${2} />
        </div>
        ${(round.is_active || isNewest) && html`<${Changes} model=${round.name} />`}
      `}
    </section>
  `;
}

export function Rounds() {
  const [answer, setAnswer] = useState(null);
  const revision = roundsRevision.value;
  useEffect(() => void get("/rounds").then(setAnswer, () => setAnswer({ rounds: [], advice: t("away") })), [revision]);
  const isRunning = job.value?.state === "running";
  const rounds = [...(answer?.rounds ?? [])].reverse();
  return html`
    <div class="page">
      <header class="page-head">
        <h1>${t("rounds.title")}</h1>
        <p class="lead">${t("rounds.lead")}</p>
        <div class="row">
          <button type="button" class="primary" disabled=${isRunning} onClick=${start}>${t("rounds.train")}</button>
          <p class="dim">${answer?.advice}</p>
        </div>
      </header>
      <${Job} />
      ${rounds.map(
        (round, i) => html`<${Round} key=${round.name} round=${round} active=${rounds.find((one) => one.is_active)} isNewest=${i === 0} />`,
      )}
      ${answer && rounds.length === 0 && html`<p class="empty">${t("rounds.empty")}</p>`}
    </div>
  `;
}
