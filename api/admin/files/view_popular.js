// Which configurations sessions end with, and what they choose.

import { ask } from "./api.js";
import { given, h } from "./dom.js";
import { count, number, percent } from "./format.js";
import { bars, card, category, empty, grid, table } from "./parts.js";

export const popular = {
  title: "Configurations",
  about: "What sessions end with, since the beginning: whole configurations, and values by category.",
  every: 60,
  load: ({ signal }) => ask("api/admin/analytics/popular-configs", { limit: 20 }, signal),
  show: (data) => grid(
    card("Final configurations", whole(data), { flush: true, about: `the most frequent of ${count(data.configuredSessions, "session")} that saved one` }),
    ...(data.categories.length ? data.categories.map(values) : [card("Chosen values", empty("Nothing was selected yet."))]),
  ),
};

function whole({ configurations }) {
  return table([
    { title: "Configuration", class: "wide", cell: (one) => pairs(one.configuration) },
    { title: "Sessions", number: true, cell: (one) => number(one.sessions) },
    { title: "Share", number: true, cell: (one) => percent(one.share) },
  ], configurations, { label: "Final configurations", none: "No configuration was saved yet.", stacked: true });
}

function pairs(configuration) {
  const entries = Object.entries(configuration);
  if (!entries.length) return h("span", { class: "muted" }, "empty");
  return h("span", { class: "row" }, entries.slice(0, 12).map(([name, value]) =>
    h("span", { class: "tag" }, given(name, 30), ": ", h("strong", null, given(value, 60)))), entries.length > 12 && h("span", { class: "muted" }, `and ${entries.length - 12} more`));
}

function values(one) {
  const rows = one.values.slice(0, 8).map((value) => ({ label: category(value.value, "nothing"), value: value.sessions, share: value.share }));
  const section = card("Category", bars(rows, { whole: true }), { size: "third", about: "sessions that chose it last" });
  section.setAttribute("aria-label", one.category);
  section.querySelector("h2").replaceChildren(given(one.category, 60));
  return section;
}
