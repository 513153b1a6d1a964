/** What the model would say with the edited maps: at most one question at a time, and the newest drawing is the next. */
import { call } from "./api.js";
import { isAsking, whatIf, windowId } from "./state.js";

const AGAIN = 3000; // milliseconds after a question that was not answered

export class WhatIf {
  /** @param {number} id of the case */
  constructor(id) {
    this.id = id;
    this.sequence = 0;
    this.isBusy = false;
    this.isClosed = false;
    /** @type {(() => Uint8Array|null)|null} makes the grids when its turn comes, null: nothing is edited */
    this.wanted = null;
  }

  /** @param {() => Uint8Array|null} grids */
  ask(grids) {
    this.wanted = grids;
    if (!this.isBusy && !this.isClosed) void this.#next();
  }

  async #next() {
    this.isBusy = true;
    while (this.wanted && !this.isClosed) {
      const grids = this.wanted;
      const body = grids();
      this.wanted = null;
      if (!body) {
        whatIf.value = null;
        continue;
      }
      isAsking.value = true;
      await this.#question(body, grids);
    }
    this.isBusy = false;
    isAsking.value = false;
  }

  async #question(body, grids) {
    const sequence = ++this.sequence;
    try {
      const path = `/cases/${this.id}/what-if?window=${windowId}&sequence=${sequence}`;
      const answer = await call("POST", path, body);
      if (!answer.stale && !this.isClosed) whatIf.value = { ...answer, failed: false };
    } catch {
      // Painting goes on; the bars say that they are of before, and the question is asked again.
      if (this.isClosed) return;
      whatIf.value = { ...whatIf.value, failed: true };
      setTimeout(() => !this.wanted && this.ask(grids), AGAIN);
    }
  }

  close() {
    this.isClosed = true;
    whatIf.value = null;
    isAsking.value = false;
  }
}
