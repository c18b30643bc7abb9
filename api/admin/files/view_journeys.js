// One session in order, and the newest to choose from.

import { ask, span } from "./api.js";
import { given, h, to } from "./dom.js";
import { ago, clock, count, duration, moment, number, short } from "./format.js";
import { card, category, choice, facts, figures, further, grid, notice, stack, table, tag } from "./parts.js";

const SHOWN = "shown";
const INCLUDED = "include";

export const journeys = {
  title: "Journeys",
  about: "What one session did, in order: selections, changes of mind, configurations.",
  ranges: true,
  async load({ parameters, signal }) {
    if (parameters.session) return ask("api/admin/analytics/user-journey", { sessionId: parameters.session }, signal);
    return ask("api/admin/analytics/sessions", { ...span(parameters.range), bots: parameters.bots, limit: 100, cursor: parameters.cursor }, signal);
  },
  tools: (_, context) => [!context.parameters.session && choice("Bots", ["left out", SHOWN], context.parameters.bots === INCLUDED ? SHOWN : "left out", (chosen) => context.go({ bots: chosen === SHOWN ? INCLUDED : null, cursor: null })), search(context)],
  show: (data, context) => (data.steps ? journey(data, context.parameters) : latest(data, context)),
};

function search({ go, parameters }) {
  const input = h("input", { type: "search", placeholder: "Session id", "aria-label": "Session id", maxlength: 128, spellcheck: "false", "data-key": "session", value: parameters.session });
  return h("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); go({ session: input.value.trim() }); } },
    input, h("button", { type: "submit", "data-key": "search" }, "Show"));
}

// The list.

function latest(data, context) {
  const { sessions, bots } = data;
  const title = context.parameters.cursor ? "Older sessions" : "Newest sessions";
  const about = `${number(sessions.length)} shown${bots ? `, ${count(bots, "session")} of bots left out` : ""}`;
  return grid(card(title, table(COLUMNS, sessions, { label: title, none: "No session began in this time.", stacked: true }), { flush: true, about }), further(data, context));
}

const COLUMNS = [
  { title: "Session", class: "wide", cell: (one) => h("a", { href: to("journeys", { session: one.sessionId }), class: "mono" }, given(one.sessionId, 60)) },
  { title: "Began", class: "tight", cell: (one) => moment(one.startedAt) },
  { title: "Lasted", number: true, cell: (one) => duration(new Date(one.lastAt) - new Date(one.startedAt)) },
  { title: "Interactions", number: true, cell: (one) => number(one.interactions) },
  { title: "Device", cell: (one) => given(one.deviceType, 30) },
  { title: "Last category", cell: (one) => given(one.lastCategory, 60) },
  { title: "Price", number: true, cell: (one) => short(one.totalPrice) },
  { title: "State", class: "tight", cell: (one) => [one.isBot && [tag("bot", "warn"), " "], one.completedAt ? tag("completed", "good") : one.endedAt ? tag("ended") : tag("open", "key")] },
];

// One session.

function journey(data, { range }) {
  const { session, steps, categories } = data;
  const changes = categories.reduce((sum, one) => sum + one.changesOfMind, 0);
  const took = steps.length ? new Date(steps.at(-1).at) - new Date(steps[0].at) : 0;
  return grid(
    h("p", { class: "card-less" }, h("a", { href: to("journeys", { range }) }, "← Newest sessions")),
    figures(
      ["Steps", number(steps.length)],
      ["Lasted", duration(took)],
      ["Changes of mind", number(changes)],
      ["Stopped at", data.stoppedAt === null ? (session.completedAt ? "completed" : "–") : given(data.stoppedAt, 40)],
    ),
    data.isCut && notice("Only the first part of this session is shown: it is longer than a journey may be."),
    card("In order", timeline(steps), { size: "two-thirds", about: "time since the first step" }),
    stack("third", about(session), card("By category", byCategory(categories), { flush: true }), card("Final configuration", final(data.finalConfiguration))),
  );
}

function about(session) {
  const price = session.totalPrice === null || session.totalPrice === undefined ? [] : [["Price", number(session.totalPrice)]];
  return card("Session", facts([
    ["Id", h("span", { class: "mono" }, given(session.sessionId))],
    ["Of", given(session.userId ?? session.anonymousId ?? session.subject)],
    ["Began", `${moment(session.startedAt ?? session.at)} UTC (${ago(session.startedAt ?? session.at)})`],
    ...price,
  ]));
}

function timeline(steps) {
  if (!steps.length) return h("div", { class: "empty" }, "Nothing was recorded.");
  const begin = new Date(steps[0].at);
  return h("ol", { class: "journey" }, steps.map((one) =>
    h("li", { class: one.changes ? "saved" : "" },
      h("span", { class: "when", title: `${moment(one.at)} UTC` }, since(new Date(one.at) - begin)),
      h("div", { class: "what" }, what(one)),
      h("span", { class: "spent" }, one.timeSpentMs === null ? "" : duration(one.timeSpentMs)))));
}

const since = (ms) => (ms < 3_600_000 ? clock(ms).slice(3) : clock(ms));

function what(one) {
  const words = [h("strong", null, given(one.name ?? one.kind, 80)), " ", one.type && tag(given(one.type, 30))];
  if (one.elementId) words.push(" ", h("span", { class: "muted mono" }, given(one.elementId, 60)));
  if (one.value !== undefined) words.push(h("div", null, one.previousValue === undefined ? null : [h("del", null, given(one.previousValue, 80)), " → "], h("ins", null, given(one.value, 80))));
  if (one.changes) words.push(saved(one));
  return words;
}

function saved(one) {
  const told = [one.totalPrice !== undefined && `price ${number(one.totalPrice)}`, one.completionPercentage !== undefined && `${number(one.completionPercentage)} % complete`].filter(Boolean).join(", ");
  return [told && h("div", { class: "muted" }, told), h("div", { class: "diff mono" }, one.changes.slice(0, 20).map(difference), one.changes.length > 20 && h("div", { class: "muted" }, `and ${one.changes.length - 20} more`))];
}

function difference({ path, before, after }) {
  return h("div", null, h("span", { class: "muted" }, given(path.replace(/^\$\.?/, "") || "all", 80)), " ",
    before !== null && [h("del", null, given(before, 60)), " → "], after === null ? h("del", null, "removed") : h("ins", null, given(after, 60)));
}

function byCategory(categories) {
  const columns = [
    { title: "Category", cell: (one) => [category(one.category, "–"), one.selections.length > 1 && h("div", { class: "muted" }, one.selections.slice(0, 8).flatMap((value, index) => [index ? " → " : "", given(value, 30)]))] },
    { title: "Time", number: true, cell: (one) => duration(one.timeSpentMs) },
    { title: "Changes", number: true, cell: (one) => number(one.changesOfMind) },
  ];
  return table(columns, categories, { label: "Categories of this session", none: "No interaction was recorded." });
}

function final(configuration) {
  return configuration === null ? h("p", { class: "muted" }, "None was saved.") : h("pre", { tabindex: "0" }, JSON.stringify(configuration, null, 2));
}
