/** Strings in the reader's language; numbers, percentages and times as that language writes them. */
import { signal } from "./vendor/signals.js";
import { language, remember } from "./state.js";

/** @type {import("./vendor/signals.js").Signal<Record<string, string | Record<string, string>>>} */
const strings = signal({});

export const LANGUAGES = { en: "English", ja: "日本語" };

/** Load a language and show it. @param {string} code */
export async function use(code) {
  const wanted = code in LANGUAGES ? code : "en";
  const response = await fetch(`/static/i18n/${wanted}.json`);
  strings.value = await response.json();
  language.value = wanted;
  document.documentElement.lang = wanted;
  remember("language", wanted);
}

/**
 * A string with its placeholders filled in; where it has plural forms, by the number `n`.
 * @param {string} key @param {Record<string, string|number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  let text = strings.value[key];
  if (text === undefined) return key;
  if (typeof text === "object") {
    const form = new Intl.PluralRules(language.value).select(Number(values.n ?? 0));
    text = text[form] ?? text.other;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Like `t`, but another text where there is no such key: words that the server may say. */
export const word = (key, otherwise) => (key in strings.value ? t(key) : otherwise);

/** @param {number} value @param {number} [digits] */
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language.value, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

/** @param {number} share @param {number} [digits] */
export const percent = (share, digits = 1) =>
  new Intl.NumberFormat(language.value, {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(share);

/** With its sign, and a true minus. @param {number} value @param {number} [digits] */
export const signed = (value, digits = 2) =>
  new Intl.NumberFormat(language.value, {
    signDisplay: "exceptZero",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
    .format(value)
    .replace("-", "−");

/** @param {string} iso */
export const clock = (iso) =>
  new Intl.DateTimeFormat(language.value, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(iso));
