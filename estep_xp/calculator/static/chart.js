// The pictures: densities and responsibilities along x, and the path of the log-likelihood.
import { find } from "./server.js";

const DASHES = ["solid", "dash", "dot", "dashdot"]; // the next after each cycle of colours
const GLIDE = 600; // ms
const MAX_GLIDING = 40000; // points of curves that move smoothly
const MAX_MARKED = 40; // observations marked in the strip
const MAX_IN_LEGEND = 4;
const PANELS = { density: [0.34, 1], points: [0.235, 0.305], strip: [0, 0.2] };
const CONFIG = { displayModeBar: false, responsive: true };

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const isNarrow = () => innerWidth < 1024;
const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function look() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return { text: value("--text"), soft: value("--soft"), line: value("--line"), card: value("--card"), bad: value("--bad") };
}

function layout(colours, more) {
  const axis = { gridcolor: colours.line, linecolor: colours.soft, zerolinecolor: colours.line, fixedrange: true, exponentformat: "e", minexponent: 6 };
  const axes = Object.keys(more).filter((name) => /axis/.test(name)).map((name) => [name, { ...axis, ...more[name] }]);
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colours.soft, size: 12, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: colours.card, bordercolor: colours.soft, font: { color: colours.text } },
    dragmode: false,
    ...more,
    ...Object.fromEntries(axes),
  };
}

// --- densities and responsibilities ------------------------------------------------------------

let drawn = null;
let ghost = null; // the picture before the last press of EM
let gliding = 0;

export function rememberGhost() { ghost = drawn; }
export function forgetGhost() { ghost = null; }

const colourOf = (picture, j) => picture.colours[j][isDark() ? 1 : 0];
const dashOf = (picture, j) => DASHES[Math.floor(j / picture.n_colours) % DASHES.length];

function curveTraces(picture) {
  return picture.weighted.map((y, j) => ({
    x: picture.grid, y, type: "scatter", mode: "lines", name: `component ${j}`, fill: "tozeroy",
    line: { color: colourOf(picture, j), width: 2, dash: dashOf(picture, j), simplify: false },
    fillcolor: `${colourOf(picture, j)}22`,
    customdata: picture.strip[j].map((share) => (share === null ? "NaN" : share.toFixed(4))),
    hovertemplate: "%{y:.4g}, responsibility %{customdata}",
  }));
}

function totalTrace(picture, colours) {
  return {
    x: picture.grid, y: picture.total, type: "scatter", mode: "lines", name: "mixture",
    line: { color: colours.text, width: 2, dash: "dot", simplify: false }, hovertemplate: "%{y:.4g}",
  };
}

function pointTrace(picture, colours) {
  const many = picture.points.length > 60;
  const shades = picture.point_colours[isDark() ? 1 : 0];
  return {
    x: picture.points, y: picture.points.map(() => 0), yaxis: "y2", type: "scatter", mode: "markers", name: "data",
    marker: { color: shades, size: many ? 12 : 10, opacity: many ? 0.85 : 1, symbol: many ? "line-ns" : "circle", line: { color: many ? shades : colours.card, width: many ? 1.5 : 1 } },
    text: picture.point_texts, hovertemplate: "x = %{x}<br>%{text}<extra></extra>", showlegend: false,
  };
}

function histogramTraces(picture, colours) {
  const bars = picture.histogram;
  if (!bars) return [];
  return [{
    x: bars.middles, y: bars.heights, width: bars.widths, type: "bar", name: "histogram",
    marker: { color: `${colours.soft}38`, line: { width: 0 } }, hoverinfo: "skip", showlegend: false,
  }];
}

function stripTraces(picture) {
  return picture.strip.map((y, j) => ({
    x: picture.grid, y, yaxis: "y3", type: "scatter", mode: "lines", name: `responsibility ${j}`, stackgroup: "strip",
    line: { width: 0 }, fillcolor: `${colourOf(picture, j)}${j < picture.n_colours ? "b0" : "70"}`,
    hoverinfo: "skip", showlegend: false,
  }));
}

function ghostTraces(colours) {
  if (!ghost) return [];
  return ghost.weighted.map((y, j) => ({
    x: ghost.grid, y, type: "scatter", mode: "lines", name: `before ${j}`,
    line: { color: colourOf(ghost, j), width: 1.5, dash: "dash" }, opacity: 0.75, hoverinfo: "skip",
    showlegend: false,
  }));
}

// Where each observation stands in the strip.
function markShapes(picture, colours) {
  const failing = picture.failing.map(([x0, x1]) => ({
    type: "rect", xref: "x", yref: "y3", x0, x1, y0: 0, y1: 1, fillcolor: `${colours.bad}55`, line: { color: colours.bad, width: 1 },
    label: { text: "NaN", font: { color: colours.bad, size: 12 } },
  }));
  if (picture.points.length > MAX_MARKED) return failing;
  const marks = picture.points.map((x) => ({
    type: "line", xref: "x", yref: "y3", x0: x, x1: x, y0: 0, y1: 1, line: { color: colours.card, width: 1, dash: "dot" },
  }));
  return [...failing, ...marks];
}

function pictureLayout(picture, colours, range) {
  const narrow = isNarrow();
  const title = (text) => ({ text: narrow ? "" : text, standoff: 6, font: { size: 12 } });
  return layout(colours, {
    margin: { l: narrow ? 40 : 60, r: 8, t: narrow ? 6 : 26, b: narrow ? 22 : 38 },
    hovermode: "x unified",
    xaxis: { title: title("x"), anchor: "y3", hoverformat: ".5~g", range: range.x, showspikes: false },
    yaxis: { automargin: true, title: title("density"), domain: PANELS.density, range: range.y, nticks: narrow ? 4 : 6 },
    yaxis2: { domain: PANELS.points, range: [-1, 1], visible: false },
    yaxis3: { title: title("resp."), domain: PANELS.strip, range: [0, 1], tickvals: [0, 0.5, 1], showgrid: false },
    shapes: markShapes(picture, colours),
    showlegend: picture.weighted.length <= MAX_IN_LEGEND && !narrow,
    legend: { orientation: "h", traceorder: "normal", y: 1.01, yanchor: "bottom", x: 0, itemclick: false, itemdoubleclick: false, font: { size: 11 } },
    bargap: 0,
  });
}

function rangeOf(picture) {
  const [low, high] = [picture.grid[0], picture.grid.at(-1)];
  const margin = (high - low) * 0.015;
  return { x: [low - margin, high + margin], y: [0, ghost ? Math.max(picture.top, ghost.top) : picture.top] };
}

function noteOf(picture) {
  if (!picture) return "No picture: the numbers lie too far apart to be drawn.";
  const notes = [];
  if (picture.failing.length) notes.push("Red: there the textbook's formula is 0 / 0, NaN.");
  if (picture.beyond.length) {
    const one = picture.beyond.length === 1;
    notes.push(`The ${one ? "peak" : "peaks"} of ${one ? "component" : "components"} ${picture.beyond.join(", ")} ${one ? "lies" : "lie"} far above the picture.`);
  }
  if (ghost) notes.push("Dashed: before EM.");
  if (picture.points_left_out) notes.push(`${picture.points_left_out} of the points are not drawn.`);
  return notes.join(" ");
}

export function draw(picture, glide = false) {
  const before = drawn;
  drawn = picture;
  cancelAnimationFrame(gliding);
  const place = find("picture");
  find("picture-note").textContent = noteOf(picture);
  place.hidden = !picture;
  if (!picture || !window.Plotly) return;
  const moves = glide && before && !prefersStill() && before.weighted.length === picture.weighted.length
    && picture.weighted.length * picture.grid.length < MAX_GLIDING;
  if (moves) glideFrom(before, picture);
  else settle(picture);
}

function settle(picture) {
  const colours = look();
  const traces = [...histogramTraces(picture, colours), ...ghostTraces(colours), ...curveTraces(picture), totalTrace(picture, colours), pointTrace(picture, colours), ...stripTraces(picture)];
  Plotly.react(find("picture"), traces, pictureLayout(picture, colours, rangeOf(picture)), CONFIG);
}

// The new curves on their way from the places of the old ones: each is moved, widened and raised.
function glideFrom(before, picture) {
  const colours = look();
  const place = find("picture");
  const still = [...histogramTraces(picture, colours), ...ghostTraces(colours)];
  const curves = curveTraces(picture);
  const frame = (share) => picture.weighted.map((y, j) => {
    const between = (name) => before[name][j] * (1 - share) + picture[name][j] * share;
    const [mean, deviation, weight] = ["means", "deviations", "weights"].map(between);
    const wider = deviation / picture.deviations[j];
    const higher = picture.weights[j] > 0 ? weight / picture.weights[j] / wider : 1;
    return {
      x: picture.grid.map((x) => mean + (x - picture.means[j]) * wider),
      y: y.map((height) => height * higher),
    };
  });
  const at = (share) => frame(share).map((moved, j) => ({ ...curves[j], ...moved }));
  const range = rangeOf(picture);
  Plotly.react(place, [...still, ...at(0), pointTrace(picture, colours), ...stripTraces(before)], pictureLayout(picture, colours, range), CONFIG);
  const numbers = curves.map((_, j) => still.length + j);
  const start = performance.now();
  const move = (now) => {
    const time = Math.min(1, Math.max(0, now - start) / GLIDE);
    if (time === 1) return settle(picture);
    const moved = frame(time * time * (3 - 2 * time));
    Plotly.restyle(place, { x: moved.map(({ x }) => x), y: moved.map(({ y }) => y) }, numbers);
    gliding = requestAnimationFrame(move);
  };
  gliding = requestAnimationFrame(move);
}

// --- the path of the log-likelihood ------------------------------------------------------------

let climb = [];

export function drawClimb(logLikelihoods) {
  climb = logLikelihoods;
  const place = find("history");
  place.hidden = climb.length < 2;
  if (!window.Plotly || place.hidden) return;
  const colours = look();
  const line = {
    x: climb.map((_, step) => step), y: climb, type: "scatter", mode: climb.length < 40 ? "lines+markers" : "lines",
    line: { color: colours.text, width: 2 }, marker: { size: 5 }, hovertemplate: "step %{x}: %{y:.4f}<extra></extra>",
  };
  const end = { x: [climb.length - 1], y: [climb.at(-1)], type: "scatter", mode: "markers", marker: { color: colours.text, size: 9 }, hoverinfo: "skip" };
  Plotly.react(place, [line, end], layout(colours, {
    margin: { l: 8, r: 12, t: 8, b: 32 }, showlegend: false,
    xaxis: { title: { text: "step", standoff: 2 }, rangemode: "tozero", tickformat: "d", ...(climb.length < 9 ? { dtick: 1 } : { nticks: 6 }) },
    yaxis: { automargin: true, nticks: 4, tickformat: "~g" },
  }), CONFIG);
}

export function redraw() {
  draw(drawn);
  drawClimb(climb);
}
addEventListener("resize", redraw);
