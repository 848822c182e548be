// Choosing windows on the map, and the list of them that `dawnchorus review --windows` takes.
"use strict";

function startLasso() {
  const canvas = $("map-canvas"), button = $("map-lasso");
  let line = null;
  state.map.lasso = null; // places of the drawn line's corners on the map, in shares of its sides
  button.addEventListener("click", () => setLasso(button.getAttribute("aria-pressed") !== "true"));
  $("map-list").addEventListener("click", downloadList);
  canvas.addEventListener("pointerdown", (event) => {
    if (!isDrawing()) return;
    event.stopImmediatePropagation(); // the map stays where it is
    canvas.setPointerCapture(event.pointerId);
    line = [onMap(event)];
  }, true);
  canvas.addEventListener("pointermove", (event) => {
    if (!isDrawing() || !line) return;
    event.stopImmediatePropagation();
    line.push(onMap(event));
    state.map.lasso = line;
    paint();
  }, true);
  canvas.addEventListener("click", (event) => { if (isDrawing()) event.stopImmediatePropagation(); }, true);
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { line = null; showChosen(); });
  for (const id of ["map-only", "map-colour", "map-layout"]) $(id).addEventListener("change", () => { state.map.lasso = null; paint(); showChosen(); });
  showChosen();
}

const isDrawing = () => $("map-lasso").getAttribute("aria-pressed") === "true";

function setLasso(isOn) {
  $("map-lasso").setAttribute("aria-pressed", String(isOn));
  $("map-canvas").style.touchAction = isOn ? "none" : ""; // a finger draws, it does not scroll
  state.map.lasso = null;
  paint();
  showChosen();
}

function onMap(event) {
  const box = $("map-canvas").getBoundingClientRect(), [wide, high] = sides(), { zoom, x, y } = state.map.view;
  return [
    (event.clientX - box.left - box.width / 2) / wide / zoom + x + 0.5,
    0.5 + y - (event.clientY - box.top - box.height / 2) / high / zoom,
  ];
}

// The windows within the line, of those that are shown; all that are shown without a line.
function chosenWindows() {
  const map = state.map, pale = map.colours.length - 1, found = [];
  for (let i = 0; i < map.cluster.length; i++) {
    const place = [map.places[2 * i] / map.size, map.places[2 * i + 1] / map.size];
    if (map.paint[i] !== pale && (!map.lasso || isWithin(place, map.lasso))) found.push(i);
  }
  return found;
}

function isWithin([x, y], corners) {
  let isIn = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [x1, y1] = corners[i], [x2, y2] = corners[j];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) isIn = !isIn;
  }
  return isIn;
}

function paintLasso(pen, ratio) {
  const map = state.map, { width, height } = pen.canvas, [wide, high] = sides(), { zoom, x, y } = map.view;
  if (!map.lasso || map.lasso.length < 2) return;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.globalAlpha = 1;
  pen.strokeStyle = getComputedStyle(document.body).color;
  pen.lineWidth = 1.5 * ratio;
  pen.beginPath();
  for (const [right, up] of map.lasso) {
    pen.lineTo(width / 2 + (right - 0.5 - x) * wide * zoom * ratio, height / 2 - (up - 0.5 - y) * high * zoom * ratio);
  }
  pen.closePath();
  pen.stroke();
}

function showChosen() {
  const n = chosenWindows().length;
  $("map-chosen").textContent = n + (n === 1 ? " window" : " windows") + (state.map.lasso ? " within the line" : " shown");
  $("map-list").disabled = !n;
}

function downloadList() {
  const map = state.map;
  const rows = chosenWindows().map((i) => [state.data.recorders[map.recorder[i]], timeOf(map.cell[i]), state.data.window_ms / 1000]);
  saveTable([["recorder", "time_utc", "duration_s"], ...rows], "windows.csv");
}

const timeOf = (cell) => new Date(state.data.origin_ms + cell * state.data.hop_ms).toISOString().replace(".000Z", "Z");
