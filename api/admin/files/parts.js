// What views are made of: cards, figures, tables, bars, messages.

import { fill, given, h } from "./dom.js";
import { number, percent } from "./format.js";

/** A card; `options.size` is half, third or two-thirds, `flush` for tables that reach its edges. */
export function card(title, inside, options = {}) {
  const { size = "", about = null, flush = false, tools = null } = options;
  return h("section", { class: `card ${size}`, "aria-label": title },
    h("header", null, h("h2", null, title), about && h("span", { class: "muted" }, about), tools),
    h("div", { class: flush ? "inside flush" : "inside" }, inside));
}

/** Cards beside each other. */
export const grid = (...cards) => h("div", { class: "grid" }, cards);

/** Cards beneath each other, beside others. */
export const stack = (size, ...cards) => h("div", { class: `card-less stack ${size}` }, cards);

/** The large numbers at the top: [label, value, smaller text beneath, class]. */
export function figures(...rows) {
  return h("dl", { class: "figures" }, rows.map(([label, value, more, sort = ""]) =>
    h("div", { class: `figure ${sort}` }, h("dt", null, label), h("dd", null, value, more && h("div", { class: "more" }, more)))));
}

/** A table. Columns: {title, cell(row), number?, class?}; where there are no rows, the words of `none`.
 * `stacked`: on a small screen each row is a block, each of its cells a line. */
export function table(columns, rows, { label, none = "Nothing here yet.", stacked = false }) {
  if (!rows.length) return empty(none);
  const kind = (column) => `${column.number ? "number " : ""}${column.class ?? ""}`.trim() || null;
  // The roles say what a browser forgets of a table whose rows are stacked on a small screen.
  const cell = (column, row) => h("td", { role: "cell", class: kind(column), "data-title": column.title }, h("div", null, column.cell(row)));
  return h("div", { class: `scroll ${stacked ? "stacked" : ""}`, tabindex: "0", role: "region", "aria-label": label },
    h("table", { role: "table" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader", class: kind(column) }, column.title)))),
      h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, columns.map((column) => cell(column, row)))))));
}

/** Bars of shares: {label, value, share, of?}. The longest is as long as there is room for, unless `whole`. */
export function bars(rows, { none = "Nothing in this time.", whole = false } = {}) {
  if (!rows.length) return empty(none);
  const most = whole ? 1 : Math.max(...rows.map((row) => row.share), 1e-9);
  return h("ul", { class: "bars" }, rows.map((row) =>
    h("li", null, h("span", { class: "label" }, row.label),
      h("span", { class: "value" }, number(row.value), h("span", null, percent(row.share))), track(row.share / most))));
}

/** One bar; of those who read with their ears nothing, since a number stands beside it. */
export function track(share, sort = "") {
  return h("div", { class: `track ${sort}`, "aria-hidden": "true" }, share > 0 && h("i", { vars: { share: Math.min(1, share) } }));
}

/** What is shown where there is nothing. */
export function empty(words, more = null) {
  return h("div", { class: "empty" }, h("strong", null, words), more);
}

export const tag = (words, sort = "") => h("span", { class: `tag ${sort}` }, words);

export function notice(words, sort = "") {
  const lines = [words].flat();
  return h("div", { class: `notice ${sort}` }, lines.length === 1 ? lines[0] : h("ul", null, lines.map((line) => h("li", null, line))));
}

/** Names and values. */
export function facts(rows) {
  return h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/** A category of outsiders, or what stands for none. */
export const category = (value, none) => (value === null ? h("span", { class: "muted" }, none) : given(value));

/** Choose one of several; `changed` gets the value. */
export function choice(label, values, chosen, changed) {
  const options = values.map((value) => h("option", { value, selected: value === chosen }, value));
  return h("label", { class: "row" }, h("span", { class: "muted" }, label),
    h("select", { onchange: (event) => changed(event.target.value), "data-key": `choice-${label}` }, options));
}

/** The way through a list whose answers have a cursor. */
export function further({ cursor }, { go, parameters }) {
  if (!cursor && !parameters.cursor) return null;
  return h("div", { class: "row card-less" },
    parameters.cursor && h("button", { type: "button", "data-key": "newest", onclick: () => go({ cursor: null }) }, "Newest"),
    cursor && h("button", { type: "button", "data-key": "older", onclick: () => go({ cursor }) }, "Older"));
}

/** Tell the operator what was done; read aloud, gone after a while. */
export function say(words) {
  const said = document.getElementById("said");
  fill(said, words);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => fill(said), 6000);
}

/** A dialog with buttons, [words, class, done] or elements; closes with Escape. */
export function dialog(title, inside, buttons, close = "Close") {
  const box = h("dialog", { "aria-label": title, onclose: () => box.remove() },
    h("h2", null, title), inside,
    h("div", { class: "row" }, h("button", { type: "button", autofocus: true, onclick: () => box.close() }, close),
      buttons.map((one) => (one instanceof Element ? one : pressed(...one)))));
  function pressed(words, sort, done) {
    return h("button", { type: "button", class: sort, onclick: () => { box.close(); done(); } }, words);
  }
  document.body.append(box);
  box.showModal();
  return box;
}

/** Work in many steps, shown as it goes on, until it is over or somebody stops it: `step()` answers {done, of, over}.
 * Resolves to "over", "stopped", or the problem that ended it. */
export async function working(title, words, step) {
  let isStopped = false;
  const bar = h("progress", { max: 1, value: 0, "aria-label": title });
  const said = h("p", { role: "status" }, words(0, 0));
  const box = h("dialog", { "aria-label": title, oncancel: (event) => { event.preventDefault(); isStopped = true; }, onclose: () => box.remove() },
    h("h2", null, title), bar, said,
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => (isStopped = true) }, "Stop")));
  document.body.append(box);
  box.showModal();
  try {
    for (;;) {
      const { done, of, over } = await step();
      bar.value = of ? done / of : 1;
      fill(said, words(done, of));
      if (over) return "over";
      if (isStopped) return "stopped";
    }
  } catch (problem) {
    return problem;
  } finally {
    box.close();
  }
}
