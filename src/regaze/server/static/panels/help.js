/** The sheet behind `?`: all keys, and what pen and fingers do. */
import { sheet } from "../state.js";
import { t } from "../i18n.js";
import { Sheet, html } from "../ui.js";

const NAMES = { arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", enter: "↵" };
const isMac = /mac/i.test(navigator.platform);

/** @param {string} key as in the table */
const shownKey = (key) =>
  key.split(/\+(?=.)/).map((part) => (part === "mod" ? (isMac ? "⌘" : "Ctrl") : (NAMES[part] ?? (part.length > 1 ? part[0].toUpperCase() + part.slice(1) : part.toUpperCase()))));

/** @param {{table: ReturnType<typeof import("../keys.js").keyTable>}} props */
export function Help({ table }) {
  const groups = [...new Set(table.map((entry) => entry.group))];
  return html`
    <${Sheet} title=${t("help.title")} onClose=${() => (sheet.value = null)} kind="help">
      <div class="key-groups">
        ${groups.map(
          (group) => html`
            <section key=${group}>
              <h3>${t(`help.group.${group}`)}</h3>
              <dl>
                ${table.filter((entry) => entry.group === group).map(
                  (entry) => html`
                    <div key=${entry.label}>
                      <dt>${t(entry.label)}</dt>
                      <dd>${shownKey(entry.keys[0]).map((part) => html`<kbd>${part}</kbd>`)}</dd>
                    </div>
                  `,
                )}
              </dl>
            </section>
          `,
        )}
        <section>
          <h3>${t("help.group.pointer")}</h3>
          <ul>${["wheel", "space", "right", "pen", "fingers", "wand"].map((name) => html`<li key=${name}>${t(`help.${name}`)}</li>`)}</ul>
        </section>
      </div>
    <//>
  `;
}
