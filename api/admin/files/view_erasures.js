// Erasing a person: ordered here, carried out by a worker, told by a receipt.

import { ask, file, post } from "./api.js";
import { download, fill, given, h } from "./dom.js";
import { ago, count, moment, number, seconds } from "./format.js";
import { card, dialog, empty, facts, further, grid, say, table, tag } from "./parts.js";

const SORTS = { waiting: "warn", running: "key", done: "good" };

export const erasures = {
  title: "Erasures",
  about: "People whose data was erased on request. Receipts name nobody: a person is shown as a digest that only this installation can make.",
  every: 3,
  load: ({ parameters, signal }) => ask("v1/admin/erasures", { limit: 50, cursor: parameters.cursor }, signal),
  tools: (data, context) => [h("button", { type: "button", onclick: exportPerson, "data-key": "export" }, "Export a person …"), h("button", { class: "danger", type: "button", onclick: () => order(context), "data-key": "erase" }, "Erase a person …")],
  show: (data, context) => grid(card("Receipts", list(data.erasures), { flush: true, about: data.erasures.length ? "newest first" : null }), further(data, context)),
};

const removed = (one) => Object.values(one.removed).reduce((sum, rows) => sum + rows, 0);
const took = (one) => (one.doneAt ? (new Date(one.doneAt) - new Date(one.requestedAt)) / 1000 : null);

function list(rows) {
  if (!rows.length) return empty("Nobody was erased yet.", "When a person asks for it, erase them by their user id: everything that is held of them goes, and what comes of them later is dropped.");
  return table([
    { title: "Requested", class: "tight", cell: (one) => h("span", { title: `${moment(one.requestedAt)} UTC` }, ago(one.requestedAt)) },
    { title: "Person (digest)", class: "wide", cell: (one) => h("span", { class: "mono" }, given(one.person, 16)) },
    { title: "Status", class: "wide", cell: (one) => [tag(one.status, SORTS[one.status]), one.stage && h("div", { class: "muted" }, given(one.stage, 80)), one.failure && h("div", { class: "muted" }, `tried ${count(one.tries, "time")}, last ended by `, given(one.failure, 160))] },
    { title: "Rows removed", number: true, cell: (one) => number(removed(one)) },
    { title: "Took", number: true, cell: (one) => seconds(took(one)) },
    { title: "", class: "tight", cell: (one) => h("div", { class: "row" }, h("button", { class: "small", type: "button", "data-key": `look-${one.id}`, onclick: () => details(one) }, "Look"), one.status === "done" && h("button", { class: "small", type: "button", "data-key": `save-${one.id}`, onclick: () => save(one) }, "Download")) },
  ], rows, { label: "Receipts of erasures", stacked: true });
}

const save = (one) => download(`erasure-${one.id}.json`, JSON.stringify(one, null, 2));

function details(one) {
  const rows = Object.entries(one.removed).sort((a, b) => b[1] - a[1]);
  dialog("Receipt", [
    facts([["Id", h("span", { class: "mono" }, given(one.id))], ["Person (digest)", h("span", { class: "mono" }, given(one.person))], ["Status", tag(one.status, SORTS[one.status])], ["Requested", `${moment(one.requestedAt)} UTC`], ["Done", one.doneAt ? `${moment(one.doneAt)} UTC` : "not yet"]]),
    table([{ title: "Table", class: "wide mono", cell: ([name]) => given(name) }, { title: "Rows removed", number: true, cell: ([, times]) => number(times) }], rows, { label: "Rows removed", none: one.status === "done" ? "Nothing was held of them." : "Nothing yet." }),
  ], one.status === "done" ? [["Download", "", () => save(one)]] : []);
}

/** What is held of somebody, as a file; the tab keeps it until it is saved. */
function exportPerson() {
  const said = h("p", { class: "muted", role: "status" });
  const input = h("input", { id: "export-user", type: "text", autocomplete: "off", spellcheck: "false", maxlength: "128", required: true });
  const button = h("button", { class: "main", type: "submit", form: "export-form" }, "Export");
  const leaving = new AbortController();
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const { blob, rows } = await file("v1/admin/export", { userId: input.value }, leaving.signal, (size) => fill(said, `${number(Math.ceil(size / 1024))} KB …`));
      box.close();
      download("export.ndjson", blob);
      say(rows ? `Exported ${count(rows, "row")}.` : "Nothing is held of this user: the file has its end alone.");
    } catch (problem) {
      if (leaving.signal.aborted) return;
      fill(said, problem.message);
      button.disabled = false;
    }
  };
  const box = dialog("Export a person", h("form", { id: "export-form", onsubmit: submit },
    h("p", null, "All that is held of this user, a line of JSON for each row of each table. What waits in the log is not among it."),
    h("div", { class: "field" }, h("label", { for: "export-user" }, "User id"), input),
    said), [button], "Cancel");
  box.addEventListener("close", () => leaving.abort());
  input.focus();
}

/** Asked twice, by typing: nothing brings a person back. */
function order(context) {
  const said = h("p", { class: "muted", role: "status" });
  const field = (id, words) => h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", maxlength: "128", "aria-describedby": "erase-words", oninput: check, "aria-label": words });
  const first = field("erase-user", "User id");
  const second = field("erase-again", "The same id once more");
  const button = h("button", { class: "danger", type: "submit", form: "erase-form", disabled: true }, "Erase for ever");
  function check() {
    const isSame = first.value !== "" && first.value === second.value;
    button.disabled = !isSame;
    fill(said, second.value && !isSame ? "The two ids differ." : "");
  }
  const submit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    try {
      await post("v1/admin/erasures", { userId: first.value });
      box.close();
      say("Ordered. A worker erases them within seconds; the receipt is in the list.");
      context.reload();
    } catch (problem) {
      fill(said, problem.message);
      button.disabled = false;
    }
  };
  const box = dialog("Erase a person", h("form", { id: "erase-form", onsubmit: submit },
    h("p", { id: "erase-words" }, "All that is held of this user goes: sessions, progress, certificates, usage, effects. Whatever comes of them later is dropped, for ever. This cannot be taken back."),
    h("div", { class: "field" }, h("label", { for: "erase-user" }, "User id"), first),
    h("div", { class: "field" }, h("label", { for: "erase-again" }, "The same id once more"), second),
    said), [button], "Cancel");
  first.focus();
}
