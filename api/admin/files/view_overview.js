// Sessions of a range, and how they went.

import { ask, span } from "./api.js";
import { columns, lines } from "./chart.js";
import { count, duration, number, rate, short } from "./format.js";
import { bars, card, category, figures, grid, notice } from "./parts.js";

export const overview = {
  title: "Overview",
  about: "What visitors did in the time chosen: sessions by when they began, how they went, and where they stopped.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("api/admin/analytics/overview", { ...span(parameters.range) }, signal),
  show: (data) => grid(
    !data.sessions && notice("No session began in this time. Sessions come from what pages and servers send: POST /v1/actions, or milepost.js on a page. /docs has examples.", "key"),
    figures(
      ["Sessions", number(data.sessions), data.bots ? `${count(data.bots, "bot")} left out` : null],
      ["Interactions", number(data.interactions), perSession(data)],
      ["Unique users", number(data.uniqueUsers), "known by user or device"],
      ["Conversion", rate(data.conversionRate, data.sessions), `${number(data.completedConfigurations)} ordered or at 100\u00a0%`],
      ["Average session", duration(data.averageSessionDurationMs), "to completion or the end"],
    ),
    card("Sessions", sessions(data), { about: data.grain === "hour" ? "per hour, UTC" : "per day, UTC" }),
    card("Where sessions stopped", dropped(data), { size: "half", about: "last category of those not completed; share of all" }),
    card("Final prices", prices(data), { size: "half", about: "sessions by last price, as sent; share of those with one" }),
    card("Devices", devices(data), { size: "half", about: "sessions, and share of all" }),
    card("Conversion", conversion(data), { size: "half", about: `completed of all sessions, % per ${data.grain}` }),
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
  const rows = found.map((one) => ({ label: `${short(one.from)} to ${short(one.to)}`, value: one.sessions, share: one.share }));
  return columns(rows, { label: "Sessions by final price", none: "No session had a price in this time." });
}

function devices({ devices: found }) {
  return bars(found.slice(0, 8).map((one) => ({ label: category(one.device, "not known"), value: one.sessions, share: one.share })), { whole: true });
}
