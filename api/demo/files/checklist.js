// <milepost-checklist>: the steps of the onboarding, or with list="features" what was done for the first time.

import { MilepostElement, h } from "./element.js";

const STYLE = `
  .head + .track { margin: 10px 0 8px; }
  li { display: grid; grid-template-columns: 22px minmax(0, 1fr) auto; gap: 12px; align-items: center; padding: 8px 0; }
  li + li { border-top: 1px solid var(--_line); }
  .mark { width: 22px; height: 22px; border-radius: 50%; border: 2px solid var(--_edge); display: grid; place-items: center; }
  .mark::before { content: ""; }
  li[data-status="completed"] .mark { background: var(--_good); border-color: var(--_good); }
  li[data-status="completed"] .mark::before { width: 6px; height: 10px; margin-top: -3px; rotate: 45deg;
    border: solid var(--_ground); border-width: 0 2.5px 2.5px 0; }
  li[data-status="skipped"] .mark::before { width: 10px; border-top: 2px solid var(--_edge); }
  li[data-status="skipped"] .name, li[data-status="completed"] .name { color: var(--_muted); }
  li[aria-current="step"] .name { font-weight: 600; }
  li[aria-current="step"] .mark { border-color: var(--_accent); }
  @media (prefers-reduced-motion: no-preference) { .mark { transition: background-color 0.2s; } }
  @media (forced-colors: active) { li[data-status="completed"] .mark { background: Highlight; } }`;
const SAID = { pending: "", completed: "done", skipped: "skipped" };

export class MilepostChecklist extends MilepostElement {
  static event = "onboarding";
  static heading = "Getting started";
  static observedAttributes = [...MilepostElement.observedAttributes, "list"];
  #count = h("p", { class: "note" });
  #bar = h("i");
  #track = h("div", { class: "track", role: "progressbar", "aria-labelledby": "title", "aria-valuemin": 0, "aria-valuemax": 100 });
  #list = h("ol");
  #items = new Map();
  #data = null;

  constructor() {
    super(STYLE);
    this.#track.append(this.#bar);
    this.card.append(h("div", { class: "head" }, this.caption, this.#count), this.#track, this.#list);
  }

  forget() {
    this.#data = null;
    this.#items.clear();
    this.#list.replaceChildren();
    this.#count.textContent = "";
    this.#fill(0);
  }

  redraw() {
    const data = this.#data;
    if (!data) return;
    this.forget();
    this.show(data);
  }

  show(data) {
    const isFirst = this.#data === null;
    this.#data = data;
    const { steps, percentage, current } = this.getAttribute("list") === "features" ? features(data) : checklist(data);
    const done = steps.filter(({ status }) => status === "completed").length;
    this.#count.textContent = done === steps.length ? `All ${done} done` : `${done} of ${steps.length} done`;
    this.#fill(percentage);
    const changed = steps.filter((one) => this.#step(one, current));
    if (!isFirst && changed.length) {
      this.say(`${changed.map(({ step, status }) => `${this.label(step)}: ${SAID[status] || "open"}`).join(". ")}. ${percentage} %.`);
    }
  }

  #fill(percentage) {
    this.#track.setAttribute("aria-valuenow", percentage);
    this.#bar.style.setProperty("--share", percentage);
  }

  /** Draw one step; whether its status is another than before. */
  #step({ step, status }, current) {
    let item = this.#items.get(step);
    if (!item) {
      item = h("li", null, h("span", { class: "mark", "aria-hidden": "true" }), h("bdi", { class: "name given" }), h("span", { class: "note" }));
      this.#items.set(step, item);
      this.#list.append(item);
      item.children[1].textContent = this.label(step);
    }
    if (step === current) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    if (item.dataset.status === status) return false;
    item.dataset.status = status;
    item.children[2].textContent = SAID[status] ?? status;
    return true;
  }
}

function checklist({ status }) {
  return { steps: status.steps, percentage: status.percentage, current: status.completed ? null : status.currentStep };
}

/** What the catalog's actions leave behind: a flag for each. */
function features(data) {
  const flags = Object.entries(data).filter(([, value]) => typeof value === "boolean");
  const steps = flags.map(([step, isDone]) => ({ step, status: isDone ? "completed" : "pending" }));
  return { steps, percentage: data.completionPercentage, current: null };
}
