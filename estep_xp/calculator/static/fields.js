// The four fields: the link to what stands in them, and the way back.
import { find } from "./server.js";

export const NAMES = ["x", "means", "variances", "weights"];
const LONG_LINK = 8000; // characters that most programs pass on
const BURST = { count: 30, span: 10000 }; // browsers refuse more changes of the address
const PAUSE = 1200; // ms after which the same field or slider makes a new step for undo
const MAX_PAST = 200;

export const texts = () => Object.fromEntries(NAMES.map((name) => [name, find(name).value]));
const same = (a, b) => NAMES.every((name) => a[name] === b[name]);

function write(fields) {
  for (const name of NAMES) find(name).value = fields[name];
}

// The link to what stands in the fields; commas stay readable.
export function link() {
  const encode = (text) => encodeURIComponent(text).replaceAll("%2C", ",").replaceAll("%20", "+");
  return `?${Object.entries(texts()).map(([name, text]) => `${name}=${encode(text)}`).join("&")}`;
}

let changes = [];
let waiting = 0;

export function keepAddress() {
  clearTimeout(waiting);
  const now = Date.now();
  changes = changes.filter((time) => now - time < BURST.span);
  if (changes.length >= BURST.count) {
    waiting = setTimeout(keepAddress, 300);
    return;
  }
  changes.push(now);
  const address = link();
  history.replaceState(null, "", address + location.hash);
  const long = address.length > LONG_LINK;
  find("link-hint").hidden = !long;
  if (long) find("link-hint").textContent = `The link to this page has ${address.length} characters; mail and chat programs may cut it.`;
}

// Other inputs altogether: the way back is the browser's, too.
export function fill(fields) {
  clearTimeout(waiting);
  history.replaceState(null, "", link());
  write(fields);
  history.pushState(null, "", link());
}

// --- undo and reset ----------------------------------------------------------------------------

const past = [];
let current = texts();
let origin = texts(); // of the page, the last example, upload or start
let last = { source: "", time: 0 };

function showState() {
  find("undo").disabled = past.length === 0;
  find("reset").disabled = same(current, origin);
}

// What stood there before a change is kept; a drag, or words typed without a pause, are one change.
export function note(source) {
  const now = Date.now();
  const fresh = texts();
  if (same(fresh, current)) return;
  if (!source || source !== last.source || now - last.time > PAUSE) past.push(current);
  if (past.length > MAX_PAST) past.shift();
  current = fresh;
  last = { source, time: now };
  showState();
}

export function setOrigin() {
  origin = texts();
  showState();
}

export function undo() {
  const before = past.pop();
  if (!before) return;
  fill(before);
  current = before;
  last = { source: "", time: 0 };
  showState();
}

export function reset() {
  fill(origin);
  note("");
}

// Arrows of the browser: the fields follow the address.
export function readAddress() {
  const query = new URLSearchParams(location.search);
  for (const name of NAMES) find(name).value = query.get(name) ?? "";
  note("");
}
