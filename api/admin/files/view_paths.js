// What comes after what.

import { ask, span } from "./api.js";
import { given, h } from "./dom.js";
import { number, percent } from "./format.js";
import { card, grid, table, track } from "./parts.js";

export const paths = {
  title: "Paths",
  about: "Where people go next: the most frequent steps from one category or page to another, from the start of a session to its end.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("api/admin/analytics/paths", { ...span(parameters.range), limit: 50 }, signal),
  show: ({ steps }) => grid(card("Next steps", list(steps), { flush: true, about: "share: of all that left the same place" })),
};

function list(steps) {
  const most = steps[0]?.times || 1;
  return table([
    { title: "From", class: "wide", cell: (one) => given(one.from, 80) },
    { title: "To", class: "wide", cell: (one) => [h("span", { class: "muted", "aria-hidden": "true" }, "→ "), given(one.to, 80)] },
    { title: "Share", number: true, cell: (one) => percent(one.share) },
    { title: "Times", class: "wide", cell: (one) => [number(one.times), track(one.times / most)] },
  ], steps, { label: "Next steps", stacked: true, none: "Nobody went from one place to another in this time." });
}
