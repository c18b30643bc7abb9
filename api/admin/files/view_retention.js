// Who comes back, by the week of the first session.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { date, number, percent } from "./format.js";
import { card, empty, grid } from "./parts.js";

export const retention = {
  title: "Retention",
  about: "Who comes back: visitors by the week of their first session (from Monday, UTC), and the share of them seen again so many weeks later.",
  every: 300,
  load: ({ signal }) => ask("api/admin/analytics/retention", { weeks: 12 }, signal),
  show({ cohorts }) {
    const first = cohorts.findIndex((one) => one.visitors);
    return grid(card("Weekly cohorts", first < 0 ? empty("Nobody has visited in these weeks.") : heat(cohorts.slice(first))));
  },
};

function heat(cohorts) {
  const weeks = Math.max(...cohorts.map((one) => one.retained.length));
  const numbers = Array.from({ length: weeks }, (_, week) => week);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Weekly cohorts" },
    h("table", { class: "cohorts" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "First seen in the week of"), h("th", { scope: "col" }, "Visitors"), numbers.map((week) => h("th", { scope: "col" }, week ? `+${week} ${week === 1 ? "week" : "weeks"}` : "Same week")))),
      h("tbody", null, cohorts.map((one) => row(one, numbers)))));
}

function row({ week, visitors, retained }, numbers) {
  return h("tr", null, h("th", { scope: "row" }, date(week)), h("td", null, number(visitors)),
    numbers.map((index) => cell(retained[index], visitors)));
}

function cell(one, visitors) {
  if (one === undefined) return h("td");
  if (!visitors) return h("td", { class: "muted" }, "–");
  return h("td", { class: "heat", vars: { share: one.share }, title: `${number(one.visitors)} of ${number(visitors)}` }, percent(one.share));
}
