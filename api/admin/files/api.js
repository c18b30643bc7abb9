// Questions to the API. The key is kept by this tab alone, until it is closed or somebody signs out: never in the address,
// never in localStorage, never in a cookie.

const BASE = new URL("../", document.baseURI);
const KEPT = "milepost-admin-key";
const SECONDS = 30;
const BROKEN_OFF = "It broke off before its end, and nothing was saved. Try again.";
let key = sessionStorage.getItem(KEPT);
let whenRefused = () => {};

/** An answer that is an error, or none at all (`code` is `offline`). */
export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const isSignedIn = () => key !== null;
export const onRefused = (listener) => (whenRefused = listener);

/** Take a key when the API takes it. Throws a Problem with words for the form. */
export async function signIn(given) {
  if (!/^[\x21-\x7e]+$/.test(given)) throw new Problem(0, "invalid_key", "This is no key: keys have no spaces and no special letters.");
  try {
    await request("v1/admin/dead?limit=1", {}, given);
  } catch (problem) {
    throw problem.status === 401 || problem.status === 403 ? new Problem(problem.status, problem.code, refused(problem)) : problem;
  }
  key = given;
  sessionStorage.setItem(KEPT, given);
}

function refused(problem) {
  if (problem.code === "missing_scope") return "This key is valid, but lacks the scope admin.";
  if (problem.code === "token_expired") return "This token has expired. Use a new one.";
  return "This key is not known, or it was revoked.";
}

export function signOut() {
  key = null;
  sessionStorage.removeItem(KEPT);
}

/** GET a path of the API; parameters that are null are left out. */
export function ask(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return asOperator(given.length ? `${path}?${new URLSearchParams(given)}` : path, { signal });
}

const DAYS = /^(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})$/;
const isDay = (text) => !Number.isNaN(Date.parse(text));
export const NAMED = ["24h", "7d", "30d", "90d"];

/** The first and the last day of a range like `2026-11-01..2026-11-21`; null for any other text. */
export function days(range) {
  const found = DAYS.exec(range);
  return found && isDay(found[1]) && isDay(found[2]) ? [found[1], found[2]] : null;
}

/** A range as the API is asked for it: by one of its names, or by UTC days, the last one included. */
export function span(range) {
  const chosen = days(range);
  if (!chosen) return { timeRange: range };
  const [first, last] = chosen.map((one) => Date.parse(one));
  return { from: new Date(first).toISOString(), to: new Date(last + 86_400_000).toISOString() };
}

/** POST to a path of the API, with JSON or without. */
export const post = (path, body = null) => asOperator(path, { method: "POST", body: body && JSON.stringify(body) });

async function asOperator(path, options) {
  const used = key;
  try {
    return await request(path, options, used);
  } catch (problem) {
    const isOurs = used !== null && used === key;
    if (isOurs && (problem.status === 401 || problem.code === "missing_scope")) {
      signOut();
      whenRefused(`You were signed out: ${refused(problem)}`);
    }
    throw problem;
  }
}

async function request(path, options, by) {
  const answer = await sent(path, { ...options, signal: within(options.signal) }, by);
  return answer.json();
}

function within(signal) {
  const limit = AbortSignal.timeout(SECONDS * 1000);
  return signal ? AbortSignal.any([signal, limit]) : limit;
}

async function sent(path, options, by) {
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), {
      ...options,
      headers: { Accept: "application/json", Authorization: `Bearer ${by}`, ...(options.body ? { "Content-Type": "application/json" } : {}) },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (options.signal?.aborted && error.name === "AbortError") throw error;
    throw new Problem(0, "offline", "The API does not answer. It may be restarting, or the network is away.");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: null }));
  throw new Problem(answer.status, error?.code ?? "unknown", error?.message ?? `The API answered ${answer.status}.`);
}

/** The JSON of server-sent events, one by one, until the stream or the signal ends. EventSource cannot send a key. */
export async function* events(path, signal) {
  const answer = await sent(path, { signal }, key);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const frames = (rest + part.value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const lines = frame.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Lines of JSON as a file, and how many: only when the last one says that they are whole. `moved` hears of the bytes. */
export async function file(path, parameters, signal, moved) {
  const answer = await sent(`${path}?${new URLSearchParams(parameters)}`, { signal }, key);
  const reader = answer.body.getReader();
  const parts = [];
  let size = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      moved((size += part.value.length));
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem(0, "broken_off", BROKEN_OFF);
  }
  const blob = new Blob(parts);
  const last = (await blob.slice(-200).text()).trimEnd().split("\n").at(-1);
  if (!last.startsWith('{"table": "end"')) throw new Problem(0, "broken_off", BROKEN_OFF);
  return { blob, rows: JSON.parse(last).row.rows };
}
