/** What the model would say with the edited maps: at most one question at a time, and the newest drawing is the next. */
import { call } from "./api.js";
import { isAsking, whatIf, windowId } from "./state.js";

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
    if (!this.isBusy) void this.#next();
  }

  async #next() {
    this.isBusy = true;
    while (this.wanted && !this.isClosed) {
      const body = this.wanted();
      this.wanted = null;
      if (!body) {
        whatIf.value = null;
        continue;
      }
      isAsking.value = true;
      await this.#question(body);
    }
    this.isBusy = false;
    isAsking.value = false;
  }

  async #question(body) {
    const sequence = ++this.sequence;
    try {
      const path = `/cases/${this.id}/what-if?window=${windowId}&sequence=${sequence}`;
      const answer = await call("POST", path, body);
      if (!answer.stale && !this.isClosed) whatIf.value = { ...answer, failed: false };
    } catch {
      // Painting goes on; the bars say that they are of before.
      if (!this.isClosed && whatIf.value) whatIf.value = { ...whatIf.value, failed: true };
    }
  }

  close() {
    this.isClosed = true;
    whatIf.value = null;
    isAsking.value = false;
  }
}
