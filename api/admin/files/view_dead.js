// Actions that could not be applied: look, retry, discard, one by one or all that a filter finds.

import { ask, post } from "./api.js";
import { given, h } from "./dom.js";
import { ago, count, moment, number } from "./format.js";
import { card, choice, dialog, empty, facts, figures, further, grid, notice, say, table, tag, working } from "./parts.js";

const SORTS = { open: "warn", retried: "good", discarded: "" };
const ALL = "all";
const PART = 500;

export const dead = {
  title: "Dead letters",
  about: "Actions that were accepted and could not be applied. A retry sends them through the pipe again, under their own ids.",
  every: 10,
  load: ({ parameters, signal }) => ask("v1/admin/dead", { ...filter(parameters), status: parameters.status, limit: 50, cursor: parameters.cursor }, signal),
  tools: (data, { parameters, go }) => [
    choice("Code", named(data.codes.map((one) => one.code), parameters.code), parameters.code ?? ALL, (code) => go({ code: code === ALL ? null : code, cursor: null })),
    choice("Kind", named(data.kinds.map((one) => one.kind), parameters.kind), parameters.kind ?? ALL, (kind) => go({ kind: kind === ALL ? null : kind, cursor: null })),
    choice("Family", named(data.kinds.map((one) => one.family), parameters.family), parameters.family ?? ALL, (family) => go({ family: family === ALL ? null : family, cursor: null })),
    choice("Status", ["open", ALL], parameters.status === ALL ? ALL : "open", (status) => go({ status: status === ALL ? status : null, cursor: null })),
  ],
  show: (data, context) => grid(
    context.kept.told && told(context),
    data.codes.length > 0 && figures(...data.codes.slice(0, 6).map((one) => [given(one.code, 40), number(one.number), `open, newest ${ago(one.newest)}`])),
    card("Letters", list(data.letters, context), { flush: true, about: about(data, context), tools: context.parameters.status !== ALL && data.total > 1 && many(data, context) }),
    further(data, context),
  ),
};

const filter = ({ code, kind, family }) => ({ code, kind, family });
const named = (values, chosen) => [ALL, ...new Set([...values.filter(Boolean), ...(chosen ? [chosen] : [])])];

function about({ letters, total }, { parameters }) {
  if (!letters.length) return null;
  return `${count(total, parameters.status === ALL ? "letter" : "open letter")}${letters.length < total ? `, ${number(letters.length)} shown` : ""}, newest first`;
}

// All that the filter finds.

const VERBS = {
  retry: { words: "Retry all", does: "Retrying", did: "sent through the pipe again", sort: "main", name: "retried", warning: "They go through the pipe again under their own ids: what was applied already counts once. What dies anew becomes a new letter." },
  discard: { words: "Discard all", does: "Discarding", did: "put away", sort: "danger", name: "discarded", warning: "They are not applied, and not offered for a retry any more; that cannot be taken back here. The rows stay in the table." },
};

function many(data, context) {
  const button = (verb, sort) => h("button", { class: `small ${sort}`, type: "button", "data-key": `${verb}-all`, onclick: () => confirmAll(verb, data.total, context) }, `${VERBS[verb].words} ${number(data.total)}`);
  return h("div", { class: "row end" }, button("retry", ""), button("discard", "danger"));
}

function which(parameters) {
  const rows = Object.entries(filter(parameters)).filter(([, value]) => value);
  return rows.length ? facts(rows.map(([name, value]) => [name[0].toUpperCase() + name.slice(1), given(value)])) : h("p", null, "No filter is set: these are all open letters.");
}

function confirmAll(verb, total, context) {
  const { words, sort, warning } = VERBS[verb];
  dialog(`${words.split(" ")[0]} ${count(total, "open letter")}?`, [which(context.parameters), h("p", null, warning)],
    [[`${words} ${number(total)}`, sort, () => doAll(verb, total, context)]]);
}

/** Part by part, since there may be very many; stopped or broken off, the rest is still open. */
async function doAll(verb, total, context) {
  const { does, did, name } = VERBS[verb];
  const reasons = new Map();
  let done = 0, refused = 0, left = total, cursor = null;
  const step = async () => {
    const answer = await post(`v1/admin/dead/${verb}`, { ...filter(context.parameters), cursor, limit: PART });
    done += answer[name];
    refused += answer.refused ?? 0;
    for (const one of answer.reasons ?? []) reasons.set(one.reason, (reasons.get(one.reason) ?? 0) + one.number);
    ({ left, cursor } = answer);
    return { done: done + refused, of: done + refused + left, over: cursor === null };
  };
  const end = await working(`${does} ${count(total, "dead letter")}`, (past, of) => (of ? `${number(past)} of ${number(of)}` : "Beginning …"), step);
  context.kept.told = [
    `${count(done, "letter")} ${did}.`,
    ...[...reasons].map(([reason, times]) => `${count(times, "letter")} not: ${reason}.`),
    ...(end === "stopped" ? [`Stopped: ${count(left, "letter")} of this filter left as they were.`] : []),
    ...(end instanceof Error ? [`Broken off: ${end.message} What is not done is still open.`] : []),
  ];
  context.kept.isWhole = end === "over" && !refused;
  context.reload();
}

function told(context) {
  const close = () => { context.kept.told = null; context.reload(); };
  return h("div", { class: "card-less told", role: "status" }, notice(context.kept.told, context.kept.isWhole ? "good" : ""), h("button", { class: "small", type: "button", "data-key": "told", onclick: close }, "Close"));
}

// One letter.

function list(rows, context) {
  if (!rows.length) return Object.values(filter(context.parameters)).some(Boolean) ? empty("No dead letters of this filter.") : empty("No dead letters.", "Everything that came in was applied.");
  return table([
    { title: "Died", class: "tight", cell: (one) => h("span", { title: `${moment(one.deadAt)} UTC` }, ago(one.deadAt)) },
    { title: "Code", class: "tight", cell: (one) => tag(given(one.code, 40), "warn") },
    { title: "Reason", class: "wide", cell: (one) => given(one.message, 200) },
    { title: "Action", class: "wide", cell: (one) => [given(one.kind, 60), h("div", { class: "muted" }, given(one.subject, 80))] },
    ...(context.parameters.status === ALL ? [{ title: "Status", class: "tight", cell: (one) => tag(one.status, SORTS[one.status]) }] : []),
    { title: "", class: "tight", cell: (one) => buttons(one, context) },
  ], rows, { label: "Dead letters", stacked: true });
}

function buttons(one, context) {
  const button = (words, verb, sort, done) => h("button", { class: `small ${sort}`, type: "button", "data-key": `${verb}-${one.id}`, "aria-label": `${words} ${one.kind}`, onclick: done }, words);
  return h("div", { class: "row" },
    button("Look", "look", "", () => details(one, context)),
    one.status === "open" && [button("Retry", "retry", "", () => act(one, "retry", context)), button("Discard", "discard", "danger", () => confirm(one, context))]);
}

async function act(one, verb, context) {
  try {
    const answer = await post(`v1/admin/dead/${one.id}/${verb}`);
    say(answer.reason ? `Not done: ${answer.reason}.` : verb === "retry" ? "Sent through the pipe again." : "Put away.");
  } catch (problem) {
    say(problem.message);
  }
  context.reload();
}

function confirm(one, context) {
  dialog("Discard this letter?", [h("p", null, "It is not applied, and not offered for a retry any more. The row stays until somebody deletes it."), facts([["Kind", given(one.kind)], ["Subject", given(one.subject)], ["Reason", given(one.message, 400)]])],
    [["Discard", "danger", () => act(one, "discard", context)]]);
}

async function details(listed, context) {
  try {
    const one = await ask(`v1/admin/dead/${listed.id}`);
    dialog(one.kind || "A letter that cannot be decoded", [
      facts([["Code", given(one.code)], ["Reason", given(one.message, 1000)], ["Subject", given(one.subject)], ["Action", h("span", { class: "mono" }, given(one.actionId))], ["Died", `${moment(one.deadAt)} UTC`], ["Position", `${one.position} of partition ${one.partition}`]]),
      h("pre", { tabindex: "0" }, one.action ? JSON.stringify(one.action, null, 2) : one.bytes),
    ], one.status === "open" ? [["Retry", "main", () => act(one, "retry", context)]] : []);
  } catch (problem) {
    say(problem.message);
  }
}
