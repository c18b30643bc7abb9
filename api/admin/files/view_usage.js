// Usage of the periods that run now, by plan, and whose limits are near.

import { ask } from "./api.js";
import { given, h } from "./dom.js";
import { moment, number } from "./format.js";
import { bars, card, figures, grid, table, tag, track } from "./parts.js";

export const usage = {
  title: "Usage",
  about: "What is used in the periods that run now, by plan, and who comes near a limit.",
  every: 30,
  async load({ signal }) {
    const [all, near] = await Promise.all([ask("v1/admin/usage/overview", {}, signal), ask("v1/admin/usage/near-limit", { percent: 1, limit: 50 }, signal)]);
    return { ...all, fullest: near.subjects };
  },
  show(data) {
    const { plans } = data;
    const total = plans.reduce((sum, one) => sum + one.subjects, 0);
    return grid(
      figures(
        ["Subjects", number(total), "users and organisations with a usage or a plan"],
        ["Near a limit", number(sum(data.meters, "near")), `counters at ${data.nearPercent} % or more`],
        ["At a limit", number(sum(data.meters, "reached")), "counters at 100 %", sum(data.meters, "reached") ? "bad" : ""],
        ["Held", number(sum(data.meters, "reserved")), "reserved, not yet used"],
      ),
      card("Plans", bars(plans.map((one) => ({ label: given(one.plan, 60), value: one.subjects, share: total ? one.subjects / total : 0 })), { whole: true, none: "Nobody has used anything yet." }), { size: "third", about: "subjects" }),
      card("Used of each meter, by plan", meters(plans.flatMap(({ plan, meters: own }) => own.map((one) => ({ plan, ...one })))), { flush: true, size: "two-thirds" }),
      card("Nearest to their limits", fullest(data.fullest), { flush: true }),
    );
  },
};

const sum = (rows, name) => rows.reduce((all, row) => all + row[name], 0);

function meters(rows) {
  return table([
    { title: "Plan", cell: (one) => tag(given(one.plan, 40), "key") },
    { title: "Meter", class: "wide", cell: (one) => given(one.action) },
    { title: "Subjects", number: true, cell: (one) => number(one.subjects) },
    { title: "Used", number: true, cell: (one) => number(one.used) },
    { title: "Held", number: true, cell: (one) => number(one.reserved) },
    { title: "Near", number: true, cell: (one) => number(one.near) },
    { title: "At limit", number: true, cell: (one) => number(one.reached) },
  ], rows, { label: "Meters by plan", none: "Nothing was used in the periods that run now.", stacked: true });
}

function fullest(rows) {
  return table([
    { title: "Subject", class: "wide", cell: (one) => given(one.subject) },
    { title: "Meter", cell: (one) => given(one.action) },
    { title: "Plan", cell: (one) => tag(given(one.plan, 40), "key") },
    { title: "Used", class: "wide", cell: standing },
    { title: "Of limit", number: true, cell: (one) => `${one.percentage} %` },
    { title: "Resets", class: "tight", cell: (one) => (one.periodEnd ? moment(one.periodEnd) : "never") },
  ], rows, { label: "Nearest to their limits", none: "No counter has a limit yet.", stacked: true });
}

function standing(one) {
  const sort = one.percentage >= 100 ? "bad" : one.percentage >= 80 ? "warn" : "";
  return [h("span", null, `${number(one.used)}${one.reserved ? ` + ${number(one.reserved)} held` : ""} of ${number(one.limit)}`), track(one.percentage / 100, sort)];
}
