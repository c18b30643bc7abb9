// How referrals fare, and who refers most.

import { ask, span } from "./api.js";
import { given } from "./dom.js";
import { number, rate, seconds } from "./format.js";
import { bars, card, figures, grid, stack, table, tag } from "./parts.js";

export const referrals = {
  title: "Referrals",
  about: "Who brings new customers: claims of referral codes in the time chosen, how many of them qualify, and what was granted.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("admin/plg/referrals/overview", { ...span(parameters.range), limit: 50 }, signal),
  show: (data) => grid(
    figures(
      ["Codes made", number(data.codes)],
      ["Claims", number(data.total)],
      ["Conversion", rate(data.conversionRate, data.total), `${number(data.completed + data.rewarded)} qualified`],
      ["Rewarded", number(data.rewarded)],
      ["Median time to qualify", seconds(data.medianSecondsToComplete)],
    ),
    card("Who refers most", referrers(data.topReferrers), { flush: true, size: "two-thirds", about: "organisations, by claims of their code" }),
    stack("third", card("State of claims", states(data), { about: "share of claims" }), card("Rewards granted", rewards(data.rewards), { flush: true })),
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
    { title: "Conversion", number: true, cell: (one) => rate(one.conversionRate, one.total) },
  ], rows, { label: "Who refers most", none: "Nobody was referred in this time.", stacked: true });
}

function rewards(rows) {
  return table([
    { title: "To", cell: (one) => (one.side === "referrer" ? "who referred" : "who was referred") },
    { title: "Rewards", number: true, cell: (one) => number(one.number) },
    { title: "In all", class: "wide", number: true, cell: (one) => [number(one.amount), " ", given(one.unit, 40)] },
  ], rows, { label: "Rewards granted", none: "No reward was granted in this time." });
}
