// The frame: sign-in, navigation, and which view is shown. The hash says which: `#/funnel?range=7d&funnel=default`.

import { NAMED, ask, days, isSignedIn, onRefused, signIn, signOut } from "./api.js";
import { fill, h, svg, to } from "./dom.js";
import { clock, count, moment, range, short } from "./format.js";
import { NAVIGATION, VIEWS } from "./views.js";

const app = document.getElementById("app");
let shown = null; // {name, view, parameters, data, abort, timer, kept}

function brand() {
  return h("div", { class: "brand" },
    svg("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" }, svg("rect", { width: 32, height: 32, rx: 7 }), svg("path", { d: "M10 25V7h9l4 4.5-4 4.5h-9" })),
    "Milepost");
}

// Sign-in.

function showSignIn(words = "") {
  stop();
  document.title = "Sign in · Milepost";
  // No name: were this form ever sent by a browser of its own accord, the key would not be in the address.
  const account = h("input", { class: "hidden", type: "text", autocomplete: "username", value: "Milepost admin key", readonly: true, tabindex: "-1", "aria-hidden": "true" });
  const input = h("input", { id: "key", type: "password", autocomplete: "current-password", spellcheck: "false", required: true, "aria-describedby": "wrong" });
  const button = h("button", { class: "main", type: "submit" }, "Sign in");
  const wrong = h("div", { id: "wrong", role: "alert" }, words && h("div", { class: "notice bad" }, words));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await signIn(input.value.trim());
      start();
    } catch (problem) {
      fill(wrong, h("div", { class: "notice bad" }, problem.message));
      button.disabled = false;
      input.select();
      input.focus();
    }
  };
  fill(app, h("main", { class: "signin" }, h("form", { onsubmit: submit },
    brand(), h("h1", null, "Sign in"),
    h("div", { class: "field" }, account, h("label", { for: "key" }, "Admin key"), input),
    wrong, button,
    h("p", { class: "note" }, "A service key with the scope admin, or a user token that has it. This tab forgets it when it is closed."))));
  input.focus();
}

// The frame around the views.

function start() {
  const side = h("aside", { class: "side" },
    h("div", { class: "top" }, brand(), h("a", { class: "health", id: "health", href: to("pipe") }), h("button", { class: "menu small", type: "button", "aria-expanded": "false", "aria-controls": "nav", onclick: toggle }, "Menu")),
    h("nav", { id: "nav", class: "nav", "aria-label": "Views" }),
    h("button", { class: "plain leave", type: "button", onclick: leave }, "Sign out"));
  const focus = () => document.querySelector("main h1")?.focus();
  fill(app, h("button", { class: "skip", type: "button", onclick: focus }, "Skip to the content"),
    h("div", { class: "shell" }, side, h("main", { class: "page" })));
  route();
  watchPipe();
}

function toggle(event) {
  const isOpen = event.currentTarget.closest(".side").classList.toggle("open");
  event.currentTarget.setAttribute("aria-expanded", String(isOpen));
}

function leave() {
  signOut();
  showSignIn();
}

function navigation(name, chosen, marks) {
  const nav = document.getElementById("nav");
  const had = nav.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  fill(nav, NAVIGATION.map(([title, names]) => h("section", null, h("h2", null, title),
    h("ul", null, names.map((one) => h("li", null, h("a", { href: to(one, VIEWS[one].ranges && chosen ? { range: chosen } : {}), "aria-current": one === name ? "page" : null },
      VIEWS[one].title, marks[one] ?? null)))))));
  if (had) [...nav.querySelectorAll("a")].find((one) => one.getAttribute("href") === had)?.focus();
}

// Marks beside views that want somebody.

let marks = {};

async function watchPipe() {
  clearTimeout(watchPipe.timer);
  if (!isSignedIn()) return;
  watchPipe.timer = setTimeout(watchPipe, 30_000);
  if (document.hidden) return;
  const pipe = await ask("api/admin/pipe").catch(() => null);
  if (!shown) return;
  health(pipe);
  if (!pipe) return;
  marks = {};
  const letters = pipe.deadLetters.reduce((sum, one) => sum + one.number, 0);
  const dead = pipe.deliveries.filter((one) => one.status === "dead").reduce((sum, one) => sum + one.number, 0);
  if (letters) marks.dead = h("span", { class: "mark" }, short(letters));
  if (dead) marks.effects = h("span", { class: "mark" }, short(dead));
  if (pipe.problems.length) marks.pipe = h("span", { class: "mark bad" }, String(pipe.problems.length));
  navigation(shown.name, shown.parameters.range, marks);
}

let isKnown = true;

/** Of the whole pipe in three words, on every page; what was true before the API fell silent is not said any more. */
function health(pipe) {
  isKnown = pipe !== null;
  const place = document.getElementById("health");
  if (!place) return;
  const [sort, words] = !pipe ? ["warn", "Pipe: not known"]
    : pipe.problems.length ? ["bad", `Pipe: ${count(pipe.problems.length, "problem")}`]
      : pipe.warnings.length ? ["warn", `Pipe: ${count(pipe.warnings.length, "warning")}`] : ["good", "Pipe: all is well"];
  place.className = `health ${sort}`;
  place.title = [...(pipe?.problems ?? []), ...(pipe?.warnings ?? [])].join("\n");
  fill(place, words);
}

// Views.

function stop() {
  shown?.abort.abort();
  clearTimeout(shown?.timer);
  shown = null;
}

function route() {
  if (!isSignedIn()) return showSignIn();
  const [path, query = ""] = location.hash.replace(/^#\//, "").split("?");
  const name = Object.hasOwn(VIEWS, path) ? path : "overview";
  const before = shown?.name;
  const kept = shown?.parameters.range;
  stop();
  const view = VIEWS[name];
  const parameters = Object.fromEntries(new URLSearchParams(query));
  parameters.range = NAMED.includes(parameters.range) || days(parameters.range) ? parameters.range : (kept ?? "30d");
  shown = { name, view, parameters, abort: new AbortController(), data: null, kept: {} };
  document.title = `${view.title} · Milepost`;
  document.querySelector(".side").classList.remove("open");
  document.querySelector(".menu").setAttribute("aria-expanded", "false");
  navigation(name, parameters.range, marks);
  const heading = h("h1", { tabindex: "-1" }, view.title);
  fill(document.querySelector("main"),
    h("div", { class: "head" },
      h("div", { class: "words" }, heading, h("p", { class: "about" }, view.about), h("p", { class: "through", id: "through" }, "\u00a0")),
      h("div", { class: "tools" }, view.ranges && ranges(name, parameters), h("div", { id: "own", class: "tools" }))),
    h("div", { id: "view", class: "view", "aria-busy": "true" }));
  if (before !== undefined && before !== name) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  load(shown);
}

function ranges(name, parameters) {
  const link = (one) => to(name, { ...parameters, range: one, cursor: null });
  return h("nav", { class: "ranges", "aria-label": "Time range" },
    NAMED.map((one) => h("a", { href: link(one), "aria-current": one === parameters.range ? "true" : null }, one)), ownDays(days(parameters.range), link));
}

/** For other days than the last ones. */
function ownDays(chosen, link) {
  const day = (title, value) => h("input", { type: "date", required: true, value, "aria-label": `${title} day, UTC` });
  const [first, last] = [day("First", chosen?.[0]), day("Last", chosen?.[1])];
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(`${first.value}..${last.value}`);
  };
  return h("details", { class: "days" }, h("summary", { "aria-current": chosen ? "true" : null }, "Days"),
    h("form", { onsubmit: submit }, h("p", { class: "note" }, "First and last day, UTC"), first, last, h("button", { class: "main", type: "submit" }, "Show")));
}

async function load(mine) {
  const { view, parameters, abort } = mine;
  clearTimeout(mine.timer);
  const context = { parameters, kept: mine.kept, signal: abort.signal, reload: () => { if (mine === shown) load(mine); watchPipe(); }, go: (more) => void (location.hash = to(mine.name, { ...parameters, ...more })), show: (data) => mine === shown && draw(mine, context, data) };
  try {
    const data = await view.load(context);
    if (!isKnown) watchPipe();
    if (mine === shown) draw(mine, context, data);
  } catch (problem) {
    if (abort.signal.aborted || mine !== shown || !isSignedIn()) return;
    if (problem.code === undefined) console.error(problem);
    if (problem.code === "offline") health(null);
    draw(mine, context, null, problem);
  }
  if (view.every && mine === shown && !mine.kept.isStreaming) mine.timer = setTimeout(() => again(mine), view.every * 1000);
}

function again(mine) {
  if (mine !== shown) return;
  if (mine.kept.isStreaming) return;
  if (document.hidden) mine.timer = setTimeout(() => again(mine), 1000);
  else load(mine);
}

/** Draw an answer; what has the focus keeps it, what is open stays so, and nothing moves under a selection of text. */
function draw(mine, context, data, problem = null) {
  const place = document.getElementById("view");
  const selected = getSelection();
  if (mine.data && !problem && !selected.isCollapsed && place.contains(selected.anchorNode)) return;
  const own = document.getElementById("own");
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const sideways = [...place.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  const open = [...place.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key);
  place.removeAttribute("aria-busy");
  if (problem && mine.data) {
    fill(document.getElementById("through"), h("span", { class: "stale" }, `Not refreshed: ${problem.message}`), ` ${current(mine.data)}`);
    return;
  }
  if (problem) {
    fill(place, failed(problem, mine, () => { place.setAttribute("aria-busy", "true"); load(mine); }));
    return;
  }
  mine.data = data;
  mine.context = context;
  fill(document.getElementById("through"), current(data));
  if (!own.contains(document.activeElement)) fill(own, mine.view.tools?.(data, context));
  fill(place, mine.view.show(data, context));
  for (const one of place.querySelectorAll("details[data-key]")) one.open = open.includes(one.dataset.key);
  place.querySelectorAll(".scroll").forEach((one, index) => (one.scrollLeft = sideways[index] ?? 0));
  if (key) document.querySelector(`main [data-key="${CSS.escape(key)}"]`)?.focus();
}

function current(data) {
  const span = data?.from && data?.to ? `${range(data.from, data.to, data.grain)}` : null;
  const through = data?.appliedThrough ? `current to ${moment(data.appliedThrough)} UTC` : data?.at ? `as of ${clock(data.at)} UTC` : null;
  return [span, through].filter(Boolean).join(" · ");
}

function failed(problem, { name, view, parameters }, retry) {
  const words = problem.code === undefined ? "This view could not show the answer." : problem.message;
  return h("section", { class: "card failed", role: "alert" }, h("strong", null, problem.status === 404 ? "Not found" : "That did not work"),
    h("p", { class: "given" }, words),
    h("div", { class: "row" }, h("button", { type: "button", onclick: retry, "data-key": "retry" }, "Try again"),
      problem.status === 404 && h("a", { href: to(name, { range: parameters.range }) }, `Back to ${view.title}`)));
}

onRefused(showSignIn);
addEventListener("hashchange", () => (isSignedIn() ? route() : showSignIn()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.data && draw(shown, shown.context, shown.data));
if (isSignedIn()) start();
else showSignIn();
