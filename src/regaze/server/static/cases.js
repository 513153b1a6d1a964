/** Which case is open: its lease, its draft, what is decided of it, and the next one decoded meanwhile. */
import { ApiError, call, get, post } from "./api.js";
import { Photograph } from "./photograph.js";
import { resume } from "./jobs.js";
import { Saver, forget, recover, sendKept } from "./save.js";
import { caseState, current, decision, layers, patch, save, say, study, windowId } from "./state.js";
import { t } from "./i18n.js";

const RENEW = 40000; // milliseconds; a lease lasts 120 s
const SOON = 4000; // milliseconds after a case was opened
const RETRY = 3000; // milliseconds until a server that is away is asked again
const NOTHING_YET = { decision: null, reason: "", grade: null, flagged: false, remark: "" };

export class Cases {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.saver = null;
    /** @type {Photograph|null} of the case that comes next */
    this.ahead = null;
    setInterval(() => void this.#renew(), RENEW);
    window.addEventListener("pagehide", () => {
      if (!this.saver) return;
      this.saver.leaving();
      // The next one who asks may have it at once; a reload of this tab takes it again.
      void call("POST", `/cases/${current.value.id}/release`, { window: windowId }, { keepalive: true }).catch(() => {});
    });
    window.addEventListener("pageshow", (event) => event.persisted && void this.#renew());
    document.addEventListener("visibilitychange", () => document.hidden && this.saver?.leaving());
    window.addEventListener("online", () => void this.saver?.flush());
  }

  /** Something of the case changed. */
  edited() {
    this.saver?.touch();
  }

  /** @param {Partial<typeof NOTHING_YET>} change */
  decide(change) {
    patch(decision, change);
    if ("decision" in change) this.desk.ask();
    this.edited();
  }

  /** Open the case that the queue gives. */
  async next() {
    await this.#leave();
    caseState.value = "loading";
    try {
      const info = await post("/next", { window: windowId });
      if (!info) {
        current.value = null;
        caseState.value = "empty";
        void resume();
        return;
      }
      await this.#show(info);
    } catch (error) {
      this.#failed(error, () => this.next());
    }
  }

  /** Open one case of the queue. @param {number} id */
  async open(id) {
    if (current.value?.id === id && caseState.value === "ready") return;
    await this.#leave();
    caseState.value = "loading";
    try {
      await post(`/cases/${id}/lease`, { window: windowId });
      await this.#show(await get(`/cases/${id}`));
    } catch (error) {
      this.#failed(error, () => this.open(id));
    }
  }

  /** @param {unknown} error @param {() => Promise<void>} again */
  #failed(error, again) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 0) {
      caseState.value = "away";
      setTimeout(() => caseState.value === "away" && void again(), RETRY);
      return;
    }
    caseState.value = error.status === 409 ? "held" : "error";
    if (error.status !== 409) say(error.message);
  }

  async #show(info) {
    const { draft, version, isUnsaved, other } = await recover(info.id, info.draft);
    current.value = info;
    decision.value = { ...NOTHING_YET, ...(draft ? pick(draft) : {}) };
    this.saver = new Saver(info.id, version, () => ({ shapes: this.desk.shapes, ...decision.value }));
    save.value = { state: "saved", at: draft?.saved_at ?? null, other: null };
    const ahead = this.ahead?.info.id === info.id ? this.ahead : null;
    if (this.ahead && !ahead) this.ahead.close();
    this.ahead = null;
    this.desk.open(info, draft?.shapes ?? [], ahead);
    caseState.value = "ready";
    history.replaceState(null, "", `#/case/${info.id}`);
    // A reload's release may arrive after its new lease.
    setTimeout(() => current.value?.id === info.id && void this.#renew(), SOON);
    if (other) patch(save, { state: "conflict", other });
    else if (isUnsaved) {
      this.saver.touch();
      void this.saver.flush();
      say(t("save.recovered"));
    }
    await this.#maps(info.id);
    await this.desk.photograph?.loaded.catch(() => say(t("case.no_photograph")));
    void sendKept(info.id);
    await this.#prepare(info.id);
  }

  async #maps(id) {
    const answer = await get(`/cases/${id}/maps`).catch(() => null);
    if (!answer || current.value?.id !== id) return;
    this.desk.addMaps(answer);
    const { compare, compareWith } = layers.value;
    if (compare !== "off" && compareWith.includes(":")) await this.compareRound(compareWith.split(":")[0]);
  }

  /** Another model is in use: what it says of the open case. */
  async refresh() {
    if (caseState.value !== "ready") return;
    const { id } = current.value;
    const info = await get(`/cases/${id}`).catch(() => null);
    if (!info || current.value?.id !== id) return;
    current.value = info;
    this.desk.ask();
    await this.#maps(id);
  }

  /** Maps of another round, to compare with. @param {string} model */
  async compareRound(model) {
    const { id } = current.value;
    const answer = await get(`/cases/${id}/maps?model=${encodeURIComponent(model)}`).catch(() => null);
    if (!answer || current.value?.id !== id) return;
    this.desk.addMaps(answer, `${model}:`);
    patch(layers, { compareWith: `${model}:fused` });
  }

  /** Decode the case that comes next while this one is painted. */
  async #prepare(id) {
    const answer = await get(`/queue?offset=0&limit=20&window=${windowId}`).catch(() => null);
    const next = answer?.cases.find((item) => item.id !== id && item.state === "waiting" && !item.leased_by_other);
    if (!next || current.value?.id !== id || this.ahead) return;
    const info = await get(`/cases/${next.id}`).catch(() => null);
    if (info && current.value?.id === id) this.ahead = new Photograph(info, () => {});
  }

  /**
   * End the case and open the next one.
   * @param {"correct"|"accept"|"nothing"|"skip"} kind
   */
  async finish(kind) {
    const { id } = current.value;
    const { saver } = this;
    if (this.isFinishing || !saver) return;
    this.isFinishing = true;
    try {
      this.decide({ decision: kind });
      await saver.flush();
      if (save.value.state !== "saved") {
        say(t("save.finish_later"));
        return;
      }
      this.key ??= crypto.randomUUID();
      await post(`/cases/${id}/finish`, { window: windowId, version: saver.version, key: this.key });
      this.key = null;
      await forget(id);
      saver.close();
      this.saver = null;
      say(t(`finish.done.${kind}`));
      study.value = await get("/study").catch(() => study.value);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(error.status === 0 ? t("save.finish_later") : error.message, 8000);
    } finally {
      this.isFinishing = false;
    }
    // Outside: the case that opens may be ended before all that its opening begins is there.
    if (!this.saver) await this.next();
  }

  /** The button that ends the case with what is on the canvas. */
  primary() {
    if (caseState.value !== "ready") return;
    if (decision.value.decision === "nothing") void this.finish("nothing");
    else if (this.desk.shapes.length) void this.finish("correct");
    else say(t("decide.nothing_drawn"));
  }

  accept() {
    if (caseState.value !== "ready") return;
    if (this.desk.shapes.length) say(t("decide.accept_marked"));
    else void this.finish("accept");
  }

  toggleNothing() {
    this.decide({ decision: decision.value.decision === "nothing" ? null : "nothing" });
  }

  toggleFlag() {
    this.decide({ flagged: !decision.value.flagged });
  }

  async keepMine() {
    await this.saver.keepMine();
  }

  async takeTheirs() {
    const draft = await this.saver.takeTheirs();
    decision.value = { ...NOTHING_YET, ...pick(draft ?? {}) };
    this.desk.replace(draft?.shapes ?? []);
  }

  async #leave() {
    if (!this.saver) return;
    const { id } = current.value;
    await this.saver.flush();
    this.saver.close();
    this.saver = null;
    void post(`/cases/${id}/release`, { window: windowId }).catch(() => {});
  }

  async #renew() {
    if (!this.saver || caseState.value !== "ready") return;
    try {
      await post(`/cases/${current.value.id}/lease`, { window: windowId });
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) say(t("case.lost_lease"), 12000);
    }
  }
}

/** What the expert decided, of a draft. */
function pick(draft) {
  const keys = Object.keys(NOTHING_YET);
  return Object.fromEntries(keys.filter((key) => draft[key] !== undefined && draft[key] !== null).map((key) => [key, draft[key]]));
}
