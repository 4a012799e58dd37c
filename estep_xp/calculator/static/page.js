// Carries the fields to the server and its answers onto the page. The server computes.
import { draw, drawClimb, forgetGhost, redraw, rememberGhost } from "./chart.js";
import { markNumbers, moveParameter, withoutComponent } from "./components.js";
import { NAMES, fill, keepAddress, link, note, readAddress, reset, setOrigin, texts, undo } from "./fields.js";
import { Refusal, find, paced, post, report } from "./server.js";

const HINT = find("em-status").textContent;

let sort = "";
let keepRows = false; // a row caused the request: leave rows alone
let glideTo = ""; // the fields that an EM step led to
let file = null;
let emRun = { logLikelihoods: [], end: "" }; // of the presses so far, and the fields they ended at

const settings = () => ({ sort, ...(find("textbook").checked ? { textbook: "1" } : {}) });

const refresh = paced(async () => {
  const keep = keepRows;
  const asked = link();
  const answer = await post("/answer", new URLSearchParams({ ...texts(), ...settings() }));
  find("trouble").hidden = true;
  show(answer, keep, asked === glideTo);
});

// The slopes in closed form came with the results; JAX's take their time.
const refreshSensitivity = paced(async () => {
  const asked = link();
  const answer = await post("/sensitivity", new URLSearchParams(texts()));
  if (asked !== link()) return; // of other numbers than those that stand there by now
  if (answer.html && find("sensitivity")) find("sensitivity").innerHTML = answer.html;
});

// --- showing answers ---------------------------------------------------------------------------

function show(answer, keep, glide) {
  showErrors(answer.errors);
  const good = answer.results !== undefined;
  for (const id of ["results", "figures", "picture"]) find(id).classList.toggle("stale", !good);
  if (!good) return;
  swap(find("figures"), answer.figures);
  swap(find("results"), answer.results);
  if (!keep) swap(find("components"), answer.components);
  draw(answer.picture, glide);
  glideTo = "";
  refreshSensitivity();
}

function showErrors(errors) {
  for (const name of NAMES) {
    find(`${name}-error`).textContent = errors[name] ?? "";
    find(name).toggleAttribute("aria-invalid", false);
    if (errors[name]) find(name).setAttribute("aria-invalid", "true");
  }
  markNumbers(errors, keepRows);
  const general = errors.mixture;
  if (general) find("trouble").textContent = general;
  find("trouble").hidden = !general;
}

// New content for a part of the page; who was in it keeps the focus and the place.
function swap(part, html) {
  const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
  const places = [...part.querySelectorAll("[id]")].filter((e) => e.scrollTop || e.scrollLeft);
  part.innerHTML = html;
  for (const old of places) find(old.id)?.scrollTo(old.scrollLeft, old.scrollTop);
  if (focus) find(focus)?.focus();
}

// --- changes -----------------------------------------------------------------------------------

function changed(source = "", inRow = false) {
  keepRows = inRow;
  forgetGhost();
  note(source);
  keepAddress();
  refresh();
}

function replaceFields(fields) {
  fill(fields);
  changed();
}

function clearRun() {
  emRun = { logLikelihoods: [], end: "" };
  sayEm(HINT, "");
  drawClimb([]);
}

function sayEm(status, warning) {
  find("em-status").textContent = status;
  find("em-warning").textContent = warning;
  find("em-warning").hidden = !warning;
}

async function em(kind) {
  const start = JSON.stringify(texts());
  const answer = await post(`/em/${kind}`, new URLSearchParams(texts()));
  if (answer.errors) showErrors(answer.errors);
  sayEm(answer.status, answer.warning ?? "");
  if (!answer.fields) return;
  if (start !== JSON.stringify(texts())) return; // typed on meanwhile: that counts
  const logLikelihoods = start === emRun.end ? [...emRun.logLikelihoods, ...answer.log_likelihoods.slice(1)] : answer.log_likelihoods;
  replaceFields(answer.fields);
  rememberGhost();
  glideTo = link();
  emRun = { logLikelihoods, end: JSON.stringify(texts()) };
  drawClimb(logLikelihoods);
}

async function change(path, more = {}) {
  const answer = await post(path, new URLSearchParams({ ...texts(), ...more }));
  if (answer.errors) showErrors(answer.errors);
  find("start-status").textContent = answer.status;
  if (!answer.fields) return;
  if (path === "/start") clearRun();
  replaceFields(answer.fields);
  if (path === "/start") setOrigin();
}

function choose(button) {
  find("columns").hidden = true;
  for (const id of ["file-error", "file-note", "start-status"]) find(id).textContent = "";
  find("preset-note").textContent = button.dataset.note;
  find("preset-note").hidden = false;
  clearRun();
  replaceFields(JSON.parse(button.dataset.preset));
  setOrigin();
}

async function upload(column) {
  const query = new URLSearchParams({ name: file.name, ...(column === undefined ? {} : { column }) });
  const limit = Number(find("file").dataset.limit);
  if (file.size > limit) throw new Refusal(`${file.name} has ${file.size} bytes; at most ${limit} are taken`);
  const answer = await post(`/upload?${query}`, file);
  const select = find("column");
  select.replaceChildren(...answer.columns.map((name, j) => new Option(name, j, false, j === answer.column)));
  find("columns").hidden = answer.columns.length < 2;
  find("file-error").textContent = answer.error;
  find("file-note").textContent = answer.note;
  if (answer.error) return;
  clearRun();
  replaceFields({ ...texts(), x: answer.x });
  setOrigin();
}

function tryUpload(column) {
  upload(column).catch((error) => {
    if (error instanceof Refusal) [find("file-error").textContent, find("file-note").textContent] = [error.message, ""];
    else report(error, refresh);
  });
}

async function copy(button) {
  const code = find("python");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code); // to be copied by hand
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function busy(button, work) {
  button.disabled = true;
  work.catch((error) => report(error, refresh)).finally(() => { button.disabled = false; button.focus(); });
}

function pressed(button) {
  const { preset, em: kind, sort: order, remove } = button.dataset;
  if (preset) {
    choose(button);
  } else if (kind) {
    busy(button, em(kind));
  } else if (order) {
    sort = order;
    refresh();
  } else if (remove) {
    find("start-status").textContent = "";
    replaceFields(withoutComponent(texts(), Number(remove)));
    find("add").focus();
  } else if (button.id === "add") {
    busy(button, change("/add"));
  } else if (button.id === "start") {
    busy(button, change("/start", { count: find("count").value }));
  } else if (button.id === "undo" || button.id === "reset") {
    if (button.id === "undo") undo();
    else reset();
    changed();
    if (button.disabled) find("add").focus();
  } else if (button.id === "copy") {
    copy(button);
  }
}

// --- events ------------------------------------------------------------------------------------

document.addEventListener("input", ({ target }) => {
  if (NAMES.includes(target.id)) {
    changed(target.id);
  } else if (target.matches("[data-field]")) {
    moveParameter(target);
    changed(target.id, true);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("textarea[data-field]")) event.preventDefault(); // one number
  if (event.key === "Enter" && event.target.id === "count") {
    event.preventDefault();
    find("start").click();
  }
});
document.addEventListener("change", ({ target }) => {
  if (target.id === "file" && target.files.length) {
    file = target.files[0];
    tryUpload();
    target.value = ""; // so that the same file can be chosen again
  } else if (target.id === "column") {
    tryUpload(target.value);
  } else if (target.id === "textbook") {
    refresh();
  }
});
document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button) pressed(button);
});
find("form").addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  if (link() === location.search) return; // a place in the guide
  readAddress();
  keepRows = false;
  forgetGhost();
  refresh();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
find("plotly").addEventListener("load", redraw);

draw(JSON.parse(find("initial").textContent).picture);
keepAddress();
if (find("sensitivity")) refreshSensitivity();
