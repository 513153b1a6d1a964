/** The study at a glance: what waits, what was done, what it brought, when to stop. */
import { useEffect, useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { study } from "../state.js";
import { number, t, word } from "../i18n.js";
import { html } from "../ui.js";
import { Curve } from "./charts.js";
import { Progress } from "./queue.js";

const COUNTS = ["waiting", "corrected", "accepted", "skipped", "flagged"];

export function Overview() {
  const [answer, setAnswer] = useState(null);
  const [isAway, setAway] = useState(false);
  useEffect(() => void get("/dashboard").then(setAnswer, () => setAway(true)), []);
  const counts = answer?.counts ?? study.value?.counts ?? {};
  const curve = (answer?.curve ?? []).filter((point) => point.corrections !== null);
  const points = (name) => curve.filter((p) => p[name] !== null && p[name] !== undefined).map((p) => ({ x: p.corrections, y: p[name] }));
  return html`
    <div class="page">
      <header class="page-head"><h1>${study.value?.name}</h1><${Progress} counts=${counts} /></header>
      ${isAway && html`<p class="warning">${t("away")}</p>`}
      <dl class="figures">
        ${COUNTS.map(
          (name) => html`<div key=${name} class=${`is-${name}`}><dt>${word(`state.${name}`, name)}</dt><dd>${number(counts[name] ?? 0)}</dd></div>`,
        )}
      </dl>
      <div class="curves">
        <section class="card"><${Curve} title=${t("overview.kappa")} points=${points("kappa")} digits=${3} /></section>
        <section class="card"><${Curve} title=${t("overview.enrichment")} points=${points("enrichment")} /></section>
      </div>
      ${answer?.advice && html`<section class="card advice"><h2>${t("overview.advice")}</h2><p>${answer.advice}</p></section>`}
    </div>
  `;
}
