// Milepost in a page: what visitors do, sent in batches with a browser key. docs/browser.md says what is recorded,
// and what never is.  <script src="https://milepost.example/milepost.js" data-key="mp_…" async></script>
(() => {
  "use strict";
  const script = document.currentScript;
  const early = Array.isArray(window.milepost) ? window.milepost : [];
  const { key = "", category: page = "page", hover = "1000", url = script.src } = script.dataset;
  const IDLE = 30 * 60_000, EVERY = 5_000, BATCH = 50, BYTES = 48_000, MOST = 500, DEEPEST = [25, 50, 75, 100];
  const STORED = "milepost.unsent", SESSION = "milepost.session";

  // What is kept for the next page of the tab. A browser that allows no storage keeps it for this page.

  function kept(name) {
    try {
      return JSON.parse(sessionStorage.getItem(name));
    } catch {
      return null;
    }
  }
  function keep(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(name);
      else sessionStorage.setItem(name, JSON.stringify(value));
    } catch {
      // Full or forbidden: what is unsent stays in this page alone.
    }
  }

  const refused = navigator.globalPrivacyControl === true || [navigator.doNotTrack, window.doNotTrack].includes("1");
  if (refused) for (const name of [STORED, SESSION]) keep(name, null);
  if (refused || !key) {
    if (!refused) console.warn("milepost.js: data-key is missing, nothing is recorded");
    const nothing = () => undefined;
    window.milepost = Object.freeze({
      track: nothing, saveConfig: nothing, identify: nothing, page: nothing, flush: nothing, push: nothing, sessionId: null,
    });
    return;
  }
  const address = new URL("v1/actions", new URL(url, location.href));
  address.searchParams.set("key", key);

  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (one) => one.toString(16).padStart(2, "0")).join("");
  const text = (value, most = 2048) => (value == null || value === "" ? undefined : String(value).slice(0, most));

  // The queue: actions as text, until an answer says that they are in.

  const queue = [];
  for (const one of [kept(STORED) ?? []].flat().slice(0, MOST)) queue.push({ text: String(one) });
  let session = kept(SESSION);
  let leaving = false, sending = false, stopped = false, failures = 0, notBefore = 0, timer = 0, here = page;

  function renew(now) {
    if (!session?.id || !(now - session.seen < IDLE)) {
      session = { id: random(), seen: now, user: session?.user, screen: false };
    }
    session.seen = now;
  }

  function record(kind, data) {
    if (stopped || queue.length >= MOST) return;
    const now = Date.now();
    renew(now);
    const action = { id: random(), kind, at: new Date(now).toISOString(), sessionId: session.id, userId: session.user, data };
    try {
      const written = JSON.stringify(action);
      if (size(written) > BYTES) throw new RangeError("too large");
      queue.push({ text: written });
    } catch (error) {
      console.warn(`milepost.js: ${kind} is not recorded: ${error.message}`);
      return;
    }
    if (leaving || document.visibilityState === "hidden") queueMicrotask(leave);
    else later(queue.length >= BATCH ? 0 : EVERY);
  }

  const encoder = new TextEncoder();
  const size = (written) => encoder.encode(written).length;

  function batchOf(actions) {
    const batch = [];
    let bytes = 20;
    for (const one of actions) {
      bytes += size(one.text) + 1;
      if (batch.length === BATCH || (batch.length && bytes > BYTES)) break;
      batch.push(one);
    }
    return batch;
  }
  const body = (batch) => `{"actions":[${batch.map((one) => one.text).join(",")}]}`;

  function later(milliseconds) {
    const due = Math.max(milliseconds, notBefore - Date.now());
    if (timer && due >= EVERY) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      void send();
    }, due);
  }

  async function send() {
    if (sending || stopped || !queue.length) return;
    sending = true;
    const batch = batchOf(queue);
    let status = 0, after = 0;
    try {
      // text/plain needs no preflight; keepalive lets it outlive the page.
      const answer = await fetch(address, {
        method: "POST", body: body(batch), headers: { "Content-Type": "text/plain" }, keepalive: true, credentials: "omit",
      });
      status = answer.status;
      after = Number(answer.headers.get("Retry-After")) || 0;
    } catch {
      // The same again later: with the same ids it counts once.
    }
    sending = false;
    settle(batch, status, after);
  }

  function settle(batch, status, after) {
    const final = status >= 200 && status < 500 && status !== 408 && status !== 429;
    if (!final) {
      failures += 1;
      notBefore = Date.now() + Math.max(after * 1000, Math.min(60_000, 1000 * 2 ** failures) * (0.5 + Math.random() / 2));
    } else {
      failures = notBefore = 0;
      for (const one of batch) queue.splice(queue.indexOf(one), 1);
      if (status >= 400) console.warn(`milepost.js: ${batch.length} actions were refused with ${status}`);
      stopped = status === 401 || status === 403;
      if (stopped) queue.length = 0;
    }
    if (leaving || !queue.length) keep(STORED, queue.length ? queue.map((one) => one.text) : null);
    if (queue.length) later(final ? 0 : EVERY);
  }

  // The page may end now. A beacon has no answer: what it took stays stored, and the next page sends it once more.

  function leave() {
    hovered(null);
    vitals();
    for (let rest = queue.filter((one) => !one.flown); rest.length; ) {
      const batch = batchOf(rest);
      if (!navigator.sendBeacon(address, body(batch))) break;
      for (const one of batch) one.flown = true;
      rest = rest.slice(batch.length);
    }
    keep(STORED, queue.length ? queue.map((one) => one.text) : null);
    keep(SESSION, session);
  }

  // What visitors do.

  const DOES = "a,button,summary,input,select,textarea,[role=button],[role=tab],[role=option],[role=menuitem],[role=switch]";
  const FORM = "input:not([type=button],[type=submit],[type=reset],[type=image]),select,textarea,option";
  const SECRET = /pass|secret|token|card|cvc|cvv|iban|\bssn\b|\bpin\b/i;
  const READ = new Set(["select-one", "select-multiple", "radio", "checkbox", "range", "color"]);

  const closest = (target, selector) => (target instanceof Element ? target.closest(selector) : null);
  const categoryOf = (element) => text(closest(element, "[data-milepost-category]")?.dataset.milepostCategory, 256);
  const nameOf = (element) => text(element.dataset.milepostElement || element.id || element.getAttribute("name") || element.localName);
  const isSecret = (element) =>
    /^(password|hidden|file)$/.test(element.type) || SECRET.test(`${element.name} ${element.id}`)
    || /(^|\s)(cc-|bday|sex|one-time-code)|password/.test(element.autocomplete ?? "") || !!closest(element, "[data-milepost-private]");

  function interact(eventType, element, more) {
    if (closest(element, "[data-milepost-off]")) return;
    here = (element && categoryOf(element)) || (element ? page : here);
    const data = { eventType, category: here, elementId: element ? nameOf(element) : undefined, ...more };
    const now = Date.now();
    renew(now);
    if (!session.screen) {
      const { innerWidth: width, innerHeight: height } = window;
      data.deviceInfo = { type: width < 600 ? "mobile" : width < 1024 ? "tablet" : "desktop", width, height };
      session.screen = true;
    }
    record("interaction.recorded", data);
  }

  const chosen = new Map();
  function clicked({ target }) {
    const element = closest(target, `[data-milepost-value],[data-milepost-element],${DOES}`);
    if (!element || element.matches(FORM) || closest(target, "label")?.control?.matches(FORM)) return;
    if (!element.hasAttribute("data-milepost-value")) return interact("click", element);
    const selectionValue = text(element.dataset.milepostValue), group = categoryOf(element);
    interact("selection", element, { selectionValue, previousValue: chosen.get(group) });
    chosen.set(group, selectionValue);
  }

  // The value before a change, and since when it has been looked at. Of radio buttons the first one stands for its group.
  const before = new WeakMap();
  const radios = (element, more = "") =>
    (element.form ?? document).querySelector(`input[type=radio][name="${CSS.escape(element.name)}"]${more}`);
  const groupOf = (element) => (element.type === "radio" && radios(element)) || element;
  function valueOf(element) {
    if (element.type === "checkbox") return String(element.checked);
    if (element.type === "radio") return text(radios(element, ":checked")?.value);
    if (element.type === "select-multiple") return text(Array.from(element.selectedOptions, (one) => one.value).join(","));
    return text(element.value);
  }
  const readable = (element) => (READ.has(element.type) && !isSecret(element) ? valueOf(element) : undefined);
  function entered({ target }) {
    if (closest(target, FORM)) before.set(groupOf(target), { since: performance.now(), value: readable(target) });
  }
  function changed({ target }) {
    if (!closest(target, FORM) || isSecret(target)) return;
    const { since, value } = before.get(groupOf(target)) ?? {};
    const timeSpent = since === undefined ? undefined : Math.round(performance.now() - since);
    interact("selection", target, { selectionValue: readable(target), previousValue: value, timeSpent });
    entered({ target });
  }

  let over = null, since = 0;
  function hovered(element) {
    if (element === over) return;
    const spent = Math.round(performance.now() - since), left = over;
    over = element;
    since = performance.now();
    if (left && spent >= Number(hover)) interact("hover", left, { timeSpent: spent });
  }

  let deepest = 0, looking = 0, opened = performance.now();
  function scrolled() {
    looking ||= setTimeout(() => {
      looking = 0;
      const depth = (100 * (window.scrollY + window.innerHeight + 1)) / document.documentElement.scrollHeight;
      const reached = DEEPEST.filter((one) => one <= depth).pop() ?? 0;
      if (reached <= deepest) return;
      deepest = reached;
      interact("scroll", null, { selectionValue: `${reached}`, timeSpent: Math.round(performance.now() - opened) });
    }, 250);
  }

  let shown = "";
  function viewed(properties) {
    shown = location.pathname;
    deepest = 0;
    opened = performance.now();
    const from = document.referrer ? new URL(document.referrer) : null;
    const referrer = from ? text(from.origin + from.pathname) : undefined;
    record("page.viewed", { path: text(shown), title: text(document.title), referrer, properties });
  }
  const moved = () => location.pathname !== shown && viewed();

  // How the page performs: in milliseconds, CLS without a unit. Once for each page.

  const metric = (metricName, value) =>
    Number.isFinite(value) && record("metric.recorded", {
      metricName, value: Math.round(value * 10_000) / 10_000, additionalData: { path: location.pathname },
    });
  let largest, shift = 0, run = { sum: 0, first: 0, last: 0 }, told = false;
  const slow = new Map();
  const observers = [];
  function observe(type, each, more) {
    if (!PerformanceObserver.supportedEntryTypes?.includes(type)) return;
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(each));
    observer.observe({ type, buffered: true, ...more });
    observers.push([observer, each]);
  }
  observe("largest-contentful-paint", (entry) => (largest = entry.startTime));
  observe("layout-shift", ({ hadRecentInput, startTime, value }) => {
    if (hadRecentInput) return;
    const goesOn = startTime - run.last < 1000 && startTime - run.first < 5000;
    run = { sum: (goesOn ? run.sum : 0) + value, first: goesOn ? run.first : startTime, last: startTime };
    shift = Math.max(shift, run.sum);
  });
  observe("event", ({ interactionId, duration }) => {
    if (interactionId) slow.set(interactionId, Math.max(duration, slow.get(interactionId) ?? 0));
  }, { durationThreshold: 16 });
  function vitals() {
    if (told) return;
    told = true;
    for (const [observer, each] of observers) {
      observer.takeRecords().forEach(each);
      observer.disconnect();
    }
    metric("LCP", largest);
    if (PerformanceObserver.supportedEntryTypes?.includes("layout-shift")) metric("CLS", shift);
    metric("INP", [...slow.values()].sort((one, other) => other - one)[Math.floor(slow.size / 50)]);
  }
  function loaded() {
    setTimeout(() => {
      const [timing] = performance.getEntriesByType("navigation");
      if (!timing) return;
      metric("TTFB", timing.responseStart);
      metric("FCP", performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
      metric("DOMContentLoaded", timing.domContentLoadedEventEnd);
      metric("load", timing.loadEventEnd);
    });
  }

  const on = (target, name, does) => target.addEventListener(name, does, { passive: true, capture: true });
  on(document, "click", clicked);
  on(document, "focusin", entered);
  on(document, "change", changed);
  on(document, "pointerover", ({ target, pointerType }) => pointerType === "touch" || hovered(closest(target, "[data-milepost-element]")));
  on(document.documentElement, "mouseleave", ({ target }) => target === document.documentElement && hovered(null));
  on(window, "scroll", scrolled);
  on(window, "popstate", moved);
  if (window.navigation) on(window.navigation, "currententrychange", moved);
  on(window, "pagehide", () => {
    leaving = true;
    leave();
  });
  on(window, "pageshow", ({ persisted }) => {
    leaving = false;
    if (persisted) viewed();
  });
  on(document, "visibilitychange", () => (document.visibilityState === "hidden" ? leave() : later(0)));
  if (document.readyState === "complete") loaded();
  else on(window, "load", loaded);

  const api = {
    /** Record an event of your own; `properties` is any JSON object. */
    track: (event, properties) => record("event.tracked", { event: String(event), properties }),
    /** Save what the visitor has put together. `trigger`: auto_save, page_exit or order_attempt. */
    saveConfig: (configuration, trigger = "auto_save", { totalPrice, completionPercentage } = {}) =>
      record("configuration.saved", { configuration, trigger, totalPrice, completionPercentage }),
    /** Say who the visitor is, from now on; null: nobody. */
    identify: (user, traits) => {
      renew(Date.now());
      session.user = text(user, 128);
      if (session.user) record("user.identified", { traits });
      keep(SESSION, session);
    },
    /** Record a page view of an application that changes its page without a new address. */
    page: (properties) => viewed(properties),
    /** Send what is recorded now. */
    flush: () => later(0),
    /** For calls made before this file has arrived: milepost.push(["track", "opened", {}]). */
    push: ([name, ...given]) => api[name](...given),
    get sessionId() {
      renew(Date.now());
      return session.id;
    },
  };
  window.milepost = Object.freeze(api);
  viewed();
  for (const call of early) api.push(call);
})();
