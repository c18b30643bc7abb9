// How far sessions come, step by step.

import { ask, span } from "./api.js";
import { given, h } from "./dom.js";
import { count, duration, number, percent, rate } from "./format.js";
import { card, choice, empty, figures, grid, track } from "./parts.js";

export const funnel = {
  title: "Funnel",
  about: "How many sessions take each step, and where they stay away.",
  ranges: true,
  every: 60,
  async load({ parameters, signal }) {
    return ask("api/admin/analytics/conversion-funnel", { ...span(parameters.range), funnel: parameters.funnel }, signal).catch((problem) => {
      // What the API says of a name that is none lists those there are; a link to one that was removed should not end there.
      if (problem.status === 400 && parameters.funnel) return ask("api/admin/analytics/conversion-funnel", { ...span(parameters.range) }, signal);
      throw problem;
    });
  },
  tools: (data, { go }) => {
    const names = data.funnels ?? [data.funnel];
    return names.length > 1 ? choice("Funnel", names, data.funnel, (name) => go({ funnel: name })) : null;
  },
  show: (data) => grid(summary(data), card("Steps", steps(data), { about: `within ${duration(data.windowSeconds * 1000)} of the first step` })),
};

function summary({ steps: all, conversionRate }) {
  const worst = all.filter((one) => one.dropOff !== null && one.entered).sort((a, b) => b.dropOff - a.dropOff)[0];
  return figures(
    ["Entered", number(all[0]?.entered)],
    ["Came to the end", number(all.at(-1)?.entered)],
    ["Conversion", rate(conversionRate, all[0]?.entered)],
    ["Largest drop-off", worst ? percent(worst.dropOff) : "–", worst && ["after ", given(worst.step, 40)]],
  );
}

function steps({ steps: all }) {
  if (!all.length || !all[0].entered) return empty("No session entered this funnel in this time.");
  return h("ol", { class: "funnel" }, all.map((one, index) => h("li", null, step(one, index), between(one))));
}

function step(one, index) {
  return h("div", { class: "step" },
    h("div", { class: "name" }, `${index + 1}. `, given(one.step)),
    track(one.shareOfFirst),
    h("div", { class: "entered" }, h("strong", null, number(one.entered)), h("span", { class: "muted" }, ` · ${percent(one.shareOfFirst)}`)));
}

function between(one) {
  if (one.dropOff === null) return null;
  return h("div", { class: "between" },
    h("span", { class: one.dropOff > 0 ? "lost" : "" }, `${percent(one.dropOff)} drop off (${count(one.entered - one.converted, "session")})`),
    one.medianTimeToNextMs !== null && h("span", null, `median ${duration(one.medianTimeToNextMs)} to the next`));
}
