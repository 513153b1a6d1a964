/** The round that is being trained: started, followed and cancelled; the page goes on meanwhile. */
import { ApiError, get, post } from "./api.js";
import { say, study } from "./state.js";
import { signal } from "./vendor/signals.js";
import { t } from "./i18n.js";

/** The newest job as the server tells of it, null: none yet. */
export const job = signal(null);
/** Grows when a round ended: what is shown of rounds is to be asked for again. */
export const roundsRevision = signal(0);

/** @type {EventSource|null} */
let events = null;

function follow(id) {
  events?.close();
  events = new EventSource(`/api/jobs/${id}/events`);
  events.onmessage = (event) => {
    job.value = JSON.parse(event.data);
    if (job.value.state === "running") return;
    events.close();
    roundsRevision.value++;
    void get("/study").then((answer) => (study.value = answer), () => {});
  };
}

/** Find out whether a round is being trained: it outlives page and server. */
export async function resume() {
  const answer = await get("/jobs").catch(() => null);
  const [newest] = answer?.jobs ?? [];
  if (!newest) return;
  job.value = newest;
  if (newest.state === "running") follow(newest.id);
}

export async function start() {
  try {
    const { job: id } = await post("/rounds");
    job.value = { id, state: "running", phase: "", done: 0, total: 0, message: "", verdict: null };
    follow(id);
  } catch (error) {
    say(error instanceof ApiError && error.status ? error.message : t("away"));
  }
}

export async function cancel() {
  await post(`/jobs/${job.value.id}/cancel`).catch((error) => say(error.message));
}

/** Keep a model or go back to one. @param {string} model */
export async function useModel(model) {
  try {
    await post("/use", { model });
    study.value = await get("/study");
    roundsRevision.value++;
    say(t("rounds.now_used", { model }));
  } catch (error) {
    say(error.message);
  }
}
