// What a threshold brings up, each once for a period and a limit: a toast, from 90 % a banner, at 100 % a dialog.

import { fill, h } from "./element.js";

const KEPT = "milepost.notices";
const MOST = 100;
const TOAST_SECONDS = 12;

export const STYLE = `
  .banners:not(:empty) { display: grid; gap: 8px; margin-bottom: 12px; }
  .banner, .toast { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 10px; align-items: center;
    padding: 10px 10px 10px 14px; border-radius: 10px; border: 1px solid var(--_warn); background: var(--_warn-soft); }
  .toasts { position: fixed; inset: auto 16px 16px auto; width: min(360px, calc(100vw - 32px)); display: grid; gap: 8px; z-index: 1000; }
  .toast { background: var(--_ground); border-color: var(--_edge); border-left: 4px solid var(--_warn); box-shadow: 0 6px 24px rgb(0 0 0 / 18%); }
  .close { min-height: 32px; width: 32px; padding: 0; border-color: transparent; background: none; font-size: 18px; line-height: 1; }
  dialog { width: min(440px, calc(100vw - 32px)); border: 1px solid var(--_line); border-radius: 14px; padding: 24px;
    background: var(--_ground); color: var(--_text); box-shadow: 0 20px 60px rgb(0 0 0 / 30%); }
  dialog::backdrop { background: rgb(10 14 20 / 50%); }
  dialog h3 { font-size: 19px; line-height: 1.3; letter-spacing: -0.01em; margin-bottom: 8px; }
  dialog p + p { margin-top: 8px; }
  .choices { display: flex; flex-wrap: wrap-reverse; justify-content: flex-end; gap: 10px; margin-top: 20px; }
  @media (prefers-reduced-motion: no-preference) {
    @keyframes rise { from { opacity: 0; translate: 0 10px; } }
    .toast, .banner, dialog[open] { animation: rise 0.2s ease-out; }
  }`;

/** What was shown stays known in this browser, under a hash: neither ids nor meters can be read from it. */
const memory = new Map();
function shownUntil(key) {
  return Math.max(memory.get(key) ?? 0, read()[key]?.[0] ?? 0);
}
function remember(key, threshold, until) {
  memory.set(key, threshold);
  const now = Date.now();
  const held = Object.entries(read()).filter(([, [, end]]) => end > now).slice(-MOST);
  try {
    localStorage.setItem(KEPT, JSON.stringify({ ...Object.fromEntries(held), [key]: [threshold, until] }));
  } catch {
    // Full or forbidden: then it is known for as long as the page lives.
  }
}
function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([, value]) => Array.isArray(value)));
  } catch {
    return {};
  }
}
function hash(text) {
  let one = 0xdeadbeef, other = 0x41c6ce57;
  for (const char of text) {
    one = Math.imul(one ^ char.codePointAt(0), 2654435761);
    other = Math.imul(other ^ char.codePointAt(0), 1597334677);
  }
  return (one >>> 0).toString(36) + (other >>> 0).toString(36);
}

/** The notices of one `<milepost-usage>`. */
export class Notices {
  banners = h("div", { class: "banners", role: "status" });
  toasts = h("div", { class: "toasts", role: "status" });
  #dialogs = h("div");
  #waiting = [];
  #placed = new Map();

  constructor(owner) {
    this.owner = owner;
    owner.card.prepend(this.banners);
    owner.shadowRoot.append(this.toasts, this.#dialogs);
  }

  /** Another user, or nobody: what is shown was not for them. */
  clear() {
    this.#waiting = [];
    this.#placed.clear();
    for (const one of [this.banners, this.toasts, this.#dialogs]) one.replaceChildren();
  }

  /** A meter as it stands now. The banner is there until it is closed or untrue; the others come once. */
  see(name, meter, subject) {
    const key = hash([subject, this.owner.base, name, meter.limit, meter.resetsAt].join("\n"));
    const threshold = meter.warning ?? 0;
    const held = this.#placed.get(name);
    if (held && (held.key !== key || threshold < held.threshold)) this.#take(name);
    if (!threshold || threshold <= shownUntil(key)) return;
    remember(key, threshold, meter.resetsAt ? Date.parse(meter.resetsAt) : Date.now() + 366 * 86_400_000);
    if (!this.owner.asks("milepost-warning", { meter: name, threshold, ...meter })) return;
    this.#take(name);
    const place = threshold >= 100 ? this.#dialog : threshold >= 90 ? this.#banner : this.#toast;
    this.#placed.set(name, { key, threshold, element: place.call(this, name, meter, () => this.#take(name)) });
  }

  #take(name) {
    this.#placed.get(name)?.element?.remove();
    this.#placed.delete(name);
  }

  #text(name, { used, limit, percentage }) {
    return h("p", null, h("strong", { class: "given" }, this.owner.label(name)), ` ${percentage} % used: ${this.owner.amount(name, used)} of ${this.owner.amount(name, limit)}`);
  }

  #close(name, done) {
    const label = `Dismiss: ${this.owner.label(name)}`;
    return h("button", { class: "close", type: "button", "aria-label": label, click: done }, "×");
  }

  #toast(name, meter, done) {
    const toast = h("div", { class: "toast" }, this.#text(name, meter), this.#close(name, done));
    let timer = 0;
    const stay = () => clearTimeout(timer);
    const go = () => {
      stay();
      timer = setTimeout(done, TOAST_SECONDS * 1000);
    };
    for (const event of ["pointerenter", "focusin"]) toast.addEventListener(event, stay);
    for (const event of ["pointerleave", "focusout"]) toast.addEventListener(event, go);
    this.toasts.append(toast);
    go();
    return toast;
  }

  #banner(name, meter, done) {
    const banner = h("div", { class: "banner" }, this.#text(name, meter), this.#close(name, done));
    this.banners.append(banner);
    return banner;
  }

  #dialog(name, meter) {
    this.#waiting.push([name, meter]);
    void this.#next();
    return null;
  }

  async #next() {
    if (this.#dialogs.firstChild || !this.#waiting.length) return;
    const [name, meter] = this.#waiting.shift();
    const dialog = h("dialog", { "aria-labelledby": "reached" });
    this.#dialogs.append(dialog);
    const asked = await this.owner.get(`v1/usage/check?action=${encodeURIComponent(name)}`).catch(() => ({}));
    if (!dialog.isConnected) return;
    fill(
      dialog,
      h("h3", { id: "reached" }, `${this.owner.label(name)}: the limit is reached`),
      h("p", null, `${this.owner.amount(name, meter.used)} of ${this.owner.amount(name, meter.limit)} used${this.owner.resets(meter)}.`),
      asked.allowed ? h("p", null, "You can go on; what is over the limit is counted.") : null,
      asked.upgrade ? h("p", { class: "given" }, asked.upgrade.message) : null,
      h("form", { class: "choices", method: "dialog" }, h("button", null, "Not now"), this.#offer(asked.upgrade)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      void this.#next();
    });
    dialog.showModal();
  }

  /** The link to the upgrade; an address of the catalog that is no web address is not linked. */
  #offer(upgrade) {
    const href = upgrade && web(upgrade.url, this.owner.base);
    const text = href && `Upgrade to ${this.owner.label(upgrade.plan)}`;
    return href ? h("a", { class: "button given", href, target: "_blank", rel: "noopener noreferrer" }, text) : null;
  }
}

function web(text, base) {
  try {
    const url = new URL(text, base);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
