// What leaves the house, and what could not.

import { ask, post } from "./api.js";
import { given, h } from "./dom.js";
import { ago, moment, number } from "./format.js";
import { card, choice, dialog, empty, facts, grid, say, table, tag } from "./parts.js";

const SORTS = { delivered: "good", pending: "key", dead: "bad", discarded: "", none: "" };
const ALL = "all";

export const effects = {
  title: "Effects",
  about: "What other systems are told, by webhooks, NATS or an analytics service: what was delivered, what waits, and what is dead, that is, given up after all tries.",
  every: 10,
  load: ({ parameters, signal }) => ask("v1/admin/effects", { status: parameters.status, limit: 50, cursor: parameters.cursor }, signal),
  tools: (data, context) => [status(context), ...(context.parameters.status === "dead" && data.effects.length > 0 ? Object.keys(VERBS).map((verb) => all(verb, context)) : [])],
  show: (data, context) => grid(card("Effects", list(data.effects, context), { flush: true, about: data.effects.length ? "newest first" : null }), more(data, context)),
};

function status({ parameters, go }) {
  return choice("Status", [ALL, "dead", "pending", "delivered", "discarded"], parameters.status ?? ALL, (status) => go({ status: status === ALL ? null : status, cursor: null }));
}

const VERBS = {
  retry: { words: "Retry all", question: "Deliver everything that is dead again?", warning: "Every dead delivery, of this page and of the others, is tried again at once.", sort: "main" },
  discard: { words: "Discard all", question: "Put everything away that is dead?", warning: "No dead delivery, of this page and of the others, is tried any more, unless somebody retries it one by one.", sort: "danger" },
};

function all(verb, context) {
  const { words, question, warning, sort } = VERBS[verb];
  const ask = () => dialog(question, h("p", null, warning), [[words, sort, () => send(verb, verb, { status: "dead" }, context)]]);
  return h("button", { type: "button", class: sort === "danger" ? sort : null, onclick: ask, "data-key": `${verb}-all` }, `${words} dead`);
}

function more({ cursor }, { go, parameters }) {
  if (!cursor && !parameters.cursor) return null;
  return h("div", { class: "row card-less" },
    parameters.cursor && h("button", { type: "button", onclick: () => go({ cursor: null }) }, "Newest"),
    cursor && h("button", { type: "button", onclick: () => go({ cursor }) }, "Older"));
}

function list(rows, context) {
  if (!rows.length) return empty("No effects.", "They appear when something happens that a webhook or another destination wants to know.");
  return table([
    { title: "Effect", class: "wide", cell: (one) => [h("button", { class: "link", type: "button", "data-key": one.id, onclick: () => details(one, context) }, given(one.type, 60)), h("div", { class: "muted mono" }, given(one.id, 60))] },
    { title: "Subject", class: "wide", cell: (one) => given(one.subject, 80) },
    { title: "Created", class: "tight", cell: (one) => h("span", { title: `${moment(one.createdAt)} UTC` }, ago(one.createdAt)) },
    { title: "Deliveries", cell: (one) => one.deliveries.map(target) },
    { title: "Status", class: "tight", cell: (one) => tag(one.status === "none" ? "for nobody" : one.status, SORTS[one.status]) },
    { title: "", class: "tight", cell: (one) => buttons(one, context) },
  ], rows, { label: "Effects", stacked: true });
}

function target(one) {
  const place = one.destination.url ?? one.destination.sort ?? "a destination that was removed";
  return h("div", null, given(place, 60), " ", h("span", { class: "muted" }, `${number(one.attemptCount)} tried`), one.reason && h("div", { class: "muted" }, given(one.reason, 120)));
}

function buttons(one, context) {
  if (!["dead", "pending", "discarded"].includes(one.status)) return null;
  const button = (words, verb, sort) => h("button", { class: `small ${sort}`, type: "button", "data-key": `${verb}-${one.id}`, "aria-label": `${words} ${one.type}`, onclick: () => act(one, verb, context) }, words);
  return h("div", { class: "row" }, button("Retry", "retry", ""), one.status !== "discarded" && button("Discard", "discard", "danger"));
}

const act = (one, verb, context) => send(verb, `${encodeURIComponent(one.id)}/${verb}`, null, context);

async function send(verb, path, body, context) {
  try {
    const { retried, discarded, refused } = await post(`v1/admin/effects/${path}`, body);
    const done = verb === "retry" ? `${number(retried)} to be delivered again` : `${number(discarded)} put away`;
    say(`${done}${refused ? `, ${number(refused)} refused: the destination is disabled` : ""}.`);
  } catch (problem) {
    say(problem.message);
  }
  context.reload();
}

async function details(listed, context) {
  let one = listed;
  try {
    one = await ask(`v1/admin/effects/${encodeURIComponent(listed.id)}`);
  } catch (problem) {
    return say(problem.message);
  }
  const attempts = one.deliveries.flatMap((delivery) => (delivery.attempts ?? []).map((attempt) => ({ ...attempt, place: delivery.destination.url })));
  dialog(one.type, [
    facts([["Id", h("span", { class: "mono" }, given(one.id))], ["Subject", given(one.subject)], ["Created", `${moment(one.createdAt)} UTC`]]),
    h("pre", { tabindex: "0" }, JSON.stringify(one.data, null, 2)),
    table([
      { title: "Attempt", class: "tight", cell: (row) => moment(row.at) },
      { title: "To", class: "wide", cell: (row) => given(row.place, 60) },
      { title: "Answer", class: "wide", cell: (row) => [given(row.status === null ? row.error : String(row.status), 120), row.response && h("div", { class: "muted" }, given(row.response, 200))] },
    ], attempts, { label: "Attempts", none: one.status === "none" ? "No webhook and no other destination wanted it when it happened." : "Nothing was tried yet." }),
  ], one.status === "delivered" || one.status === "none" ? [] : [["Retry", "main", () => act(one, "retry", context)]]);
}
