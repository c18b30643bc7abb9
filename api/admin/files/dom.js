// Every element of the dashboard is made here. Text becomes text nodes, never HTML; a test looks for ways around it.

const SVG = "http://www.w3.org/2000/svg";
const TAKEN = new Set(["style", "innerHTML", "outerHTML", "srcdoc", "src", "action", "formaction"]);

/** An element: `onclick: f` listens, `vars: {share: 0.5}` sets CSS variables, null and false leave an attribute out. */
export function h(name, properties, ...children) {
  return made(document.createElement(name), properties, children);
}

/** The same in SVG. */
export function svg(name, properties, ...children) {
  return made(document.createElementNS(SVG, name), properties, children);
}

function made(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "vars") setVariables(element, value);
    else if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

function setVariables(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(`--${name}`, String(value));
}

function setAttribute(element, name, value) {
  if (TAKEN.has(name) || name.startsWith("on")) throw new Error(`${name} is not set here`);
  if (name === "href" && !value.startsWith("#/")) throw new Error("links lead to views only");
  element.setAttribute(name, value);
}

function flat(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Text of outsiders: apart from the direction of what is around it, and not endless. */
export function given(value, most = 160) {
  if (value === null || value === undefined || value === "") return h("span", { class: "none" }, "–");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const isLong = text.length > most;
  return h("bdi", { class: "given", title: isLong ? text.slice(0, 2000) : null }, isLong ? `${text.slice(0, most)}…` : text);
}

/** Link to a view, with parameters. */
export function to(view, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Give the browser a file of JSON to keep. */
export function download(name, text) {
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
