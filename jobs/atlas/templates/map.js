// The map: windows as dots on a canvas that can be enlarged, moved and pointed at. Part of the atlas's script.
"use strict";

const HUES = [210, 25, 140, 330, 50, 275, 180, 5, 95, 240, 300, 160];
const GREY = "hsl(0 0% 55%)", PALE = "hsl(0 0% 55% / 0.15)";
const MOST_ZOOM = 64, PIXELS_FROM = 5000, MOST_CHIPS = 14;

function startMap(map) {
  state.map = map;
  map.picked = -1;
  map.view = { zoom: 1, x: 0, y: 0 }; // what is in the middle, in shares of the map's sides from its own middle
  const canvas = $("map-canvas");
  $("map-layout").addEventListener("change", () => { showAll(); drawMap(); });
  $("map-colour").addEventListener("change", () => { fillOnly(); drawMap(); });
  $("map-only").addEventListener("change", drawMap);
  addEventListener("resize", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
  const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
  $("map-larger").addEventListener("click", () => zoomAt(1.6, ...middle()));
  $("map-smaller").addEventListener("click", () => zoomAt(1 / 1.6, ...middle()));
  $("map-whole").addEventListener("click", showAll);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  startPointer(canvas);
  startMapKeys(canvas, middle);
  fillOnly();
  drawMap();
  startLasso();
}

function startPointer(canvas) {
  let from = null, isMoved = false;
  canvas.addEventListener("pointerdown", (event) => {
    from = [event.clientX, event.clientY];
    isMoved = false;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons) return tip(nearestPoint(event));
    const by = [event.clientX - from[0], event.clientY - from[1]];
    if (!isMoved && Math.hypot(...by) < 5) return;
    if (!isMoved) canvas.setPointerCapture(event.pointerId);
    isMoved = true;
    from = [event.clientX, event.clientY];
    moveBy(-by[0], -by[1]);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
  canvas.addEventListener("pointerleave", () => tip(-1));
  canvas.addEventListener("click", (event) => {
    const i = isMoved ? -1 : nearestPoint(event);
    if (i >= 0) pickDot(i);
  });
  canvas.addEventListener("dblclick", () => { if (state.map.picked >= 0) location.hash = "#cluster-" + state.map.cluster[state.map.picked]; });
}

// With keys the window in the middle is the one that is looked at.
function startMapKeys(canvas, middle) {
  const look = () => { $("map-middle").hidden = false; tip(nearestTo(...middle(), 48)); };
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) moveBy(...step);
    else if (event.key === "+" || event.key === "=") zoomAt(1.6, ...middle());
    else if (event.key === "-") zoomAt(1 / 1.6, ...middle());
    else if (event.key === "0") showAll();
    else if (event.key === "p") {
      const i = nearestTo(...middle(), 48);
      if (i >= 0) pickDot(i);
    } else if (event.key === "Enter") {
      const i = nearestTo(...middle(), 48);
      if (i >= 0) location.hash = "#cluster-" + state.map.cluster[i];
      return;
    } else return;
    event.preventDefault();
    paint();
    look();
  });
  canvas.addEventListener("blur", () => { $("map-middle").hidden = true; tip(-1); });
}

function sides() {
  const { clientWidth: width, clientHeight: height } = $("map-canvas");
  const side = Math.min(width, height) - 24;
  return [Math.min(width - 24, 1.6 * side), side];
}

function setView(zoom, x, y) {
  const reach = 0.5 * (1 - 1 / zoom), within = (value) => Math.min(reach, Math.max(-reach, value));
  state.map.view = { zoom, x: within(x), y: within(y) };
  if (!state.map.isAsked) requestAnimationFrame(paint);
  state.map.isAsked = true;
}

function zoomAt(factor, left, top) {
  const { zoom, x, y } = state.map.view, [wide, high] = sides(), canvas = $("map-canvas");
  const next = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
  const right = left - canvas.clientWidth / 2, down = top - canvas.clientHeight / 2;
  const change = 1 / zoom - 1 / next; // what is under the pointer stays there
  setView(next, x + (right / wide) * change, y - (down / high) * change);
}

function moveBy(right, down) {
  const { zoom, x, y } = state.map.view, [wide, high] = sides();
  setView(zoom, x + right / wide / zoom, y - down / high / zoom);
}

function showAll() {
  setView(1, 0, 0);
}

// --- groups and their colours --------------------------------------------------------------------------------

function groupList() {
  const map = state.map, by = $("map-colour").value;
  if (by === "name") return map.cluster.map((id) => (state.names[id] || {}).name || "");
  return map[by];
}

function groupText(group) {
  const by = $("map-colour").value;
  if (by === "cluster") return "cluster " + group + (state.names[group] ? " · " + state.names[group].name : "");
  if (by === "name") return group === "" ? "not named" : group;
  if (by === "recorder") return state.data.recorders[group];
  if (group < 0) return "no clock time";
  return by === "hour" ? String(group).padStart(2, "0") + " h" : dateOf(group);
}

function groups(list) {
  const found = new Map();
  for (const group of list) found.set(group, (found.get(group) || 0) + 1);
  const by = $("map-colour").value;
  const order = (a, b) => (typeof a === "number" ? a - b : a < b ? -1 : 1);
  return [...found.keys()].sort(by === "cluster" ? (a, b) => found.get(b) - found.get(a) || a - b : order);
}

function fillOnly() {
  const all = groups(groupList());
  const options = all.map((group) => element("option", { value: String(group), textContent: groupText(group) }));
  $("map-only").replaceChildren(element("option", { value: "*", textContent: "all of them" }), ...options);
}

// Dots stand out from the page by 3 to 1 at least: lighter ones on dark.
function colourer(all) {
  const by = $("map-colour").value, lift = matchMedia("(prefers-color-scheme: dark)").matches ? 22 : 0;
  if (by === "hour") return (g) => (g < 0 ? GREY : `hsl(${(g * 15 + 250) % 360} 65% ${35 + lift + 25 * Math.sin((g / 24) * Math.PI)}%)`);
  if (by === "day") {
    const most = Math.max(1, ...all);
    return (g) => (g < 0 ? GREY : `hsl(${280 - (220 * g) / most} 65% ${32 + lift + (28 * g) / most}%)`);
  }
  return (g, i) => {
    if (g === "") return GREY;
    const round = Math.floor(i / HUES.length);
    return `hsl(${(HUES[i % HUES.length] + 13 * round) % 360} ${70 - 12 * (round % 3)}% ${[48, 62, 36][round % 3] + lift}%)`;
  };
}

function drawMap() {
  const map = state.map, list = groupList(), all = groups(list), only = $("map-only").value;
  const place = new Map(all.map((group, i) => [group, i])), colours = all.map(colourer(all));
  map.colours = [...colours, PALE];
  map.paint = Uint32Array.from(list, (group) => (only === "*" || String(group) === only ? place.get(group) : all.length));
  const layout = map.layouts.find((one) => one.name === $("map-layout").value);
  map.places = layout.places;
  $("map-told").textContent = layout.name + ": " + layout.told + ".";
  const some = all.length > MOST_CHIPS ? [0, Math.floor(all.length / 2), all.length - 1] : [...all.keys()];
  const chips = some.map((i) => {
    const chip = element("span", { className: "chip", textContent: groupText(all[i]) });
    chip.style.setProperty("--dot", colours[i]);
    return chip;
  });
  if (all.length > MOST_CHIPS) {
    const told = all.length + " colours in all, such as these; point at a dot to read what it is, or show one alone";
    chips.push(element("span", { className: "quiet", textContent: told }));
  }
  $("map-legend").replaceChildren(...chips);
  paint();
}

// --- dots ----------------------------------------------------------------------------------------------------

function paint() {
  const map = state.map, canvas = $("map-canvas"), width = canvas.clientWidth, height = canvas.clientHeight;
  map.isAsked = false;
  if (!width || !map.places) return;
  const ratio = devicePixelRatio || 1, n = map.cluster.length, [wide, high] = sides();
  const { zoom, x, y } = map.view;
  if (!map.x || map.x.length !== n) [map.x, map.y] = [new Float32Array(n), new Float32Array(n)];
  for (let i = 0; i < n; i++) {
    map.x[i] = width / 2 + (map.places[2 * i] / map.size - 0.5 - x) * wide * zoom;
    map.y[i] = height / 2 - (map.places[2 * i + 1] / map.size - 0.5 - y) * high * zoom;
  }
  const pen = canvas.getContext("2d"), size = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, ...size);
  const radius = (n > 20000 ? 0.8 : n > PIXELS_FROM ? 1.2 : 3.2) * Math.min(2, Math.sqrt(zoom));
  if (n > PIXELS_FROM) paintPixels(pen, ratio, radius);
  else paintDots(pen, ratio, radius);
  paintPicked(pen, ratio);
  paintLasso(pen, ratio);
  $("map-smaller").disabled = $("map-whole").disabled = zoom === 1;
  $("map-larger").disabled = zoom === MOST_ZOOM;
}

function paintDots(pen, ratio, radius) {
  const map = state.map, pale = map.colours.length - 1, { width, height } = pen.canvas;
  pen.scale(ratio, ratio);
  for (const isOn of [false, true]) {
    pen.globalAlpha = isOn ? 0.85 : 1;
    for (let i = 0; i < map.x.length; i++) {
      if ((map.paint[i] !== pale) !== isOn) continue;
      if (map.x[i] < -9 || map.y[i] < -9 || map.x[i] > width + 9 || map.y[i] > height + 9) continue;
      pen.fillStyle = map.colours[map.paint[i]];
      pen.beginPath();
      pen.arc(map.x[i], map.y[i], radius, 0, 7);
      pen.fill();
    }
  }
}

// Of many windows each is a square of pixels, written at once: 100,000 take a few milliseconds.
function paintPixels(pen, ratio, radius) {
  const map = state.map, pale = map.colours.length - 1, { width, height } = pen.canvas;
  const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const palette = pixelsOf(map.colours), side = Math.max(1, Math.round(2 * radius * ratio));
  for (const isOn of [false, true]) {
    for (let i = 0; i < map.x.length; i++) {
      if ((map.paint[i] !== pale) !== isOn) continue;
      const left = Math.round(map.x[i] * ratio - side / 2), top = Math.round(map.y[i] * ratio - side / 2);
      if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
      const colour = palette[map.paint[i]], end = (top + side) * width + left;
      for (let row = top * width + left; row < end; row += width) {
        for (let at = row; at < row + side; at++) pixels[at] = colour;
      }
    }
  }
  pen.putImageData(image, 0, 0);
}

function paintPicked(pen, ratio) {
  const map = state.map;
  if (map.picked < 0) return;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.globalAlpha = 1;
  pen.strokeStyle = getComputedStyle(document.body).color;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(map.x[map.picked], map.y[map.picked], 8, 0, 7);
  pen.stroke();
}

function pixelsOf(colours) {
  const canvas = element("canvas", { width: colours.length, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  colours.forEach((colour, i) => { pen.fillStyle = colour; pen.fillRect(i, 0, 1, 1); });
  return new Uint32Array(pen.getImageData(0, 0, colours.length, 1).data.buffer);
}

function nearestPoint(event) {
  const box = $("map-canvas").getBoundingClientRect();
  return nearestTo(event.clientX - box.left, event.clientY - box.top, 12);
}

function nearestTo(left, top, within) {
  const map = state.map, pale = map.colours.length - 1;
  let best = -1, least = within * within;
  for (let i = 0; i < map.x.length; i++) {
    const d = (map.x[i] - left) ** 2 + (map.y[i] - top) ** 2;
    if (map.paint[i] !== pale && d < least) { least = d; best = i; }
  }
  return best;
}

function tip(i) {
  const box = $("map-tip"), ring = $("map-ring"), map = state.map;
  box.hidden = ring.hidden = i < 0;
  if (i < 0) return;
  showThumb($("map-thumb"), i, 240);
  const known = state.names[map.cluster[i]];
  const when = map.hour[i] < 0 ? "no clock time" : dateOf(map.day[i]) + ", " + String(map.hour[i]).padStart(2, "0") + " h";
  const lines = ["Cluster " + map.cluster[i] + (known && known.name ? " · " + known.name : "")];
  $("map-words").textContent = [...lines, state.data.recorders[map.recorder[i]], when].join("\n");
  const canvas = $("map-canvas");
  ring.style.left = map.x[i] + "px";
  ring.style.top = map.y[i] + "px";
  box.style.left = Math.max(4, Math.min(map.x[i] + 14, canvas.clientWidth - 270)) + "px";
  box.style.top = (map.y[i] > canvas.clientHeight / 2 ? map.y[i] - 250 : map.y[i] + 14) + "px";
}
