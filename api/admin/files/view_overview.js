// Sessions of a range, and how they went.

import { ask } from "./api.js";
import { columns, lines } from "./chart.js";
import { count, duration, number, percent, short } from "./format.js";
import { bars, card, category, figures, grid } from "./parts.js";

export const overview = {
  title: "Overview",
  about: "Sessions of the time chosen, by when they began, and how they went.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("api/admin/analytics/overview", { timeRange: parameters.range }, signal),
  show: (data) => grid(
    figures(
      ["Sessions", number(data.sessions), data.bots ? `${count(data.bots, "bot")} left out` : null],
      ["Interactions", number(data.interactions), perSession(data)],
      ["Unique users", number(data.uniqueUsers)],
      ["Conversion", percent(data.conversionRate), `${number(data.completedConfigurations)} completed`],
      ["Average duration", duration(data.averageSessionDurationMs), "to completion or the end"],
    ),
    card("Sessions", sessions(data), { about: data.grain === "hour" ? "per hour, UTC" : "per day, UTC" }),
    card("Where sessions stopped", dropped(data), { size: "half", about: "last category of those that did not complete" }),
    card("Final prices", prices(data), { size: "half", about: "sessions by bucket" }),
    card("Devices", devices(data), { size: "half", about: "share of sessions" }),
    card("Conversion", conversion(data), { size: "half", about: "completed sessions of all, in %" }),
  ),
};

function perSession({ sessions, interactions }) {
  return sessions ? `${(interactions / sessions).toFixed(1)} per session` : null;
}

function sessions({ series, grain }) {
  return lines({
    label: "Sessions over time", grain, times: series.map((one) => one.start),
    series: [
      { label: "Sessions", values: series.map((one) => one.sessions) },
      { label: "Completed", values: series.map((one) => one.completedConfigurations) },
    ],
  });
}

function conversion({ series, grain }) {
  return lines({
    label: "Conversion over time", grain, height: 180, say: (value) => `${value.toFixed(1)} %`,
    times: series.map((one) => one.start),
    series: [{ label: "Conversion", values: series.map((one) => (one.sessions ? one.conversionRate * 100 : null)) }],
  });
}

function dropped({ dropOffPoints }) {
  return bars(dropOffPoints.slice(0, 10).map((one) => ({ label: category(one.category, "before any interaction"), value: one.sessions, share: one.share })));
}

function prices({ priceDistribution: found }) {
  const label = (one, next) => (next ? `${short(one.from)} to ${short(next.from)}` : `${short(one.from)} and more`);
  const rows = found.map((one, index) => ({ label: label(one, found[index + 1]), value: one.sessions, share: one.share }));
  return columns(rows, { label: "Sessions by final price", none: "No session had a price in this time." });
}

function devices({ devices: found }) {
  return bars(found.slice(0, 8).map((one) => ({ label: category(one.device, "not known"), value: one.sessions, share: one.share })), { whole: true });
}
