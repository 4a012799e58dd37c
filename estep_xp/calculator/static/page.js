// Carries the fields to the server and its answers onto the page. Computes nothing.
"use strict";

const NAMES = ["x", "means", "variances", "weights"];
const LONG_LINK = 8000; // characters that most programs pass on
const BURST = { count: 30, span: 10000 }; // browsers refuse more changes of the address
const RETRY = 1500; // ms
const find = (id) => document.getElementById(id);
const texts = () => Object.fromEntries(NAMES.map((name) => [name, find(name).value]));

let sort = "";
let sliding = false; // a slider caused the request: leave sliders alone
let file = null;

// --- talking with the server -------------------------------------------------------------------

class Refusal extends Error {}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", body });
  if (!response.ok) throw new Refusal((await response.text()) || `error ${response.status}`);
  return response.json();
}

function report(error) {
  const banner = find("trouble");
  banner.textContent =
    error instanceof Refusal
      ? `The server could not answer: ${error.message}`
      : "The server does not answer; what is shown is the last result. Start it again with: estep-xp calculator";
  banner.hidden = false;
  find("results").classList.add("stale");
  if (!(error instanceof Refusal)) setTimeout(refresh, RETRY);
}

// One request at a time, and one more for all that changed meanwhile: answers come in order, and
// the last one is of what stands in the fields.
function paced(request) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await request();
      }
    } catch (error) {
      report(error);
    } finally {
      running = false;
    }
  };
}

const refresh = paced(async () => {
  const keep = sliding;
  const answer = await post("/answer", new URLSearchParams({ ...texts(), sort }));
  find("trouble").hidden = true;
  show(answer, keep);
});

// The slopes in closed form came with the results; JAX's take their time.
const refreshSensitivity = paced(async () => {
  const asked = link();
  const answer = await post("/sensitivity", new URLSearchParams(texts()));
  if (asked !== link()) return; // of other numbers than those that stand there by now
  if (answer.html && find("sensitivity")) find("sensitivity").innerHTML = answer.html;
});

// --- showing answers ---------------------------------------------------------------------------

function show(answer, keepSliders) {
  showErrors(answer.errors);
  const results = find("results");
  const good = answer.results !== undefined;
  results.classList.toggle("stale", !good);
  find("sliders").classList.toggle("stale", !good);
  if (!good) return;
  swap(results, answer.results);
  if (!keepSliders) swap(find("sliders"), answer.sliders);
  draw(answer.picture);
  refreshSensitivity();
}

function showErrors(errors) {
  for (const name of NAMES) {
    find(`${name}-error`).textContent = errors[name] ?? "";
    find(name).toggleAttribute("aria-invalid", false);
    if (errors[name]) find(name).setAttribute("aria-invalid", "true");
  }
  const general = errors.mixture;
  if (general) find("trouble").textContent = general;
  find("trouble").hidden = !general;
}

// New content for a part of the page; who was in it keeps the focus and the place.
function swap(part, html) {
  const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
  const places = [...part.querySelectorAll("[id]")].filter((e) => e.scrollTop || e.scrollLeft);
  const picture = find("picture");
  part.innerHTML = html;
  const fresh = find("picture");
  if (picture && fresh && picture !== fresh) fresh.replaceWith(picture); // drawn on, not anew
  for (const old of places) find(old.id)?.scrollTo(old.scrollLeft, old.scrollTop);
  if (focus) find(focus)?.focus();
}

// --- pictures ----------------------------------------------------------------------------------

let drawn = null;

function look() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return { text: value("--text"), soft: value("--soft"), line: value("--line"), card: value("--card") };
}

function layout(look, more) {
  const axis = { gridcolor: look.line, linecolor: look.line, zerolinecolor: look.line, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: look.soft, size: 12, family: getComputedStyle(document.body).fontFamily },
    margin: { l: 48, r: 8, t: 8, b: 40 },
    hoverlabel: { bgcolor: look.card, bordercolor: look.line, font: { color: look.text } },
    dragmode: false,
    ...more,
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis },
  };
}

const CONFIG = { displayModeBar: false, responsive: true };

function draw(picture) {
  drawn = picture;
  const place = find("picture");
  if (!window.Plotly || !place) return;
  find("picture-note").textContent = picture
    ? picture.points_left_out ? `${picture.points_left_out} of the points are not drawn.` : ""
    : "No picture: the numbers lie too far apart to be drawn.";
  place.hidden = !picture;
  if (!picture) return;
  const colours = look();
  const curves = picture.weighted.map((y, j) => ({
    x: picture.grid, y, type: "scatter", mode: "lines", name: `component ${j}`, fill: "tozeroy",
    line: { color: picture.colours[j], width: 2, dash: ["solid", "dash", "dot", "dashdot"][Math.floor(j / picture.n_colours) % 4] },
    fillcolor: `${picture.colours[j]}22`, hovertemplate: "%{y:.4g}",
  }));
  const total = {
    x: picture.grid, y: picture.total, type: "scatter", mode: "lines", name: "mixture",
    line: { color: colours.text, width: 2.5, dash: "dot" }, hovertemplate: "%{y:.4g}",
  };
  const points = {
    x: picture.points, y: picture.points.map(() => 0), yaxis: "y2", type: "scatter", mode: "markers", name: "data",
    marker: { color: picture.point_colours, size: 12, opacity: 0.85, symbol: picture.points.length > 60 ? "line-ns" : "circle", line: { color: picture.points.length > 60 ? picture.point_colours : colours.card, width: 1.5 } },
    text: picture.point_texts, hovertemplate: "x = %{x}<br>%{text}<extra></extra>", showlegend: false,
  };
  Plotly.react(place, [...curves, total, points], layout(colours, {
    hovermode: "x unified",
    xaxis: { title: { text: "x" }, anchor: "y2", hoverformat: ".5~g", exponentformat: "e", minexponent: 6, fixedrange: true },
    yaxis: { title: { text: "density" }, domain: [0.14, 1], rangemode: "tozero", exponentformat: "e", fixedrange: true },
    yaxis2: { domain: [0, 0.11], range: [-1, 1], visible: false, fixedrange: true },
    showlegend: picture.weighted.length < 9,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
  }), CONFIG);
}

// --- EM ----------------------------------------------------------------------------------------

let emRun = { logLikelihoods: [], end: "" }; // of the presses so far, and the fields they ended at

async function em(kind) {
  const start = JSON.stringify(texts());
  const answer = await post(`/em/${kind}`, new URLSearchParams(texts()));
  if (answer.errors) showErrors(answer.errors);
  find("em-status").textContent = answer.status;
  if (!answer.fields) return;
  if (start !== JSON.stringify(texts())) return; // typed on meanwhile: that counts
  const logLikelihoods = start === emRun.end ? [...emRun.logLikelihoods, ...answer.log_likelihoods.slice(1)] : answer.log_likelihoods;
  fill(answer.fields);
  emRun = { logLikelihoods, end: JSON.stringify(texts()) };
  drawClimb();
}

function drawClimb() {
  const place = find("history");
  place.hidden = emRun.logLikelihoods.length < 2;
  if (!window.Plotly || place.hidden) return;
  const y = emRun.logLikelihoods;
  const line = {
    x: y.map((_, step) => step), y, type: "scatter", mode: y.length < 40 ? "lines+markers" : "lines",
    line: { color: look().text, width: 2 }, hovertemplate: "step %{x}: %{y:.4f}<extra></extra>",
  };
  Plotly.react(place, [line], layout(look(), {
    margin: { l: 8, r: 8, t: 8, b: 34 }, showlegend: false,
    xaxis: { title: { text: "step" }, rangemode: "tozero", tickformat: "d", fixedrange: true },
    yaxis: { fixedrange: true },
  }), CONFIG);
}

// --- inputs ------------------------------------------------------------------------------------

let changes = [];
let waiting = 0;

// The link to what stands in the fields; commas stay readable.
function link() {
  const encode = (text) => encodeURIComponent(text).replaceAll("%2C", ",").replaceAll("%20", "+");
  return `?${Object.entries(texts()).map(([name, text]) => `${name}=${encode(text)}`).join("&")}`;
}

function keepAddress() {
  clearTimeout(waiting);
  const now = Date.now();
  changes = changes.filter((time) => now - time < BURST.span);
  if (changes.length >= BURST.count) {
    waiting = setTimeout(keepAddress, 300);
    return;
  }
  changes.push(now);
  const address = link();
  history.replaceState(null, "", address);
  const long = address.length > LONG_LINK;
  find("link-hint").hidden = !long;
  if (long) find("link-hint").textContent = `The link to this page has ${address.length} characters; mail and chat programs may cut it.`;
}

function changed(bySlider = false) {
  sliding = bySlider;
  keepAddress();
  refresh();
}

// Other inputs altogether: the way back is the browser's.
function fill(fields) {
  clearTimeout(waiting);
  history.replaceState(null, "", link());
  for (const name of NAMES) find(name).value = fields[name];
  history.pushState(null, "", link());
  changed();
}

function slide(slider) {
  const { field, component } = slider.dataset;
  const alike = [...document.querySelectorAll(`input[data-field=${field}]`)];
  const words = find(field).value.split(/[\s,]+/).filter(Boolean);
  const values = words.length === alike.length ? words : alike.map((other) => other.value);
  values[component] = slider.value;
  slider.nextElementSibling.textContent = slider.value;
  find(field).value = values.join(", ");
  changed(true);
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
  if (!answer.error) fill({ ...texts(), x: answer.x });
}

function tryUpload(column) {
  upload(column).catch((error) => {
    if (error instanceof Refusal) [find("file-error").textContent, find("file-note").textContent] = [error.message, ""];
    else report(error);
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

function pressed(button) {
  const { preset, em: kind, sort: order } = button.dataset;
  if (preset) {
    find("columns").hidden = true;
    for (const id of ["file-error", "file-note", "em-status"]) find(id).textContent = "";
    find("preset-note").textContent = button.dataset.note;
    find("preset-note").hidden = false;
    emRun = { logLikelihoods: [], end: "" };
    drawClimb();
    fill(JSON.parse(preset));
  } else if (kind) {
    button.disabled = true;
    em(kind).catch(report).finally(() => { button.disabled = false; button.focus(); });
  } else if (order) {
    sort = order;
    refresh();
  } else if (button.id === "copy") {
    copy(button);
  }
}

document.addEventListener("input", ({ target }) => {
  if (NAMES.includes(target.id)) changed();
  else if (target.matches("input[data-field]")) slide(target);
});
document.addEventListener("change", ({ target }) => {
  if (target.id === "file" && target.files.length) {
    file = target.files[0];
    tryUpload();
    target.value = ""; // so that the same file can be chosen again
  } else if (target.id === "column") {
    tryUpload(target.value);
  }
});
document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button) pressed(button);
});
find("form").addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  const query = new URLSearchParams(location.search);
  for (const name of NAMES) find(name).value = query.get(name) ?? "";
  sliding = false;
  refresh();
});

const redraw = () => { draw(drawn); drawClimb(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
find("plotly").addEventListener("load", redraw);

const initial = JSON.parse(find("initial").textContent);
drawn = initial.picture;
redraw();
keepAddress();
if (find("sensitivity")) refreshSensitivity();
