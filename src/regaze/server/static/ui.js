/** Small pieces that every panel is made of. */
import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";
import { useEffect, useRef } from "./vendor/hooks.js";
import { t } from "./i18n.js";

export const html = htm.bind(h);

// Paths on a 24 x 24 grid, drawn as lines.
const ICONS = {
  brush: "M20 4 10.5 13.5M8 13c-2.2 0-3.4 1.6-3.4 3.6 0 1.2-.8 2-1.8 2.2 1 .8 2.6 1.2 4.2 1.2 2.6 0 4.4-1.6 4.4-3.8A3.3 3.3 0 0 0 8 13Z",
  lasso: "M7 16c-2.6-1-4-2.900-4-5.200C3 7 7 4.500 12 4.500s9 2.500 9 6.300-4 6.300-9 6.300c-.8 0-1.600-.1-2.300-.2M8.500 17.500a1.900 1.900 0 1 1-3.800 0 1.900 1.900 0 0 1 3.800 0Zm-1 1.600c.4 1.200.2 2-.7 2.900",
  box: "M5 5h14v14H5Z",
  wand: "M4 20 14.500 9.500M17 3v3M17 10v3M12 8h3M19 8h3M13.300 4.300l2 2M20.700 4.300l-2 2M20.700 11.700l-2-2",
  hand: "M7.500 12V6.300a1.500 1.500 0 0 1 3 0V11M10.500 11V4.800a1.500 1.500 0 0 1 3 0V11M13.500 11V5.800a1.500 1.500 0 0 1 3 0V12M16.500 9.500a1.500 1.500 0 0 1 3 0V15c0 3.600-2.400 6-6 6-3.200 0-4.600-1.400-6-4l-2.300-3.900c-.5-1 .6-2.100 1.600-1.500l1.700 1.400",
  look: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12Zm9.500 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  avoid: "M3 3l18 18M9.500 5.800A9 9 0 0 1 12 5.500c6 0 9.500 6.500 9.500 6.500a17 17 0 0 1-3 3.700M6.300 7.500A16 16 0 0 0 2.500 12S6 18.500 12 18.500c1.500 0 2.900-.4 4.100-1M10 10a3 3 0 0 0 4.100 4.200",
  erase: "m8.500 20-5-5a1.500 1.500 0 0 1 0-2.100l9.400-9.400a1.500 1.500 0 0 1 2.100 0l5.500 5.500a1.500 1.500 0 0 1 0 2.100L11.500 20ZM8 8.500l7.500 7.500M8.500 20H21",
  undo: "M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "m16 5 4 4-4 4M20 9H10a6 6 0 0 0 0 12h3",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  help: "M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 17.500v.1",
  flag: "M5 21V4M5 5c4-2.500 8 2.500 13 0v9c-5 2.500-9-2.500-13 0",
  check: "m5 12.500 4.500 4.500L19 7",
  close: "m6 6 12 12M18 6 6 18",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500Z",
  pen: "m4 20 1-4.500L16.500 4a1.800 1.800 0 0 1 2.500 0l1 1a1.800 1.800 0 0 1 0 2.500L8.500 19 4 20ZM14.500 6l3.500 3.500",
  chevron: "m6 9.500 6 6 6-6",
};

/** @param {{name: string}} props */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>
`;

/** A square button with an icon; its name is read out and shown as a hint. */
export const IconButton = ({ icon, label, keys, isOn, isOff, onClick, kind = "" }) => html`
  <button type="button" class=${`icon-button ${kind}`} aria-pressed=${isOn === undefined ? undefined : String(isOn)}
    aria-label=${label} title=${keys ? `${label}  ${keys}` : label} disabled=${isOff} onClick=${onClick}>
    <${Icon} name=${icon} />
  </button>
`;

/** One of a few; arrows move between them as in any group of radio buttons. */
export function Choice({ label, value, options, onChange, kind = "" }) {
  const step = (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const at = options.findIndex((option) => option.value === value);
    const next = (at + move + options.length) % options.length;
    onChange(options[next].value);
    event.currentTarget.querySelectorAll("[role=radio]")[next].focus();
  };
  return html`
    <div class=${`choice ${kind}`} role="radiogroup" aria-label=${label} onKeyDown=${step}>
      ${options.map(
        (option) => html`
          <button type="button" role="radio" key=${option.value} aria-checked=${String(option.value === value)}
            tabindex=${option.value === value ? 0 : -1} title=${option.hint} aria-label=${option.name}
            class=${option.kind ?? ""} onClick=${() => onChange(option.value)}>
            ${option.icon && html`<${Icon} name=${option.icon} />`}${option.body ?? option.text}
          </button>
        `,
      )}
    </div>
  `;
}

/** @param {{label: string, isOn: boolean, onChange: (isOn: boolean) => void, hint?: string}} props */
export const Switch = ({ label, isOn, onChange, hint }) => html`
  <label class="switch" title=${hint}>
    <input type="checkbox" role="switch" checked=${isOn} onChange=${(event) => onChange(event.currentTarget.checked)} />
    <span class="knob" aria-hidden="true"></span><span>${label}</span>
  </label>
`;

export const Slider = ({ label, text, value, min, max, step, onInput }) => html`
  <label class="slider">
    <span class="slider-label">${label}</span>
    <input type="range" min=${min} max=${max} step=${step} value=${value} aria-valuetext=${text}
      style=${{ "--share": `${(100 * (value - min)) / (max - min)}%` }}
      onInput=${(event) => onInput(Number(event.currentTarget.value))} />
    <output>${text}</output>
  </label>
`;

/** A sheet over the page; Escape and a click beside it close it. */
export function Sheet({ title, onClose, children, kind = "" }) {
  const element = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  return html`
    <dialog ref=${element} class=${`sheet ${kind}`} aria-labelledby="sheet-title" onClose=${onClose}
      onClick=${(event) => event.target === element.current && onClose()}>
      <div class="sheet-body">
        <header>
          <h2 id="sheet-title">${title}</h2>
          <${IconButton} icon="close" label=${t("close")} onClick=${onClose} />
        </header>
        ${children}
      </div>
    </dialog>
  `;
}
