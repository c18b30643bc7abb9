// Actions that could not be applied: look, retry, discard.

import { ask, post } from "./api.js";
import { given, h } from "./dom.js";
import { ago, count, moment, number } from "./format.js";
import { card, choice, dialog, empty, facts, figures, grid, say, table, tag } from "./parts.js";

const SORTS = { open: "warn", retried: "good", discarded: "" };

export const dead = {
  title: "Dead letters",
  about: "Actions that were accepted and could not be applied. A retry sends them through the pipe again, under their own ids.",
  every: 10,
  load: ({ parameters, signal }) => ask("v1/admin/dead", { status: parameters.status, code: parameters.code, limit: 100 }, signal),
  tools: (data, { parameters, go }) => [
    choice("Code", ["all", ...new Set([...data.codes.map((one) => one.code), ...(parameters.code ? [parameters.code] : [])])], parameters.code ?? "all", (code) => go({ code: code === "all" ? null : code })),
    choice("Status", ["open", "all"], parameters.status === "all" ? "all" : "open", (status) => go({ status: status === "all" ? status : null })),
  ],
  show: (data, context) => grid(
    data.codes.length > 0 && figures(...data.codes.slice(0, 6).map((one) => [given(one.code, 40), number(one.number), `newest ${ago(one.newest)}`])),
    card("Letters", list(data.letters, context), { flush: true, about: data.letters.length ? `${count(data.letters.length, "letter")}, newest first` : null }),
  ),
};

function list(rows, context) {
  if (!rows.length) return empty("No dead letters.", "Everything that came in was applied.");
  return table([
    { title: "Died", class: "tight", cell: (one) => h("span", { title: `${moment(one.deadAt)} UTC` }, ago(one.deadAt)) },
    { title: "Code", class: "tight", cell: (one) => tag(given(one.code, 40), "warn") },
    { title: "Reason", class: "wide", cell: (one) => given(one.message, 200) },
    { title: "Action", class: "wide", cell: (one) => [given(one.kind, 60), h("div", { class: "muted" }, given(one.subject, 80))] },
    ...(context.parameters.status === "all" ? [{ title: "Status", class: "tight", cell: (one) => tag(one.status, SORTS[one.status]) }] : []),
    { title: "", class: "tight", cell: (one) => buttons(one, context) },
  ], rows, { label: "Dead letters", stacked: true });
}

function buttons(one, context) {
  const button = (words, verb, sort, done) => h("button", { class: `small ${sort}`, type: "button", "data-key": `${verb}-${one.id}`, onclick: done }, words);
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
