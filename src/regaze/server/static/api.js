/** Requests to the server, and what went wrong with them. */

/** An answer that is no success; `status` 0: the server cannot be reached. */
export class ApiError extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(body?.detail && typeof body.detail === "string" ? body.detail : `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

/**
 * @param {string} method @param {string} path below /api
 * @param {any} [body] JSON, or bytes as they are
 * @param {{keepalive?: boolean, timeout?: number}} [options] the first case of a server loads its network: seconds
 * @returns {Promise<any>} the answer's JSON, null where there is none.
 */
export async function call(method, path, body, { keepalive = false, timeout = 60000 } = {}) {
  const isBytes = body instanceof Uint8Array;
  /** @type {RequestInit} */
  const init = { method, keepalive, credentials: "same-origin", signal: AbortSignal.timeout(timeout) };
  if (body !== undefined) {
    init.body = isBytes ? body : JSON.stringify(body);
    init.headers = { "Content-Type": isBytes ? "application/octet-stream" : "application/json" };
  }
  let response;
  try {
    response = await fetch(`/api${path}`, init);
  } catch {
    throw new ApiError(0, null);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, answer);
  return answer;
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);

/** Address of a photograph. @param {number} id @param {number} level halvings */
export const photographUrl = (id, level) => `/api/cases/${id}/photograph?level=${level}`;
