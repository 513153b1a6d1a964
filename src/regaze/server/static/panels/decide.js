/** What the expert says of the case beside the drawing, and how it ends. */
import { signal } from "../vendor/signals.js";
import { current, decision, drawing, sheet, study } from "../state.js";
import { t, word } from "../i18n.js";
import { Icon, Sheet, html } from "../ui.js";

const REASONS = ["quality", "unsure", "not_fundus", "other"];

/** @param {{cases: import("../cases.js").Cases}} props */
export function Decide({ cases }) {
  const info = current.value;
  if (!info) return null;
  const { grade, flagged, remark, decision: chosen } = decision.value;
  const { classes } = study.value;
  const isNothing = chosen === "nothing";
  const hasMarks = drawing.value.undo > 0;
  return html`
    <section class="panel decide" data-panel="finish" aria-labelledby="decide-title">
      <header><h2 id="decide-title">${t("decide.title")}</h2></header>
      <label class="field">
        <span>${t("decide.grade")}</span>
        <select value=${grade === null ? "" : String(grade)}
          onChange=${(event) => cases.decide({ grade: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) })}>
          <option value="">${info.label === null ? "–" : t("decide.grade_right", { grade: classes[info.label] })}</option>
          ${classes.map((name, i) => i !== info.label && html`<option key=${i} value=${String(i)}>${t("decide.grade_wrong", { grade: name })}</option>`)}
        </select>
      </label>
      <label class="field remark">
        <span>${t("decide.remark")}</span>
        <textarea rows="1" maxlength="2000" value=${remark} placeholder=${t("decide.remark_hint")}
          onInput=${(event) => cases.decide({ remark: event.currentTarget.value })}></textarea>
      </label>
      <div class="actions">
        <button type="button" class="quiet" aria-pressed=${String(isNothing)} title="Shift N" onClick=${() => cases.toggleNothing()}>
          ${t("decide.nothing")}
        </button>
        <button type="button" class="quiet" aria-pressed=${String(flagged)} title="Shift F" onClick=${() => cases.toggleFlag()}>
          <${Icon} name="flag" />${t("decide.flag")}
        </button>
        <button type="button" class="quiet" title="Shift S" onClick=${() => (sheet.value = "skip")}>${t("decide.skip")}</button>
        <button type="button" class="quiet" title=${hasMarks ? t("decide.accept_marked") : "Shift A"} disabled=${hasMarks || isNothing}
          onClick=${() => cases.accept()}>${t("decide.accept")}</button>
      </div>
      <button type="button" class="primary" title="Ctrl Enter" disabled=${!hasMarks && !isNothing} onClick=${() => cases.primary()}>
        <${Icon} name="check" />${isNothing ? t("decide.save_nothing") : t("decide.save")}
      </button>
    </section>
  `;
}

const reason = signal("quality");

/** @param {{cases: import("../cases.js").Cases}} props */
export function SkipSheet({ cases }) {
  const close = () => (sheet.value = null);
  const skip = () => {
    close();
    cases.decide({ reason: reason.value });
    void cases.finish("skip");
  };
  return html`
    <${Sheet} title=${t("skip.title")} onClose=${close} kind="small">
      <fieldset class="reasons">
        <legend>${t("skip.why")}</legend>
        ${REASONS.map(
          (name) => html`
            <label key=${name}><input type="radio" name="reason" value=${name} checked=${reason.value === name}
              onChange=${() => (reason.value = name)} /><span>${word(`skip.reason.${name}`, name)}</span></label>
          `,
        )}
      </fieldset>
      <button type="button" class="primary" onClick=${skip}>${t("skip.do")}</button>
    <//>
  `;
}
