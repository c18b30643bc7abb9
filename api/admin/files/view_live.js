// What happens now: streamed where the API streams it, else asked for every 2 s.

import { ask, events } from "./api.js";
import { lines } from "./chart.js";
import { given, h, to } from "./dom.js";
import { bytes, clock, count, duration, moment, number, seconds } from "./format.js";
import { card, figures, grid, notice, stack, table, tag } from "./parts.js";

const REAL_TIME = "api/admin/analytics/real-time";

export const live = {
  title: "Live",
  about: "Sessions of the last five minutes, actions of the last half hour, and how fast the API and the pipe are.",
  every: 2,
  async load(context) {
    const data = await ask(REAL_TIME, {}, context.signal);
    follow(context);
    return data;
  },
  show: (data) => grid(
    figures(
      ["Active sessions", number(data.activeSessions), "within five minutes"],
      ["Actions per minute", number(lastWhole(data.actionsPerMinute)), "tracked in the last whole minute"],
      ["API, median", time(data.api?.p50Ms), requests(data)],
      ["API, 95th percentile", time(data.api?.p95Ms), requests(data)],
      ["Lag of the pipe", seconds(lag(data)), "from accepted to applied"],
    ),
    data.shedding === true && notice("The API is shedding clicks and metrics: it answers too slowly."),
    card("Actions per minute", perMinute(data.actionsPerMinute ?? []), { about: "clicks, pages, metrics and the like, of the last 30 minutes, UTC" }),
    card("Latest actions", latest(data.latest ?? []), { flush: true, size: "two-thirds", about: "by when they happened" }),
    stack("third", card("Partitions", partitions(data.partitions ?? []), { flush: true }), card("Workers", workers(data.workers ?? []), { flush: true })),
  ),
};

/** While the stream brings answers nobody asks; where there is none, or when it ends or says what is wrong, asking goes on. */
async function follow({ kept, signal, show, reload }) {
  if (kept.isFollowing || Date.now() < (kept.notBefore ?? 0)) return;
  kept.isFollowing = true;
  try {
    for await (const data of events("api/admin/live", signal)) {
      if (!Array.isArray(data?.actionsPerMinute)) break;
      kept.isStreaming = true;
      show(data);
    }
  } catch {
    // Asking tells what is wrong.
  }
  kept.isFollowing = kept.isStreaming = false;
  kept.notBefore = Date.now() + 10_000;
  reload();
}

const requests = ({ api }) => (api?.requests === undefined ? null : `of ${count(api.requests, "request")}`);
const time = (ms) => (ms === null || ms === undefined ? "–" : duration(ms));
const lag = ({ partitions: all = [] }) => (all.length ? Math.max(...all.map((one) => one.lagSeconds ?? 0)) : null);
const lastWhole = (minutes = []) => minutes.at(-2)?.actions ?? null;

function perMinute(minutes) {
  return lines({ label: "Actions per minute", grain: "minute", height: 180, times: minutes.map((one) => one.minute), series: [{ label: "Actions", values: minutes.map((one) => one.actions) }] });
}

function latest(rows) {
  return table([
    { title: "At (UTC)", class: "tight", cell: (one) => h("span", { title: `${moment(one.at)} UTC` }, clock(one.at)) },
    { title: "Kind", cell: (one) => tag(given(one.kind, 60)) },
    { title: "What", class: "wide", cell: (one) => given(one.name, 80) },
    { title: "Session", class: "wide", cell: session },
  ], rows.slice(0, 30), { label: "Latest actions", none: "Nothing came in lately.", stacked: true });
}

function session({ sessionId }) {
  return sessionId ? h("a", { href: to("journeys", { session: sessionId }), class: "mono" }, given(sessionId, 50)) : given(null);
}

function partitions(rows) {
  return table([
    { title: "Partition", cell: (one) => number(one.partition ?? one.id) },
    { title: "Backlog", number: true, cell: (one) => (one.lagSeconds ? bytes(one.backlogBytes) : "none") },
    { title: "Lag", number: true, cell: (one) => seconds(one.lagSeconds) },
  ], rows, { label: "Partitions", none: "None is known." });
}

function workers(rows) {
  return table([
    { title: "Worker", cell: (one) => given(one.name, 40) },
    { title: "Applied", number: true, cell: (one) => number(one.applied) },
    { title: "State", class: "tight", cell: (one) => (one.alive === false ? tag("gone", "warn") : one.failure ? tag("fails", "bad") : tag("alive", "good")) },
  ], rows, { label: "Workers", none: "None is known." });
}
