/** The bar at the top: where one is, whether everything is saved, language and light. */
import { job } from "../jobs.js";
import { LANGUAGES, clock, t, use } from "../i18n.js";
import { language, remember, save, screen, sheet, study, theme } from "../state.js";
import { IconButton, html } from "../ui.js";

const SCREENS = ["draw", "queue", "rounds", "overview"];

function Saved() {
  const { state, at } = save.value;
  const text = state === "saved" && at ? t("save.saved_at", { time: clock(at) }) : t(`save.${state}`);
  return html`<span class=${`saved is-${state}`} role="status" title=${state === "refused" ? save.value.other : t(`save.${state}.more`)}><i aria-hidden="true"></i><span>${text}</span></span>`;
}

export function Top() {
  const isDark = theme.value === "dark";
  const other = language.value === "en" ? "ja" : "en";
  const flip = () => {
    theme.value = isDark ? "light" : "dark";
    remember("theme", theme.value);
  };
  return html`
    <header class="top">
      <span class="brand" title=${study.value?.name}><${Eye} /><strong>regaze</strong><span class="study">${study.value?.name}</span></span>
      <nav aria-label=${t("nav")}>
        ${SCREENS.map(
          (name) => html`
            <a key=${name} href=${`#/${name}`} aria-current=${screen.value === name ? "page" : undefined}>
              ${t(`nav.${name}`)}${name === "rounds" && job.value?.state === "running" ? html`<i class="busy" aria-label=${t("job.running")}></i>` : ""}
            </a>
          `,
        )}
      </nav>
      <span class="grow"></span>
      <${Saved} />
      <button type="button" class="icon-button language" lang=${other} aria-label=${LANGUAGES[other]} title=${LANGUAGES[other]}
        onClick=${() => use(other)}>${other === "ja" ? "日" : "EN"}</button>
      <${IconButton} icon=${isDark ? "sun" : "moon"} label=${t(isDark ? "theme.light" : "theme.dark")} onClick=${flip} />
      <${IconButton} icon="help" label=${t("help.title")} keys="?" onClick=${() => (sheet.value = "help")} />
    </header>
  `;
}

const Eye = () => html`
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="16" r="10" /><circle class="pupil" cx="19.500" cy="13" r="3.600" /></svg>
`;
