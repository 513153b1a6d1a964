/**
 * What the model says, before and now: bars per grade, and beside them the change with the same amount of attention
 * without its place, so that nobody is told that a place matters where only the amount does.
 */
import { signal } from "../vendor/signals.js";
import { current, drawing, decision, isAsking, study, whatIf } from "../state.js";
import { number, percent, signed, t } from "../i18n.js";
import { Choice, html } from "../ui.js";

/** "fused" or the number of a branch. */
const shown = signal("fused");

const FLOOR = 1e-4; // a probability below it is not told from 0 in log-odds
const RANGES = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8];

const logOdds = (p) => {
  const safe = Math.min(Math.max(p, FLOOR), 1 - FLOOR);
  return Math.log(safe / (1 - safe));
};
const rowOf = (answer, which) => (which === "fused" ? answer.fused : answer.branches[Number(which)]);
const width = (share) => ({ width: `${100 * share}%` });
const left = (share) => ({ left: `${100 * share}%` });

/** Five small bars: one branch at a glance. */
const Spark = ({ values }) => html`
  <span class="spark" aria-hidden="true">${values.map((value) => html`<i style=${{ height: `${Math.max((100 * value) / Math.max(...values), 6)}%` }}></i>`)}</span>
`;

function Bar({ name, before, now, even, isTop, isLabel }) {
  const change = now === null ? null : now - before;
  const parts = [...(isLabel ? [t("predict.label")] : []), `${t("predict.before")} ${percent(before)}`];
  if (now !== null) parts.push(`${t("predict.now")} ${percent(now)}`, `${t("predict.same_amount")} ${percent(even)}`);
  return html`
    <div class=${`bar ${isTop ? "is-top" : ""}`} role="listitem" aria-label=${`${name}: ${parts.join(", ")}`} title=${parts.join("\n")}>
      <span class="bar-name">${name}${isLabel && html`<i class="given" title=${t("predict.label")}></i>`}</span>
      <span class="track">
        <i class="fill" style=${width(now ?? before)}></i>
        ${now !== null && html`<i class="tick before" style=${left(before)}></i>`}
        ${now !== null && html`<i class="tick even" style=${left(even)}></i>`}
      </span>
      <span class="value">${percent(now ?? before)}</span>
      <span class="delta">${change === null || Math.abs(change) < 0.0005 ? "" : signed(100 * change, 1)}</span>
    </div>
  `;
}

/** The change alone, in log-odds, on a range that fits it: small changes are what there is to see. */
function Strip({ names, before, now, even }) {
  const changes = now.map((p, i) => logOdds(p) - logOdds(before[i]));
  const controls = even.map((p, i) => logOdds(p) - logOdds(before[i]));
  const most = Math.max(...changes.map(Math.abs), ...controls.map(Math.abs));
  const range = RANGES.find((value) => value >= most) ?? RANGES.at(-1);
  const at = (value) => 0.5 + (0.5 * Math.min(Math.max(value, -range), range)) / range;
  return html`
    <div class="strip">
      <div class="strip-head"><span>−${number(range, 2)}</span><span>${t("predict.change")}</span><span>+${number(range, 2)}</span></div>
      ${names.map(
        (name, i) => html`
          <div class="strip-row" key=${i} title=${`${name}: ${signed(changes[i], 3)} · ${t("predict.same_amount")} ${signed(controls[i], 3)}`}>
            <i class=${`strip-fill ${changes[i] < 0 ? "is-less" : ""}`}
              style=${{ left: `${100 * Math.min(at(changes[i]), 0.5)}%`, width: `${100 * Math.abs(at(changes[i]) - 0.5)}%` }}></i>
            <i class="tick even" style=${left(at(controls[i]))}></i>
          </div>
        `,
      )}
    </div>
  `;
}

/** One sentence on how far the bars moved, and by what. */
function verdict(before, now, even, listens) {
  if (!listens) return t("predict.deaf");
  const half = (a, b) => a.reduce((sum, p, i) => sum + Math.abs(p - b[i]), 0) / 2;
  const moved = half(now, before);
  const apart = half(now, even);
  if (moved < 0.002) return t("predict.unmoved");
  return apart < 0.25 * moved ? t("predict.amount") : t("predict.place", { moved: percent(moved), apart: percent(apart) });
}

/** What the ticks mean; the dot is the grade that the photograph came with. */
function key(names) {
  return html`
    <p class="key">
      <span><i class="given"></i>${names.label}</span>
      ${names.now && html`<span><i class="tick before"></i>${names.before}</span>`}
      ${names.now && html`<span><i class="swatch"></i>${names.now}</span>`}
      ${names.now && html`<span><i class="tick even"></i>${names.even}</span>`}
    </p>
  `;
}

export function Predict() {
  const info = current.value;
  if (!info) return null;
  const { failed } = whatIf.value ?? {};
  const answer = whatIf.value?.now ? whatIf.value : null;
  const isEdited = drawing.value.undo > 0 || decision.value.decision === "nothing";
  const own = { fused: info.probabilities, branches: info.branches };
  const which = shown.value === "fused" || Number(shown.value) < info.branches.length ? shown.value : "fused";
  const before = rowOf(answer?.before ?? own, which);
  const now = answer ? rowOf(answer.now, which) : null;
  const even = answer ? rowOf(answer.same_amount, which) : null;
  const top = (now ?? before).indexOf(Math.max(...(now ?? before)));
  const names = study.value.classes;
  const latest = answer?.now ?? own;
  const options = [
    { value: "fused", text: t("predict.fused"), body: html`<${Spark} values=${latest.fused} /><span>${t("predict.fused")}</span>` },
    ...info.branches.map((_, i) => ({
      value: String(i),
      body: html`<${Spark} values=${latest.branches[i]} /><span>${t("predict.branch", { n: i + 1 })}</span>`,
    })),
  ];
  return html`
    <section class="panel predict" data-panel="model" aria-labelledby="predict-title">
      <header>
        <h2 id="predict-title">${t("predict.title")}</h2>
        <span class=${`pulse ${isAsking.value ? "is-on" : ""}`} aria-hidden="true"></span>
      </header>
      <${Choice} label=${t("predict.which")} kind="sparks" value=${which} options=${options} onChange=${(value) => (shown.value = value)} />
      <div class="bars" role="list">
        ${names.map(
          (name, i) => html`
            <${Bar} key=${i} name=${name} before=${before[i]} now=${now && now[i]} even=${even && even[i]} isTop=${i === top}
              isLabel=${info.label === i} />
          `,
        )}
      </div>
      ${key({ label: t("predict.label"), before: t("predict.before"), now: now && t("predict.now"), even: t("predict.same_amount") })}
      <p class="verdict" aria-live="polite">
        ${failed ? t("predict.failed") : now ? verdict(before, now, even, answer.listens) : isEdited ? "" : t("predict.invite")}
      </p>
      ${now && html`<${Strip} names=${names} before=${before} now=${now} even=${even} />`}
    </section>
  `;
}
