/** The queue in the acquisition rule's order: what comes next, and why. */
import { useEffect, useState } from "../vendor/hooks.js";
import { get, photographUrl } from "../api.js";
import { caseState, current, screen, study, windowId } from "../state.js";
import { number, t, word } from "../i18n.js";
import { Icon, html } from "../ui.js";

const PAGE = 50;

/** How far the study is. */
export function Progress({ counts }) {
  const done = (counts.corrected ?? 0) + (counts.accepted ?? 0) + (counts.skipped ?? 0);
  const total = done + (counts.waiting ?? 0);
  const share = total ? (100 * done) / total : 0;
  return html`
    <div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${done}
      aria-label=${t("queue.progress", { done: number(done), total: number(total) })}>
      <i style=${{ width: `${share}%` }}></i>
    </div>
  `;
}

/** @param {{cases: import("../cases.js").Cases}} props */
export function Queue({ cases }) {
  const [items, setItems] = useState(null);
  const [counts, setCounts] = useState(study.value?.counts ?? {});
  const [isAway, setAway] = useState(false);
  const load = async (offset, before) => {
    try {
      const answer = await get(`/queue?offset=${offset}&limit=${PAGE}&window=${windowId}`);
      setItems([...before, ...answer.cases]);
      setCounts(answer.counts);
      setAway(false);
    } catch {
      setAway(true);
    }
  };
  useEffect(() => void load(0, []), []);
  const open = (id) => {
    screen.value = "draw";
    void cases.open(id);
  };
  return html`
    <div class="page">
      <header class="page-head">
        <h1>${t("queue.title")}</h1>
        <p class="lead">${t("queue.lead")}</p>
        <${Progress} counts=${counts} />
        <p class="dim">${t("queue.counts", { waiting: number(counts.waiting ?? 0), corrected: number(counts.corrected ?? 0) })}</p>
      </header>
      ${isAway && html`<p class="warning">${t("away")}</p>`}
      <ol class="cases">
        ${(items ?? []).map(
          (item) => html`
            <li key=${item.id} class=${`case is-${item.state} ${current.value?.id === item.id && caseState.value === "ready" ? "is-open" : ""}`}>
              <button type="button" disabled=${item.leased_by_other} onClick=${() => open(item.id)}>
                <img src=${photographUrl(item.id, 3)} alt="" loading="lazy" decoding="async" />
                <span class="case-text">
                  <strong>${item.name ?? `#${item.id}`}</strong>
                  <span class="why">${item.why}</span>
                </span>
                ${item.flagged && html`<span class="flagged" title=${t("state.flagged")}><${Icon} name="flag" /></span>`}
                <span class="chip">${item.leased_by_other ? t("queue.leased") : word(`state.${item.state}`, item.state)}</span>
              </button>
            </li>
          `,
        )}
      </ol>
      ${items?.length === 0 && html`<p class="empty">${t("queue.empty")}</p>`}
      ${items && items.length > 0 && items.length % PAGE === 0 &&
      html`<button type="button" class="quiet" onClick=${() => load(items.length, items)}>${t("queue.more")}</button>`}
    </div>
  `;
}
