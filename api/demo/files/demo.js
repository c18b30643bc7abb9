// The page of one user: signed in by a token, which comes in the fragment of a link or is pasted.

import "./components.js";
import { h, words } from "./element.js";
import { subjectOf } from "./live.js";

const HOME = new URL("..", import.meta.url);
const KEPT = "milepost.demo.token";
const LINES = 20;
const TEN_MEGABYTES = 10 * 2 ** 20;
const FEATURES = {
  hasCreatedClip: "created_clip",
  hasAddedSubtitles: "added_subtitles",
  hasReframedVideo: "reframed_video",
  hasShared: "shared_content",
};
const find = (id) => document.getElementById(id);
const elements = () => document.querySelectorAll("milepost-checklist, milepost-usage");
let token = null;

/** A fragment is sent to no server; it leaves the address, and with it the history, before anything else happens. */
function fromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

function signIn(given) {
  if (!subjectOf(given)) {
    find("wrong").textContent = "This is no user token.";
    return;
  }
  token = given;
  sessionStorage.setItem(KEPT, token);
  find("token").value = find("wrong").textContent = "";
  show();
}

function signOut(why = "") {
  token = null;
  sessionStorage.removeItem(KEPT);
  find("wrong").textContent = why;
  show();
}

function show() {
  find("signin").hidden = token !== null;
  find("shown").hidden = find("leave").hidden = token === null;
  find("who").replaceChildren(...(token === null ? [] : ["Signed in as ", h("bdi", null, subjectOf(token))]));
  for (const id of ["steps", "features", "meters", "log"]) find(id).replaceChildren();
  const given = token;
  // The same function for all of them: then they share one stream.
  const provider = given === null ? null : () => given;
  for (const element of elements()) element.tokenProvider = provider;
  if (token === null) find("token").focus();
}

/** What an answer says that the page does not show anyway. */
function outcome({ isFirstTime, action, used, limit, accepted }) {
  const amount = (value) => document.querySelector("milepost-usage").amount(action, value);
  if (used !== undefined) return limit === null ? `${amount(used)} used, unlimited` : `${amount(used)} of ${amount(limit)} used`;
  if (isFirstTime !== undefined) return isFirstTime ? "for the first time" : "not for the first time";
  return accepted ? "accepted, and applied later" : "done";
}

async function post(path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  let status = "no answer", said = "";
  try {
    const answer = await fetch(new URL(path, HOME), { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" });
    const found = await answer.json();
    status = answer.status;
    said = found.error ? `${found.error.code}: ${found.error.message}` : outcome(found);
  } catch (error) {
    said = error.message;
  }
  const line = h("li", { class: status === 200 || status === 202 ? null : "bad" }, `POST /${path} `, h("strong", null, String(status)), ` ${said.slice(0, 300)}`);
  find("log").prepend(line);
  while (find("log").children.length > LINES) find("log").lastChild.remove();
}

/** One button for each name, made once, so that the focus stays where it is. */
function buttons(id, names, press, isDone = () => false, label = words) {
  const place = find(id);
  for (const name of names) {
    let button = [...place.children].find((one) => one.dataset.name === name);
    if (!button) {
      button = h("button", { type: "button", "data-name": name, click: () => void press(name) }, label(name));
      place.append(button);
    }
    button.disabled = isDone(name);
  }
}

document.addEventListener("milepost-change", ({ target, detail }) => {
  if (target.localName === "milepost-usage") {
    const quantity = (action) => (detail.meters[action].unit === "bytes" ? TEN_MEGABYTES : 1);
    const use = (action) => post("v1/usage/consume", { action, quantity: quantity(action) });
    const label = (action) => (detail.meters[action].unit === "bytes" ? `${words(action).replace(/ bytes$/, "")}, 10 MB` : words(action));
    return buttons("meters", Object.keys(detail.meters), use, undefined, label);
  }
  if (target.getAttribute("list") === "features") {
    const names = Object.keys(FEATURES).filter((name) => name in detail);
    return buttons("features", names, (name) => post("v1/onboarding/progress/update", { action: FEATURES[name], projectId: "demo" }));
  }
  const done = new Set(detail.status.steps.filter(({ status }) => status === "completed").map(({ step }) => step));
  const complete = (step) => post(`v1/onboarding/steps/${encodeURIComponent(step)}/complete`, {});
  buttons("steps", detail.status.steps.map(({ step }) => step), complete, (step) => done.has(step));
});
document.addEventListener("milepost-unauthorized", () => {
  if (token !== null) signOut("The token is not valid any more, or never was: paste another one.");
});
find("signin").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(find("token").value.trim());
});
find("leave").addEventListener("click", () => signOut());
window.addEventListener("hashchange", () => {
  const given = fromFragment();
  if (given) signIn(given);
});

show();
const found = fromFragment() ?? sessionStorage.getItem(KEPT);
if (found) signIn(found);
