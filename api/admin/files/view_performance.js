// One metric: quantiles over time, and by path.

import { ask, span } from "./api.js";
import { lines } from "./chart.js";
import { given, h } from "./dom.js";
import { duration, fine, number } from "./format.js";
import { card, choice, figures, grid, table } from "./parts.js";

const OWN = new Set(["api_response_time", "api_error"]);

export const performance = {
  title: "Performance",
  about: "How long things take, by what the API measures of itself and by the metrics that clients send: of half of the measurements, of 95 % and of 99 %.",
  ranges: true,
  every: 60,
  load: ({ parameters, signal }) => ask("api/admin/analytics/performance", { ...span(parameters.range), metric: parameters.metric }, signal),
  tools: (data, { go }) => choice("Metric", [...new Set([...data.metrics, data.metric])], data.metric, (metric) => go({ metric })),
  show(data) {
    const say = OWN.has(data.metric) ? duration : fine;
    return grid(
      figures(["Measurements", number(data.count)], ["Mean", say(data.mean)], ["Median (p50)", say(data.p50)], ["p95", say(data.p95), "of 95 % at most"], ["p99", say(data.p99), "of 99 % at most"], ["Largest", say(data.max)]),
      card("Over time", quantiles(data, say), { about: `${OWN.has(data.metric) ? "milliseconds" : "in the unit that was sent"}, per ${data.grain}; quantiles are exact within ${data.accuracy * 100} %` }),
      data.paths.length > 0 && card("By path", byPath(data, say), { flush: true }),
    );
  },
};

function quantiles({ series, grain, metric }, say) {
  const values = (name) => series.map((one) => one[name]);
  return lines({
    label: `Quantiles of ${metric}`.slice(0, 120), grain, say, times: values("start"),
    series: [{ label: "p50", values: values("p50") }, { label: "p95", values: values("p95") }, { label: "p99", values: values("p99") }],
  });
}

function byPath({ paths, other }, say) {
  const rest = paths.length <= 100 && other.count ? [{ ...other, path: null, max: null }] : [];
  const value = (title, name) => ({ title, number: true, cell: (one) => say(one[name]) });
  return table([
    { title: "Path", class: "wide", cell: (one) => (one.path === null ? h("span", { class: "muted" }, "all others, and without a path") : given(one.path)) },
    { title: "Count", number: true, cell: (one) => number(one.count) },
    value("Mean", "mean"), value("p50", "p50"), value("p95", "p95"), value("p99", "p99"), value("Largest", "max"),
  ], [...paths.slice(0, 100), ...rest], { label: "By path", stacked: true });
}
