// Numbers, shares, times and sizes for people. Times are UTC, as the days of the answers are.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC" });
const NONE = "–";

const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

export const number = (value) => (isNone(value) ? NONE : WHOLE.format(value));
export const fine = (value) => (isNone(value) ? NONE : FINE.format(value));
export const short = (value) => (isNone(value) ? NONE : SHORT.format(value));

/** A share of 0 to 1. */
export function percent(share) {
  if (isNone(share)) return NONE;
  const value = share * 100;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}

/** A rate of so many: none of nothing. */
export const rate = (share, of) => (of ? percent(share) : NONE);

/** Milliseconds, in the two largest units that say something. */
export function duration(ms) {
  if (isNone(ms)) return NONE;
  if (ms === 0) return "0 s";
  if (ms > 0 && ms < 1) return `${FINE.format(ms * 1000)} µs`;
  if (ms < 1000) return `${FINE.format(ms)} ms`;
  if (ms < 60_000) return `${FINE.format(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export const seconds = (value) => (isNone(value) ? NONE : duration(value * 1000));

export function bytes(value) {
  if (isNone(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${FINE.format(value / 1024 ** step)} ${units[step]}`;
}

export const day = (time) => DAY.format(new Date(time));
export const date = (time) => DATE.format(new Date(time));
export const clock = (time) => CLOCK.format(new Date(time));
/** Day and time, with the year when it is another one than now. */
export function moment(time, now = new Date()) {
  if (!time) return NONE;
  const at = new Date(time);
  return `${(at.getUTCFullYear() === now.getUTCFullYear() ? DAY : DATE).format(at)}, ${CLOCK.format(at)}`;
}

/** How long ago. */
export function ago(time, now = Date.now()) {
  if (!time) return NONE;
  const past = now - new Date(time).getTime();
  return past < 1000 ? "now" : `${roughly(past)} ago`;
}

/** In how long, by the clock of the answer. */
export function until(time, now) {
  const left = new Date(time).getTime() - new Date(now).getTime();
  return left < 1000 ? "now" : `in ${roughly(left)}`;
}

/** Milliseconds in the largest unit that says something. */
function roughly(ms) {
  const [size, unit] = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]].find(([size]) => ms >= size);
  return `${Math.floor(ms / size)} ${unit}`;
}

/** `one letter`, `2 letters`. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** A range of answers: whole hours or days. */
export function range(from, to, grain) {
  if (grain === "hour") return `${moment(from).slice(0, -3)} – ${moment(to).slice(0, -3)} UTC`;
  return `${day(from)} – ${date(new Date(new Date(to).getTime() - 1))}`;
}
