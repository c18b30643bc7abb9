// <milepost-usage>: every meter of the user's plan, what is used and what is left, and the notices at the thresholds.

import { MilepostElement, h } from "./element.js";
import { Notices, STYLE as NOTICES } from "./notices.js";

const STYLE = `
  .meters { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(260px, 100%), 1fr)); gap: 0 28px; margin-top: 8px; }
  .meters > li { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 5px 12px; align-content: start; padding: 10px 0; }
  .name { font-weight: 560; }
  .value { font-variant-numeric: tabular-nums; }
  .track, .left { grid-column: 1 / -1; }
  .left { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 10px; }
  li[data-level="80"] i { background: var(--_warn); }
  li[data-level="90"] i, li[data-level="100"] i { background: var(--_bad); }
  li[data-level="80"] .said { color: var(--_warn); font-weight: 560; }
  li[data-level="90"] .said, li[data-level="100"] .said { color: var(--_bad); font-weight: 560; }
  .off .name, .off .value { color: var(--_muted); font-weight: 400; }`;

export class MilepostUsage extends MilepostElement {
  static event = "usage";
  static heading = "Usage";
  #plan = h("p", { class: "note" });
  #list = h("ul", { class: "meters" });
  #items = new Map();
  #data = null;
  #subject = "";
  #notices;

  constructor() {
    super(STYLE + NOTICES);
    this.card.append(h("div", { class: "head" }, this.caption, this.#plan), this.#list);
    this.#notices = new Notices(this);
  }

  forget() {
    this.#data = null;
    this.#items.clear();
    this.#list.replaceChildren();
    this.#plan.textContent = "";
    this.#notices?.clear();
  }

  redraw() {
    if (!this.#data) return;
    this.#items.clear();
    this.#list.replaceChildren();
    this.show(this.#data, this.#subject);
  }

  show(data, subject) {
    const isFirst = this.#data === null;
    const before = this.#data?.meters ?? {};
    this.#data = data;
    this.#subject = subject;
    this.#plan.replaceChildren(`Plan `, h("bdi", { class: "given" }, this.label(data.plan)), ` · until ${date(data.period.end)}`);
    for (const [name, meter] of Object.entries(data.meters)) this.#meter(name, meter);
    const moved = Object.keys(data.meters).filter((name) => before[name]?.used !== data.meters[name].used);
    if (!isFirst && moved.length) this.say(moved.map((name) => `${this.label(name)}: ${this.#standing(name)}`).join(". "));
    for (const [name, meter] of Object.entries(data.meters)) this.#notices.see(name, meter, subject);
  }

  /** The unit stands beside the number already. */
  label(name) {
    const text = super.label(name);
    return this.#data?.meters[name]?.unit === "bytes" ? text.replace(/ bytes$/, "") : text;
  }

  /** A number of a meter in its unit. */
  amount(name, value) {
    return this.#data?.meters[name]?.unit === "bytes" ? bytes(value) : new Intl.NumberFormat().format(value);
  }

  /** When a meter begins anew, as the end of a sentence. */
  resets({ resetsAt }) {
    return resetsAt ? `; it begins anew on ${date(resetsAt)}` : "";
  }

  #standing(name) {
    const meter = this.#data.meters[name];
    if (meter.limit === 0) return "not in your plan";
    return meter.unlimited ? `${this.amount(name, meter.used)} used` : `${this.amount(name, meter.used)} of ${this.amount(name, meter.limit)}`;
  }

  #meter(name, meter) {
    const item = this.#items.get(name) ?? this.#made(name);
    const { bar, track, value, said, resets } = item;
    const isOff = meter.limit === 0, isMeasured = !meter.unlimited && !isOff;
    item.row.classList.toggle("off", isOff);
    item.row.dataset.level = meter.warning >= 100 ? 100 : meter.warning >= 90 ? 90 : meter.warning ? 80 : "";
    value.textContent = this.#standing(name);
    track.hidden = !isMeasured;
    said.textContent = isMeasured ? this.#left(name, meter) : meter.unlimited ? "unlimited" : "";
    resets.textContent = isMeasured && meter.resetsAt ? `resets on ${date(meter.resetsAt)}` : "";
    if (!isMeasured) return;
    const percentage = Math.min(100, meter.percentage);
    track.setAttribute("aria-valuenow", percentage);
    track.setAttribute("aria-valuetext", `${value.textContent}, ${meter.percentage} %`);
    bar.style.setProperty("--share", percentage);
  }

  #left(name, { remaining, reserved, warning, percentage }) {
    const held = reserved ? `, ${this.amount(name, reserved)} reserved` : "";
    if (warning >= 100) return `Limit reached${held}`;
    return `${warning ? `${percentage} % used, ` : ""}${this.amount(name, remaining)} left${held}`;
  }

  #made(name) {
    const bar = h("i");
    const track = h("div", { class: "track", role: "meter", "aria-label": this.label(name), "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
    const value = h("span", { class: "value" }), said = h("span", { class: "said" }), resets = h("span");
    const row = h("li", null, h("bdi", { class: "name given" }, this.label(name)), value, track, h("div", { class: "left note" }, said, resets));
    this.#list.append(row);
    const item = { row, bar, track, value, said, resets };
    this.#items.set(name, item);
    return item;
  }
}

function date(text) {
  return new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", timeZone: "UTC" }).format(new Date(text));
}

function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];
  const power = Math.min(units.length - 1, Math.floor(Math.log(Math.max(1, Math.abs(value))) / Math.log(1024)));
  const form = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(undefined, form).format(value / 1024 ** power);
}
