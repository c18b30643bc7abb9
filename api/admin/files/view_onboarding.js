// Where users leave the onboarding.

import { ask, span } from "./api.js";
import { given } from "./dom.js";
import { number, percent, seconds } from "./format.js";
import { bars, card, figures, grid, notice, table, track } from "./parts.js";

export const onboarding = {
  title: "Onboarding",
  about: "How far new users come with the steps of the checklist; of those who began in the time chosen.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("admin/plg/onboarding/overview", { ...span(parameters.range) }, signal),
  show: ({ totals, steps, actions }) => grid(
    !totals.users && notice("Nobody's onboarding began in this time. It does with the first step or first action that is sent of a user.", "key"),
    figures(
      ["Users", number(totals.users)],
      ["Completed", number(totals.completed), totals.users ? `${percent(totals.completionRate)} of them` : null],
      ["Skipped the rest", number(totals.skipped)],
      ["Largest drop-off", ...worst(steps)],
    ),
    card("Steps", checklist(steps, totals.users), { flush: true, size: "two-thirds", about: "medians of the time spent on a step, as sent, and between it and the one before" }),
    card("First times", bars(actions.map((one) => ({ label: given(one.action), value: one.users, share: totals.users ? one.users / totals.users : 0 })), { whole: true }), { size: "third", about: "users who have done it once" }),
  ),
};

function worst(steps) {
  const found = steps.filter((one) => one.entered).sort((a, b) => b.dropOff - a.dropOff)[0];
  return found && found.dropOff > 0 ? [percent(found.dropOff), ["at ", given(found.step, 40)]] : ["–", null];
}

function checklist(steps, users) {
  return table([
    { title: "Step", class: "wide", cell: (one) => [given(one.step), users ? track(one.entered / users) : null] },
    { title: "Entered", number: true, cell: (one) => number(one.entered) },
    { title: "Completed", number: true, cell: (one) => number(one.completed) },
    { title: "Skipped", number: true, cell: (one) => number(one.skipped) },
    { title: "Drop-off", number: true, cell: (one) => (one.entered ? percent(one.dropOff) : "–") },
    { title: "Spent on it", number: true, cell: (one) => seconds(one.medianTimeSpentSeconds) },
    { title: "Between", number: true, cell: (one) => seconds(one.medianTimeBetweenStepsSeconds) },
  ], steps, { label: "Steps of the onboarding", none: "The catalog has no steps.", stacked: true });
}
