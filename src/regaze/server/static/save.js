/**
 * Drafts, kept without being asked: written in this browser first, then on the server, and forgotten here only once the
 * server has said that it holds them. What another window saved since is shown and never overwritten.
 *
 * The browser's copy is a queue, not a second truth: an entry is what the server does not have yet.
 */
import { ApiError, call } from "./api.js";
import { patch, save, study, windowId } from "./state.js";
import { del, entries, get as getKept, set } from "./vendor/idb-keyval.js";

const PAUSE = 1200; // milliseconds after the last change
const LONGEST = 4000; // and after the first, however busy the pen is
const RETRIES = [1500, 3000, 6000, 12000];
const KEEPALIVE = 60000; // bytes that a browser sends while it closes a page

/** Key in the browser of a case's draft. */
const keyOf = (id) => `draft ${study.value.name} ${id}`;

/** A promise that never fails: a browser that keeps nothing (private windows) still saves to the server. */
const quietly = (promise) => promise.catch(() => undefined);

export class Saver {
  /**
   * @param {number} id @param {number} version of the draft that the page shows, 0: none
   * @param {() => any} content what a draft holds
   */
  constructor(id, version, content) {
    Object.assign(this, { id, version, content });
    this.key = keyOf(id);
    this.isDirty = false;
    /** @type {Promise<void>|null} */
    this.running = null;
    this.first = 0;
    this.failures = 0;
    this.timer = 0;
    this.isClosed = false;
  }

  /** Something changed. */
  touch() {
    if (!this.isDirty) this.first = performance.now();
    this.isDirty = true;
    if (save.value.state === "conflict") {
      void this.#keep();
      return;
    }
    if (save.value.state === "saved") patch(save, { state: "unsaved" });
    this.#schedule(Math.max(Math.min(PAUSE, this.first + LONGEST - performance.now()), 0));
  }

  #schedule(milliseconds) {
    clearTimeout(this.timer);
    if (!this.isClosed) this.timer = setTimeout(() => void this.flush(), milliseconds);
  }

  /** Save now; resolves when there is nothing left to save or it cannot be. */
  async flush() {
    clearTimeout(this.timer);
    while (this.running) await this.running;
    if (!this.isDirty || save.value.state === "conflict") return;
    this.running = this.#put();
    await this.running;
    this.running = null;
    if (this.isDirty && save.value.state === "unsaved") this.#schedule(PAUSE);
  }

  #draft() {
    return { window: windowId, base: this.version, ...this.content() };
  }

  #keep() {
    return quietly(set(this.key, { id: this.id, draft: this.#draft(), at: Date.now() }));
  }

  async #put() {
    const draft = this.#draft();
    this.isDirty = false;
    patch(save, { state: "saving" });
    await quietly(set(this.key, { id: this.id, draft, at: Date.now() }));
    try {
      const { version, saved_at: at } = await call("PUT", `/cases/${this.id}/draft`, draft);
      this.version = version;
      this.failures = 0;
      // What is kept must never be older than what the server has.
      await (this.isDirty ? this.#keep() : quietly(del(this.key)));
      save.value = { state: this.isDirty ? "unsaved" : "saved", at, other: null };
    } catch (error) {
      this.isDirty = true;
      this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    if (error instanceof ApiError && error.status === 409) {
      const other = error.body ?? {};
      if (other.window === windowId) {
        // This window's own save, whose acknowledgement was lost on the way.
        this.version = other.version;
        patch(save, { state: "unsaved" });
        this.#schedule(0);
        return;
      }
      patch(save, { state: "conflict", other });
      return;
    }
    const isRefused = error instanceof ApiError && error.status >= 400 && error.status < 500;
    if (isRefused) {
      // Trying again would bring the same answer; the draft stays in this browser.
      patch(save, { state: "refused", other: error.message });
      return;
    }
    patch(save, { state: "away" });
    this.#schedule(RETRIES[Math.min(this.failures++, RETRIES.length - 1)]);
  }

  /** The expert chose: keep what this window shows, over the other's. */
  keepMine() {
    this.version = save.value.other.version;
    patch(save, { state: "unsaved", other: null });
    this.isDirty = true;
    return this.flush();
  }

  /** The expert chose the other window's. @returns {Promise<any>} its draft */
  async takeTheirs() {
    const { other } = save.value;
    this.version = other.version;
    this.isDirty = false;
    await quietly(del(this.key));
    save.value = { state: "saved", at: other.saved_at, other: null };
    return other.draft;
  }

  /** The page may be gone in a moment. */
  leaving() {
    if (!this.isDirty) return;
    void this.#keep();
    const draft = this.#draft();
    if (save.value.state === "conflict" || this.running || JSON.stringify(draft).length > KEEPALIVE) return;
    void quietly(
      call("PUT", `/cases/${this.id}/draft`, draft, { keepalive: true }).then(({ version }) => {
        this.version = version;
      }),
    );
  }

  /** Forget the case; what is unsaved stays in the browser. */
  close() {
    clearTimeout(this.timer);
    if (this.isDirty) void this.#keep();
    this.isClosed = true;
  }
}

/**
 * What to show of a case: the server's draft, or the browser's where the server never got it.
 * @param {number} id @param {any} draft the server's, or null
 * @returns {Promise<{draft: any, version: number, isUnsaved: boolean, other: any}>} `other`: a newer one from elsewhere
 */
export async function recover(id, draft) {
  const version = draft?.version ?? 0;
  const kept = (await quietly(getKept(keyOf(id))))?.draft;
  if (!kept) return { draft, version, isUnsaved: false, other: null };
  // Where the same window wrote both, the browser's is the later one: the acknowledgement was lost.
  const isOurs = kept.base === version || draft?.window === kept.window;
  const other = isOurs ? null : { version, saved_at: draft?.saved_at, draft, window: draft?.window };
  return { draft: kept, version: isOurs ? version : kept.base, isUnsaved: true, other };
}

/** Give the server what it never got of other cases. @param {number|null} except the open one, which saves itself */
export async function sendKept(except) {
  for (const [key, { id, draft }] of (await quietly(entries())) ?? []) {
    if (id === except || key !== keyOf(id)) continue;
    try {
      await call("PUT", `/cases/${id}/draft`, draft);
      await quietly(del(key));
    } catch {
      // Away still, or a newer one is there: it is shown when the case is opened.
    }
  }
}

/** The case is finished: nothing of it is to be sent any more. @param {number} id */
export const forget = (id) => quietly(del(keyOf(id)));
