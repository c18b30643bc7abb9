// GET /v1/live over fetch, which sends Authorization: the elements of a page that ask for the same share one stream.

const SILENCE = 45_000; // The server says something every 15 s; a connection that is quiet for longer is gone.
const HIDDEN = 60_000; // A page that nobody looks at gives its connection back after a minute.
const MOST_WAIT = 30_000;

/** Events as they come in pieces: `for (const {name, data} of events.take(text))`; `id` and `retry` are the newest. */
export class Events {
  id = "";
  retry = 2000;
  #rest = "";
  #fields = new Map();

  *take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line) this.#field(line);
      else {
        const event = this.#whole();
        if (event) yield event;
      }
    }
  }

  #field(line) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    const held = this.#fields.get(name);
    this.#fields.set(name, name === "data" && held !== undefined ? `${held}\n${value}` : value);
  }

  #whole() {
    const fields = this.#fields;
    this.#fields = new Map();
    this.id = fields.get("id") ?? this.id;
    if (/^\d+$/.test(fields.get("retry"))) this.retry = Number(fields.get("retry"));
    return fields.has("data") ? { name: fields.get("event") ?? "message", data: JSON.parse(fields.get("data")) } : null;
  }
}

/** Whom a token is about, without a look at its signature: the server looks. */
export function subjectOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (one) => one.charCodeAt(0))));
    return typeof sub === "string" ? sub : "";
  } catch {
    return "";
  }
}

class Stream {
  #listeners = new Set();
  #newest = new Map();
  #events = new Events();
  #state = "connecting";
  #failures = 0;
  #abort = null;
  #wake = null;
  #hiding = 0;
  #refused = null;
  subject = "";

  constructor(base, source, ended) {
    Object.assign(this, { base, source, ended });
    document.addEventListener("visibilitychange", this.#looked);
    window.addEventListener("online", this.#now);
    void this.#run();
  }

  add(listener) {
    this.#listeners.add(listener);
    listener.state(this.#state);
    for (const [name, data] of this.#newest) listener.event(name, data, this.subject);
  }

  remove(listener) {
    this.#listeners.delete(listener);
    // An element that is moved within its page leaves and comes back at once.
    setTimeout(() => this.#listeners.size || this.#end());
  }

  /** The token, from the page that has it. */
  async token() {
    return typeof this.source === "function" ? await this.source() : this.source;
  }

  #end() {
    this.#state = "ended";
    this.#abort?.abort();
    this.#wake?.();
    document.removeEventListener("visibilitychange", this.#looked);
    window.removeEventListener("online", this.#now);
    this.ended();
  }

  async #run() {
    while (this.#state !== "ended") {
      const wait = await this.#once();
      if (this.#state === "ended" || wait === null) return;
      await new Promise((done) => {
        this.#wake = done;
        if (!this.#isHidden) setTimeout(done, wait);
      });
    }
  }

  /** One connection, to its end: milliseconds until the next try, or null when none will help. */
  async #once() {
    this.#abort = new AbortController();
    let response, token;
    try {
      token = await this.token();
      this.subject = subjectOf(token);
      const address = new URL("v1/live", this.base);
      if (this.subject) address.searchParams.set("userId", this.subject);
      const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
      if (this.#events.id) headers["Last-Event-ID"] = this.#events.id;
      response = await fetch(address, { headers, cache: "no-store", credentials: "omit", signal: this.#abort.signal });
    } catch {
      return this.#lost();
    }
    if (response.status === 401) return this.#unauthorized(token);
    if (!response.ok) {
      const after = 1000 * Number(response.headers.get("Retry-After") ?? 0);
      if (response.status < 500 && response.status !== 429) {
        this.#say("refused");
        return null;
      }
      return Math.max(this.#lost(), after);
    }
    this.#say("live");
    const said = await this.#read(response.body).catch(() => null);
    return said === "closed" ? this.#unauthorized(token) : this.#lost();
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    const abort = this.#abort;
    let watch = 0;
    try {
      for (;;) {
        clearTimeout(watch);
        watch = setTimeout(() => abort.abort(), SILENCE);
        const { done, value } = await reader.read();
        if (done) return null;
        for (const event of this.#events.take(value)) {
          if (event.name === "closed") return "closed";
          this.#failures = 0;
          this.#tell(event);
        }
      }
    } finally {
      clearTimeout(watch);
      abort.abort();
    }
  }

  #tell({ name, data }) {
    this.#newest.set(name, data);
    for (const listener of this.#listeners) listener.event(name, data, this.subject);
  }

  #say(state) {
    if (this.#state === "ended" || this.#state === state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener.state(state);
  }

  #lost() {
    this.#say(this.#isHidden ? "paused" : "away");
    this.#failures += 1;
    const wait = Math.min(MOST_WAIT, this.#events.retry * 2 ** (this.#failures - 1));
    return wait * (0.5 + Math.random() / 2);
  }

  /** A page that can make tokens is asked for another one; the same again, or none, is the end. */
  #unauthorized(token) {
    const wait = this.#lost();
    const isNew = token !== this.#refused;
    this.#refused = token;
    if (typeof this.source === "function" && isNew && this.#failures < 5) return Math.min(wait, 1000);
    this.#say("unauthorized");
    return null;
  }

  #isHidden = false;
  #looked = () => {
    clearTimeout(this.#hiding);
    if (document.visibilityState !== "hidden") return this.#isHidden && this.#now();
    this.#hiding = setTimeout(() => {
      this.#isHidden = true;
      this.#abort?.abort();
    }, HIDDEN);
  };
  #now = () => {
    this.#isHidden = false;
    this.#failures = 0;
    this.#wake?.();
  };
}

const streams = new Map();

/**
 * Listen to what changes of the token's user.
 * `listener.event(name, data, subject)` with every state, `listener.state(state)`: connecting, live, away, paused,
 * unauthorized or refused. `source`: a token, or a function that gives one. Returns the stream, to `remove` from.
 */
export function listen(base, source, listener) {
  const address = new URL(base, location.href).href;
  const held = streams.get(address) ?? new Map();
  streams.set(address, held);
  if (!held.has(source)) {
    const stream = new Stream(address, source, () => held.get(source) === stream && held.delete(source));
    held.set(source, stream);
  }
  const stream = held.get(source);
  stream.add(listener);
  return stream;
}
