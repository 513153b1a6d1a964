/** Intervals and curves as SVG, drawn from numbers. */
import { number, signed, t } from "../i18n.js";
import { html } from "../ui.js";

/** A difference with its interval around zero. */
export function Interval({ difference, interval, verdict }) {
  const [low, high] = interval;
  const range = Math.max(Math.abs(low), Math.abs(high), Math.abs(difference), 1e-6) * 1.15;
  const x = (value) => 100 + (90 * value) / range;
  return html`
    <svg class=${`interval is-${verdict}`} viewBox="0 0 200 24" role="img"
      aria-label=${`${signed(difference, 3)} (${signed(low, 3)} … ${signed(high, 3)})`}>
      <line class="zero" x1="100" x2="100" y1="2" y2="22" />
      <line class="span" x1=${x(low)} x2=${x(high)} y1="12" y2="12" />
      <line class="end" x1=${x(low)} x2=${x(low)} y1="8" y2="16" />
      <line class="end" x1=${x(high)} x2=${x(high)} y1="8" y2="16" />
      <circle cx=${x(difference)} cy="12" r="4" />
    </svg>
  `;
}

const WIDTH = 520;
const HEIGHT = 220;
const PAD = { left: 48, right: 18, top: 16, bottom: 36 };

/** Steps of 1, 2 or 5 that give about four lines. */
function ticks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const result = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) result.push(value);
  return result;
}

/**
 * A curve over the number of corrections.
 * @param {{title: string, points: {x: number, y: number}[], digits?: number}} props
 */
export function Curve({ title, points, digits = 2 }) {
  if (points.length === 0) return html`<figure class="curve"><figcaption>${title}</figcaption><p class="dim">${t("overview.no_curve")}</p></figure>`;
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const slack = (Math.max(...ys) - Math.min(...ys)) * 0.15 || 0.05;
  const [low, high] = [Math.min(...ys) - slack, Math.max(...ys) + slack];
  const most = Math.max(...xs, 1);
  const px = (x) => PAD.left + ((WIDTH - PAD.left - PAD.right) * x) / most;
  const py = (y) => HEIGHT - PAD.bottom - ((HEIGHT - PAD.top - PAD.bottom) * (y - low)) / (high - low);
  const lines = ticks(low, high);
  const places = Math.max(digits, Math.ceil(-Math.log10((lines[1] ?? 1) - (lines[0] ?? 0)) - 1e-9));
  const line = points.map((point, i) => `${i ? "L" : "M"}${px(point.x)} ${py(point.y)}`).join("");
  const spoken = points.map((point) => `${number(point.x)}: ${number(point.y, digits)}`).join("; ");
  return html`
    <figure class="curve">
      <figcaption>${title}</figcaption>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${title}. ${spoken}`}>
        ${lines.map(
          (y) => html`
            <line class="grid" x1=${PAD.left} x2=${WIDTH - PAD.right} y1=${py(y)} y2=${py(y)} />
            <text x=${PAD.left - 8} y=${py(y) + 4} text-anchor="end">${number(y, places)}</text>
          `,
        )}
        ${[...new Set(xs)].map((x) => html`<text x=${px(x)} y=${HEIGHT - 14} text-anchor="middle">${number(x)}</text>`)}
        <path class="line" d=${line} />
        ${points.map((point) => html`<circle cx=${px(point.x)} cy=${py(point.y)} r="3.5" />`)}
      </svg>
      <p class="dim axis">${t("overview.corrections_axis")}</p>
    </figure>
  `;
}
