/** What lies over the photograph, and the photograph itself. */
import { TABLES, DIVERGING, gradient } from "../colours.js";
import { current, isOther, layers, patch, remember, study } from "../state.js";
import { number, percent, t } from "../i18n.js";
import { Choice, Slider, Switch, html } from "../ui.js";

const set = (change) => {
  patch(layers, change);
  remember("opacity", String(layers.value.opacity));
};

const names = (count) => ["fused", ...Array.from({ length: count }, (_, i) => String(i))];

function layerName(name) {
  if (name === "fused") return t("layer.fused");
  if (name === "evidence") return t("layer.evidence");
  if (name === "none") return t("layer.none");
  if (name.includes(":")) return name.split(":")[0];
  return t(`layer.scale_${Number(name) + 1}`);
}

function Compare({ cases }) {
  const { compare, compareWith } = layers.value;
  const rounds = study.value.models.filter((model) => model.name !== study.value.model);
  const choose = (value) => {
    if (value === "off") set({ compare: "off" });
    else if (value === "evidence") set({ compareWith: "evidence", compare: compare === "off" ? "blink" : compare });
    else {
      set({ compare: compare === "off" ? "blink" : compare });
      void cases.compareRound(value);
    }
  };
  const value = compare === "off" ? "off" : compareWith.split(":")[0];
  return html`
    <label class="field">
      <span>${t("compare.with")}</span>
      <select value=${value} onChange=${(event) => choose(event.currentTarget.value)}>
        <option value="off">${t("compare.off")}</option>
        <option value="evidence">${t("layer.evidence")}</option>
        ${rounds.map((model) => html`<option key=${model.name} value=${model.name}>${model.name}</option>`)}
      </select>
    </label>
    ${compare !== "off" &&
    html`
      <${Choice} label=${t("compare.how")} value=${compare} onChange=${(how) => set({ compare: how })}
        options=${["blink", "curtain"].map((how) => ({ value: how, text: t(`compare.${how}`) }))} />
    `}
  `;
}

/** @param {{cases: import("../cases.js").Cases}} props */
export function Layers({ cases }) {
  const info = current.value;
  if (!info) return null;
  const state = layers.value;
  const seen = isOther.value ? state.compareWith : state.layer;
  const colours = seen.endsWith("evidence") ? DIVERGING : TABLES[state.colours];
  return html`
    <section class="panel layers" data-panel="view" aria-labelledby="layers-title">
      <header><h2 id="layers-title">${t("layers.title")}</h2><span class="dim">${layerName(seen)}</span></header>
      <${Choice} label=${t("layer.which")} value=${state.layer} onChange=${(layer) => set({ layer })}
        options=${[...names(info.grids.length), "none"].map((name) => ({
          value: name,
          text: name === "fused" ? t("layer.fused.short") : name === "none" ? t("layer.none.short") : `${info.grids[Number(name)][0]}²`,
          name: layerName(name),
          hint: layerName(name),
        }))} />
      <div class="legend" style=${{ background: gradient(colours) }} aria-hidden="true"></div>
      <${Slider} label=${t("layer.opacity")} text=${percent(state.opacity, 0)} value=${state.opacity} min="0" max="1" step="0.05"
        onInput=${(opacity) => set({ opacity })} />
      <${Slider} label=${t("layer.threshold")} text=${number(state.threshold, 2)} value=${state.threshold} min="0" max="0.95" step="0.05"
        onInput=${(threshold) => set({ threshold })} />
      <div class="switches">
        <${Switch} label=${t("layer.outline")} isOn=${state.outline} onChange=${(outline) => set({ outline })} hint="O" />
        <${Switch} label=${t("layer.warm")} isOn=${state.colours === "ember"}
          onChange=${(isOn) => set({ colours: isOn ? "ember" : "dusk" })} />
        ${info.known && html`<${Switch} label=${t("layer.lesions")} isOn=${state.lesions} onChange=${(lesions) => set({ lesions })} hint="K" />`}
      </div>
      <${Choice} label=${t("photo.title")} value=${state.photo} onChange=${(photo) => set({ photo })}
        options=${["colour", "redfree", "contrast"].map((name) => ({ value: name, text: t(`photo.${name}`) }))} />
      <${Compare} cases=${cases} />
    </section>
  `;
}
