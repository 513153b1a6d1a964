/** Start of the page: strings and study first, then the screens, then the first case. */
import { ApiError, get } from "./api.js";
import { Cases } from "./cases.js";
import { Desk } from "./desk.js";
import { LANGUAGES, t, use } from "./i18n.js";
import { resume, roundsRevision } from "./jobs.js";
import { keyTable, listen } from "./keys.js";
import { Pointers } from "./pointer.js";
import { caseState, claimWindow, current, isHidden, isOther, language, layers, mark, notice, remember, screen, sheet, size, study, theme, tool, zoom } from "./state.js";
import { html } from "./ui.js";
import { effect, signal } from "./vendor/signals.js";
import { render } from "./vendor/preact.js";
import { SkipSheet } from "./panels/decide.js";
import { Draw } from "./panels/draw.js";
import { Help } from "./panels/help.js";
import { Overview } from "./panels/overview.js";
import { Queue } from "./panels/queue.js";
import { Rounds } from "./panels/rounds.js";
import { Top } from "./panels/top.js";

const MOST_RATIO = 2; // device pixels per CSS pixel that are drawn
const BLINK = 700; // milliseconds
const SCREENS = { queue: Queue, rounds: Rounds, overview: Overview };

const ratio = () => Math.min(window.devicePixelRatio || 1, MOST_RATIO);
const ready = signal(false);
/** The desk, once the canvas is there. @type {{current: Desk|null}} */
const desk = { current: null };
let cases = null;
let table = [];

/** Canvas, brush ring and curtain are there: bring them to life. */
function attach(canvas, ring, curtain) {
  const paper = new Desk(canvas, () => cases.edited());
  desk.current = paper;
  cases = new Cases(paper);
  const pointers = new Pointers(canvas, paper, paper, ratio);
  table = keyTable(paper, cases);
  listen(table, pointers);
  const fit = () => {
    const { width, height } = canvas.getBoundingClientRect();
    if (width && height) paper.stage.resize(Math.round(width * ratio()), Math.round(height * ratio()));
  };
  new ResizeObserver(fit).observe(canvas);
  fit();
  showRing(paper, canvas, ring);
  moveCurtain(paper, canvas, curtain);
  effect(() => {
    void [layers.value, isHidden.value, isOther.value];
    paper.stage.all();
  });
  blink();
  effect(() => {
    // The first queue is made after the server has started: what waits is opened as soon as it is known.
    if (roundsRevision.value && caseState.peek() === "empty" && screen.peek() === "draw") void cases.next();
  });
  let { model } = study.peek();
  effect(() => {
    if (study.value.model === model) return;
    model = study.value.model;
    void cases.refresh();
  });
  ready.value = true;
  void go();
  void resume();
}

/** The brush's size around the pointer; an element of its own, so that moving it paints nothing anew. */
function showRing(paper, canvas, ring) {
  paper.onHover = (x, y, isPointer) => {
    ring.hidden = !isPointer || tool.value !== "brush";
    ring.style.transform = `translate(${x / ratio()}px, ${y / ratio()}px) translate(-50%, -50%)`;
  };
  effect(() => {
    const diameter = Math.max((size.value * zoom.value) / ratio(), 3);
    ring.style.width = ring.style.height = `${diameter}px`;
    ring.dataset.mark = mark.value;
    canvas.dataset.tool = tool.value;
    if (tool.value !== "brush") ring.hidden = true;
    remember("size", String(size.value));
  });
}

/** Left of the curtain one map, right of it the other. */
function moveCurtain(paper, canvas, curtain) {
  const set = (share) => {
    paper.curtain = Math.min(Math.max(share, 0.02), 0.98);
    curtain.style.left = `${100 * paper.curtain}%`;
    curtain.setAttribute("aria-valuenow", String(Math.round(100 * paper.curtain)));
    paper.stage.all();
  };
  curtain.addEventListener("pointerdown", (event) => curtain.setPointerCapture(event.pointerId));
  curtain.addEventListener("pointermove", (event) => {
    if (!curtain.hasPointerCapture(event.pointerId)) return;
    const box = canvas.getBoundingClientRect();
    set((event.clientX - box.left) / box.width);
  });
  curtain.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (step) set(paper.curtain + step);
  });
  effect(() => (curtain.hidden = layers.value.compare !== "curtain"));
  set(0.5);
}

function blink() {
  let timer = 0;
  effect(() => {
    clearInterval(timer);
    const isOn = layers.value.compare === "blink";
    if (isOn) timer = setInterval(() => (isOther.value = !isOther.peek()), BLINK);
    else isOther.value = false;
  });
}

/** Follow the address: #/queue, #/case/7, ... */
async function go() {
  const [, name = "draw", id] = location.hash.split("/");
  const isCase = name === "case" && /^\d+$/.test(id ?? "");
  screen.value = name in SCREENS ? name : "draw";
  if (screen.value !== "draw" || !cases) return;
  if (isCase) await cases.open(Number(id));
  else if (!current.value) await cases.next();
}

function App() {
  const Screen = SCREENS[screen.value];
  void ready.value;
  return html`
    <${Top} />
    <${Draw} desk=${desk} cases=${cases ?? noCases} attach=${attach} />
    ${Screen && html`<main class="screen"><${Screen} cases=${cases} /></main>`}
    ${study.value.problem && html`<p class="problem" role="alert">${study.value.problem}</p>`}
    ${sheet.value === "help" && html`<${Help} table=${table} />`}
    ${sheet.value === "skip" && html`<${SkipSheet} cases=${cases} />`}
    <div class="notice" role="status" data-shown=${String(Boolean(notice.value))}>${notice.value}</div>
  `;
}

/** Until the canvas is there nothing can be asked for. */
const noCases = new Proxy({}, { get: () => () => {} });

function follow() {
  effect(() => (document.documentElement.dataset.theme = theme.value));
  effect(() => {
    document.title = current.value ? `${current.value.name} · regaze` : "regaze";
  });
  effect(() => {
    // The address names the screen, so that a reload comes back to it.
    const name = screen.value;
    if (name === "draw" && location.hash.startsWith("#/case/")) return;
    const wanted = name === "draw" && current.peek() ? `#/case/${current.peek().id}` : `#/${name}`;
    if (location.hash.split("/")[1] !== wanted.split("/")[1]) history.replaceState(null, "", wanted);
  });
  window.addEventListener("hashchange", () => void go());
}

async function begin() {
  await Promise.all([use(language.value in LANGUAGES ? language.value : "en"), claimWindow()]);
  const app = document.getElementById("app");
  try {
    study.value = await get("/study");
  } catch (error) {
    const isOut = error instanceof ApiError && (error.status === 401 || error.status === 403);
    app.firstElementChild.textContent = t(isOut ? "session.over" : "away");
    return;
  }
  const [, name = "draw"] = location.hash.split("/");
  screen.value = name in SCREENS ? name : "draw";
  app.replaceChildren();
  follow();
  render(html`<${App} />`, app);
}

void begin();
