// Lines over time, by uPlot, and columns. Each chart can be read as a table, too.

import uPlot from "./uPlot.esm.js";
import { fill, h } from "./dom.js";
import { clock, date, day, number, percent, short } from "./format.js";
import { empty, table } from "./parts.js";

const HEIGHT = 240;
const NAMED = 6; // so many columns have room for a name each

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** How a start of the grain is written. */
export const start = (grain) => (time) => (grain === "hour" || grain === "minute" ? `${day(time)}, ${clock(time).slice(0, 5)}` : date(time));

/**
 * Lines: `times` are ISO, `series` are {label, values, say?}; a value of null is a gap.
 * Starts to draw once it stands in the page, since it is as wide as its place is.
 */
export function lines({ label, times, series, grain, say = number, area = true, height = HEIGHT }) {
  if (!series.some((one) => one.values.some((value) => value !== null && value !== 0))) return empty("Nothing in this time.");
  const data = [times.map((time) => new Date(time).getTime() / 1000), ...series.map((one) => one.values)];
  const box = drawn(JSON.stringify([label, grain, height, series.map((one) => one.label), colour("text")]), data, () =>
    options({ series, grain, say, area, height }), { label, height });
  return h("figure", null, box, asTable({ label, times, series, grain, say }));
}

const boxes = new Map();

/** The box of a chart; one that is shown already gets the new numbers, so that nothing flickers under a pointer. */
function drawn(key, data, options, { label, height }) {
  const known = boxes.get(key);
  if (known?.box.isConnected && known.chart) {
    known.data = data;
    known.chart.setData(data);
    return known.box;
  }
  // A box without a chart is one that this drawing of the view has made, and that is not in the page yet.
  for (const [name, one] of boxes) if ((one.chart && !one.box.isConnected) || name === key) forget(name, one);
  const box = h("div", { class: "chart", role: "img", "aria-label": label, vars: { height } });
  const own = { box, data, chart: null, watcher: null };
  own.watcher = new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (width < 40) return;
    if (own.chart) own.chart.setSize({ width, height });
    else own.chart = new uPlot({ ...options(), width }, own.data, fill(box));
  });
  own.watcher.observe(box);
  boxes.set(key, own);
  return box;
}

function forget(name, { watcher, chart }) {
  watcher.disconnect();
  chart?.destroy();
  boxes.delete(name);
}

function options({ series, grain, say, area, height }) {
  const at = start(grain);
  const axis = { stroke: colour("muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const shown = (one) => (_, value) => (value === null || value === undefined ? "" : (one.say ?? say)(value));
  return {
    height,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 30, values: (chart, splits) => labels(splits, grain) },
      { ...axis, grid: { stroke: colour("line"), width: 1 }, size: 56, space: 42, values: (_, splits) => splits.map((value) => short(value)) },
    ],
    series: [
      { label: grain === "minute" ? "Minute" : "Time", value: (_, value) => (value ? at(value * 1000) : "") },
      ...series.map((one, index) => line(one, index, shown(one), area && series.length === 1, one.values.filter((point) => point !== null).length)),
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
  return { label: one.label, stroke, width: 2, value, points: { show: points < 13, size: 6, fill: stroke }, fill: area ? `${stroke}1f` : undefined };
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

/** Columns side by side: {label, value, share}; named beneath: all of a few, of many the first and the last. */
export function columns(rows, { label, none = "Nothing in this time." }) {
  if (!rows.length) return empty(none);
  const most = Math.max(...rows.map((row) => row.share), 1e-9);
  return h("figure", { role: "group", "aria-label": label },
    h("ul", { class: "columns" }, rows.map((row) =>
      h("li", { title: `${row.label}: ${number(row.value)}` }, h("i", { vars: { share: row.share / most } }),
        rows.length <= NAMED && h("b", { "aria-hidden": "true" }, number(row.value), h("small", null, percent(row.share))),
        h("span", { class: "hidden" }, `${row.label}: ${number(row.value)}, ${percent(row.share)}`)))),
    h("div", { class: `ends ${rows.length <= NAMED ? "all" : ""}`, "aria-hidden": "true" },
      (rows.length <= NAMED ? rows : [rows[0], rows.at(-1)]).map((row) => h("span", null, row.label))));
}
