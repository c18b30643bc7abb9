// Lines over time, by uPlot, and columns. Each chart can be read as a table, too.

import uPlot from "./uPlot.esm.js";
import { fill, h } from "./dom.js";
import { clock, date, day, number, short } from "./format.js";
import { empty, table } from "./parts.js";

const HEIGHT = 240;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** How a start of the grain is written. */
export const start = (grain) => (time) => (grain === "hour" || grain === "minute" ? `${day(time)}, ${clock(time).slice(0, 5)}` : date(time));

/**
 * Lines: `times` are ISO, `series` are {label, values, say?}; a value of null is a gap.
 * Starts to draw once it stands in the page, since it is as wide as its place is.
 */
export function lines({ label, times, series, grain, say = number, area = true, height = HEIGHT }) {
  if (!series.some((one) => one.values.some((value) => value !== null && value !== 0))) return empty("Nothing in this time.");
  const box = h("div", { class: "chart", role: "img", "aria-label": label });
  const data = [times.map((time) => new Date(time).getTime() / 1000), ...series.map((one) => one.values)];
  const watcher = new ResizeObserver(([{ contentRect }]) => {
    if (!box.isConnected) return void watcher.disconnect();
    const width = Math.floor(contentRect.width);
    if (width < 40) return;
    if (box.chart) box.chart.setSize({ width, height });
    else box.chart = new uPlot(options({ series, grain, say, area, width, height, points: times.length }), data, fill(box));
  });
  watcher.observe(box);
  return h("figure", null, box, asTable({ label, times, series, grain, say }));
}

function options({ series, grain, say, area, width, height, points }) {
  const at = start(grain);
  const axis = { stroke: colour("muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const shown = (one) => (_, value) => (value === null || value === undefined ? "–" : (one.say ?? say)(value));
  return {
    width, height,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    scales: { y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, space: 64, values: (chart, splits) => labels(splits, grain) },
      { ...axis, grid: { stroke: colour("line"), width: 1 }, size: 56, space: 42, values: (_, splits) => splits.map((value) => short(value)) },
    ],
    series: [
      { label: grain === "minute" ? "Minute" : "Time", value: (_, value) => (value ? at(value * 1000) : "–") },
      ...series.map((one, index) => line(one, index, shown(one), area && series.length === 1, points)),
    ],
  };
}

function labels(splits, grain) {
  const isDay = grain !== "hour" && grain !== "minute";
  return splits.map((seconds, index) => {
    if (isDay) return seconds % 86400 ? "" : day(seconds * 1000);
    const isMidnight = seconds % 86400 === 0;
    return isMidnight && index ? day(seconds * 1000) : clock(seconds * 1000).slice(0, 5);
  });
}

function line(one, index, value, area, points) {
  const stroke = colour(`series-${index + 1}`);
  return { label: one.label, stroke, width: 2, value, points: { show: points < 10, size: 6, fill: stroke }, fill: area ? `${stroke}1f` : undefined };
}

function asTable({ label, times, series, grain, say }) {
  const at = start(grain);
  const rows = times.map((time, index) => ({ time, index })).reverse();
  const columns = [
    { title: "Time (UTC)", cell: (row) => at(row.time) },
    ...series.map((one) => ({ title: one.label, number: true, cell: (row) => (one.values[row.index] === null ? "–" : (one.say ?? say)(one.values[row.index])) })),
  ];
  const inside = h("div");
  const open = (event) => event.target.open && !inside.firstChild && inside.append(table(columns, rows, { label: `${label}, as a table` }));
  return h("details", { class: "astable", ontoggle: open, "data-key": `table-${label}` }, h("summary", null, "Show as a table"), inside);
}

/** Columns side by side: {label, value, share}; the first and the last are named beneath. */
export function columns(rows, { label, none = "Nothing in this time." }) {
  if (!rows.length) return empty(none);
  const most = Math.max(...rows.map((row) => row.share), 1e-9);
  return h("figure", { role: "group", "aria-label": label },
    h("ul", { class: "columns" }, rows.map((row) =>
      h("li", { title: `${row.label}: ${number(row.value)}` }, h("i", { vars: { share: row.share / most } }),
        h("span", { class: "hidden" }, `${row.label}: ${number(row.value)}`)))),
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", null, rows[0].label), rows.length > 1 && h("span", null, rows.at(-1).label)));
}
