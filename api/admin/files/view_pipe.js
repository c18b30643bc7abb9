// The pipe: what waits, who works, what ran.

import { ask } from "./api.js";
import { given, h, to } from "./dom.js";
import { ago, bytes, count, moment, number, seconds, short, until } from "./format.js";
import { card, figures, grid, notice, stack, table, tag } from "./parts.js";

export const pipe = {
  title: "Pipe",
  about: "Whether everything that comes in is applied: what waits in the log, how far behind the tables are, who works.",
  every: 5,
  load: ({ signal }) => ask("api/admin/pipe", {}, signal),
  show: (data) => grid(
    data.problems.length > 0 && notice(data.problems, "bad"),
    data.warnings.length > 0 && notice(data.warnings),
    !data.problems.length && !data.warnings.length && notice("All is well: what comes in is applied, and nothing wants somebody.", "good"),
    figures(
      ["Backlog", count(sum(data.partitions, "backlogEntries"), "entry", "entries"), held(data.partitions)],
      ["Lag", seconds(most(data.partitions)), "from accepted to applied, slowest partition"],
      ["Workers alive", number(data.workers.filter((one) => one.alive).length), `of ${number(data.workers.length)}`],
      ["Dead letters", h("a", { href: to("dead") }, number(sum(data.deadLetters, "number"))), "actions that could not be applied"],
      ["Dead deliveries", h("a", { href: to("effects", { status: "dead" }) }, number(sum(data.deliveries.filter((one) => one.status === "dead"), "number"))), "given up after all tries"],
    ),
    stack("half",
      card("Partitions", partitions(data.partitions), { flush: true, about: PACE }),
      card("Workers", workers(data.workers), { flush: true, about: PACE }),
      card("Deliveries", deliveries(data.deliveries), { flush: true })),
    stack("half",
      card("Scheduled jobs", schedules(data.schedules, data.at), { flush: true }),
      card("Tables", tables(data.tables), { flush: true, about: "those with rows, by the planner's estimate" })),
  ),
};

const PACE = "actions applied per second, of the last minute";
const sum = (rows, name) => rows.reduce((all, row) => all + (row[name] ?? 0), 0);
const held = (rows) => (sum(rows, "backlogEntries") ? `${bytes(rows.reduce((all, one) => all + waiting(one), 0))} wait to be applied` : "nothing waits");
const waiting = (one) => (one.backlogEntries ? one.backlogBytes : 0); // the stream itself takes some bytes, too
const most = (rows) => (rows.length ? Math.max(...rows.map((row) => row.lagSeconds ?? 0)) : null);

function partitions(rows) {
  return table([
    { title: "Partition", cell: (one) => number(one.id) },
    { title: "Entries", number: true, cell: (one) => number(one.backlogEntries) },
    { title: "Backlog", number: true, cell: (one) => bytes(waiting(one)) },
    { title: "Lag", number: true, cell: (one) => seconds(one.lagSeconds) },
    { title: "Per second", number: true, cell: (one) => short(one.rate) },
    { title: "Applied", class: "tight", cell: (one) => ago(one.appliedAt) },
  ], rows, { label: "Partitions", none: "Nothing was started on this database yet." });
}

function workers(rows) {
  return table([
    { title: "Worker", class: "wide", cell: (one) => [given(one.name, 60), one.failure && h("div", { class: "muted" }, given(one.failure, 200))] },
    { title: "Heartbeat", number: true, cell: (one) => `${seconds(Math.floor(one.beatSeconds))} ago` },
    { title: "Applied", number: true, cell: (one) => number(one.applied) },
    { title: "Per second", number: true, cell: (one) => short(one.rate) },
    { title: "State", class: "tight", cell: (one) => (one.failure ? tag("fails", "bad") : one.alive ? tag("alive", "good") : tag("gone", "warn")) },
  ], rows, { label: "Workers", none: "No worker has ever reported.", stacked: true });
}

function schedules(rows, now) {
  return table([
    { title: "Job", class: "wide", cell: (one) => [given(one.name, 60), " ", one.failed && tag("failed", "bad"), h("div", { class: "muted" }, one.at ? given(one.result, 160) : "has not run yet")] },
    { title: "Last run", class: "tight", cell: (one) => (one.at ? h("span", { title: `${moment(one.at)} UTC` }, ago(one.at)) : "–") },
    { title: "Took", number: true, cell: (one) => seconds(one.seconds) },
    { title: "Next run", class: "tight", cell: (one) => (one.nextAt ? h("span", { title: `${moment(one.nextAt)} UTC` }, until(one.nextAt, now)) : "–") },
  ], rows, { label: "Scheduled jobs", none: "No worker has said yet what it runs.", stacked: true });
}

function deliveries(rows) {
  return table([
    { title: "To", cell: (one) => given(one.sort, 40) },
    { title: "Status", cell: (one) => tag(one.status, one.status === "dead" ? "bad" : "key") },
    { title: "Number", number: true, cell: (one) => number(one.number) },
    { title: "Oldest", number: true, cell: (one) => seconds(one.oldestSeconds) },
  ], rows, { label: "Deliveries", none: "Nothing waits to be delivered." });
}

function tables(rows) {
  return table([
    { title: "Table", class: "wide mono", cell: (one) => given(one.name, 60) },
    { title: "Rows", number: true, cell: (one) => number(one.rows) },
    { title: "Days", number: true, cell: (one) => (one.days ? number(one.days) : "–") },
    { title: "Size", number: true, cell: (one) => given(one.size, 20) },
  ], rows.filter((one) => one.rows > 0).sort((a, b) => b.rows - a.rows), { label: "Tables", none: "No table has rows yet." });
}
