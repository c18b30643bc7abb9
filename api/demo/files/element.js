// What both elements are: a shadow with a style of its own, a stream, a line that says how the connection is.

import { listen } from "./live.js";

const HOME = new URL("..", import.meta.url).href;
const LIGHT = `
  --_ground: var(--milepost-ground, #fff); --_sunken: #e9ecf1; --_line: var(--milepost-line, #dde1e7);
  --_text: var(--milepost-text, #151a21); --_muted: var(--milepost-muted, #586170);
  --_accent: var(--milepost-accent, #3457d5); --_on-accent: var(--milepost-on-accent, #fff); --_edge: #868f9c;
  --_good: #14713d; --_warn: #8a5300; --_warn-soft: #fdf0d8; --_bad: #b3261e; --_bad-soft: #fce8e6; color-scheme: light;`;
const DARK = `
  --_ground: var(--milepost-ground, #151a21); --_sunken: #272f3a; --_line: var(--milepost-line, #2c3541);
  --_text: var(--milepost-text, #e7ebf1); --_muted: var(--milepost-muted, #9ba6b6);
  --_accent: var(--milepost-accent, #8ca6ff); --_on-accent: var(--milepost-on-accent, #0d1015); --_edge: #6b7686;
  --_good: #63d297; --_warn: #f0b65a; --_warn-soft: #36270d; --_bad: #ff8f85; --_bad-soft: #3d1a18; color-scheme: dark;`;
const STYLE = `
  :host { ${LIGHT} display: block; color: var(--_text);
    font: 15px/1.45 var(--milepost-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif); }
  :host([hidden]) { display: none; }
  @media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${DARK} } }
  :host([theme="dark"]) { ${DARK} }
  *, *::before, *::after { box-sizing: border-box; }
  h2, h3, p, ol, ul { margin: 0; padding: 0; } ol, ul { list-style: none; }
  .card { background: var(--_ground); border: 1px solid var(--_line); border-radius: 12px; padding: 18px 20px; }
  .head { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 2px 14px; }
  h2 { font-size: 17px; font-weight: 640; letter-spacing: -0.01em; }
  .note { color: var(--_muted); font-size: 13px; font-variant-numeric: tabular-nums; }
  .given { overflow-wrap: anywhere; }
  .track { height: 8px; border-radius: 4px; background: var(--_sunken); overflow: hidden; }
  .track i { display: block; height: 100%; width: calc(var(--share, 0) * 1%); border-radius: 4px; background: var(--_accent); }
  .connection { display: flex; align-items: center; gap: 7px; margin-top: 14px; font-size: 13px; color: var(--_muted); }
  .connection::before { content: ""; width: 8px; height: 8px; border-radius: 50%; border: 2px solid var(--_edge); flex: none; }
  .connection[data-state="live"]::before { background: var(--_good); border-color: var(--_good); }
  .connection[data-state="away"]::before, .connection[data-state="unauthorized"]::before,
  .connection[data-state="refused"]::before { background: var(--_bad); border-color: var(--_bad); }
  .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  button, a.button { font: inherit; font-weight: 560; min-height: 36px; padding: 6px 14px; border: 1px solid var(--_edge);
    border-radius: 8px; background: var(--_ground); color: var(--_text); cursor: pointer; text-decoration: none; }
  button:hover { background: var(--_sunken); }
  a.button { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); display: inline-block; }
  :focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
  @media (prefers-reduced-motion: no-preference) { .track i { transition: width 0.35s ease-out; } }
  @media (forced-colors: active) { .track { border: 1px solid; } .track i { background: Highlight; } }`;
const STATES = {
  connecting: "Connecting …",
  live: "Up to date",
  away: "No connection; trying again",
  paused: "Paused",
  unauthorized: "Your session has ended: sign in again",
  refused: "This may not be shown to you",
  missing: "Nobody is signed in",
};

/** A sheet for a shadow: it needs no style-src, however strict the page's policy is. */
export function sheet(text) {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}
const COMMON = sheet(STYLE);

/** An element with attributes and children. Text becomes text nodes, never HTML. */
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  return fill(element, ...children);
}

/** Give an element its children; null is none. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((one) => one !== null && one !== undefined));
  return element;
}

/** `UPLOAD_VIDEO` and `hasCreatedClip` as people write them: "Upload video", "Created clip". */
export function words(name) {
  const spaced = String(name).replace(/^has(?=[A-Z])/, "").replace(/([a-z0-9])(?=[A-Z])/g, "$1 ").replace(/[_-]+/g, " ").trim();
  const parts = spaced.split(" ").map((one) => (/^(AI|API|PDF|DXF)$/i.test(one) ? one.toUpperCase() : one.toLowerCase()));
  const text = parts.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What `<milepost-checklist>` and `<milepost-usage>` share. `token` as attribute, or `tokenProvider` as property. */
export class MilepostElement extends HTMLElement {
  static observedAttributes = ["base", "token", "heading"];
  #provider = null;
  #stream = null;
  #connection = h("p", { class: "connection", role: "status" });
  #said = h("p", { class: "hidden", role: "status" });
  #labels = {};
  card = h("section", { class: "card" });
  caption = h("h2", { id: "title" });

  constructor(style) {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [COMMON, sheet(style)];
    this.card.setAttribute("aria-labelledby", "title");
    root.append(this.card, this.#said);
  }

  /** The address of Milepost; where this file came from, unless the attribute says another. */
  get base() {
    const given = this.getAttribute("base");
    return given ? new URL(given.endsWith("/") ? given : `${given}/`, location.href).href : HOME;
  }

  /** A function that gives a token, or the promise of one: asked at every connection, so that tokens may be short. */
  get tokenProvider() {
    return this.#provider;
  }
  set tokenProvider(value) {
    this.#provider = typeof value === "function" ? value : null;
    if (this.isConnected) this.#listen();
  }

  /** What things are called, by their names in the catalog: `{WELCOME: "Say hello"}`. */
  get labels() {
    return this.#labels;
  }
  set labels(value) {
    this.#labels = { ...value };
    this.redraw?.();
  }
  label(name) {
    return String(Object.hasOwn(this.#labels, name) ? this.#labels[name] : words(name));
  }

  connectedCallback() {
    for (const name of ["tokenProvider", "labels"]) {
      // Set on the element before this file had arrived.
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this.card.append(this.#connection);
    this.#entitle();
    this.#listen();
  }
  disconnectedCallback() {
    this.#leave();
  }
  attributeChangedCallback(name) {
    if (!this.isConnected) return;
    if (name === "heading") this.#entitle();
    else this.#listen();
  }
  #entitle() {
    this.caption.textContent = this.getAttribute("heading") ?? this.constructor.heading;
  }

  #leave() {
    this.#stream?.remove(this);
    this.#stream = null;
  }
  #listen() {
    this.#leave();
    this.forget?.();
    const source = this.#provider ?? this.getAttribute("token");
    if (!source) return this.state("missing");
    this.#stream = listen(this.base, source, this);
  }

  /** From the stream. */
  state(state) {
    this.#connection.dataset.state = state;
    if (this.#connection.textContent !== STATES[state]) this.#connection.textContent = STATES[state];
    if (state === "unauthorized") this.#send("milepost-unauthorized", {});
  }
  event(name, data, subject) {
    if (name !== this.constructor.event) return;
    this.show(data, subject);
    this.#send("milepost-change", data);
  }
  #send(name, detail) {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  /** Whether the page leaves a notice to us. */
  asks(name, detail) {
    return this.#send(name, detail);
  }

  /** Tell those who listen rather than look. */
  say(text) {
    this.#said.textContent = text;
  }

  /** An authorized GET of JSON. */
  async get(path) {
    const token = await this.#stream.token();
    const answer = await fetch(new URL(path, this.base), { headers: { Authorization: `Bearer ${token}` }, credentials: "omit" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return await answer.json();
  }
}
