// How referrals fare, and who refers most.

import { ask } from "./api.js";
import { given } from "./dom.js";
import { number, percent, seconds } from "./format.js";
import { bars, card, figures, grid, table, tag } from "./parts.js";

export const referrals = {
  title: "Referrals",
  about: "Claims of the time chosen: how many become customers, who brings them, what was granted.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("admin/plg/referrals/overview", { timeRange: parameters.range, limit: 50 }, signal),
  show: (data) => grid(
    figures(
      ["Codes made", number(data.codes)],
      ["Claims", number(data.total)],
      ["Conversion", percent(data.conversionRate), `${number(data.completed + data.rewarded)} qualified`],
      ["Rewarded", number(data.rewarded)],
      ["Median time to qualify", seconds(data.medianSecondsToComplete)],
    ),
    card("Who refers most", referrers(data.topReferrers), { flush: true, size: "two-thirds" }),
    card("State of claims", states(data), { size: "third" }),
    card("Rewards granted", rewards(data.rewards), { flush: true, size: "two-thirds" }),
  ),
};

function states({ pending, completed, rewarded, total }) {
  const rows = [["Pending", pending], ["Completed", completed], ["Rewarded", rewarded]];
  return bars(total ? rows.map(([label, value]) => ({ label, value, share: value / total })) : [], { whole: true, none: "No claim in this time." });
}

function referrers(rows) {
  return table([
    { title: "Organisation", class: "wide", cell: (one) => given(one.orgId) },
    { title: "Code", cell: (one) => tag(given(one.code, 40)) },
    { title: "Claims", number: true, cell: (one) => number(one.total) },
    { title: "Qualified", number: true, cell: (one) => number(one.converted) },
    { title: "Conversion", number: true, cell: (one) => percent(one.conversionRate) },
  ], rows, { label: "Who refers most", none: "Nobody was referred in this time." });
}

function rewards(rows) {
  return table([
    { title: "To", cell: (one) => (one.side === "referrer" ? "who referred" : "who was referred") },
    { title: "Unit", class: "wide", cell: (one) => given(one.unit) },
    { title: "Rewards", number: true, cell: (one) => number(one.number) },
    { title: "Amount", number: true, cell: (one) => number(one.amount) },
  ], rows, { label: "Rewards granted", none: "No reward was granted in this time." });
}
