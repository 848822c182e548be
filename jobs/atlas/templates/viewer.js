// A picture alone and large, enlarged in time and in frequency, with its sound.
"use strict";

const viewer = { image: null, veil: null, crop: null, view: null, sound: null };
const MOST_CLOSE = 16, LEAST_APART = 0.07;

function startViewer() {
  const box = $("viewer"), canvas = $("viewer-canvas");
  box.addEventListener("close", stopSound);
  $("viewer-close").addEventListener("click", () => box.close());
  for (const [id, axis, factor] of [["time-closer", "x", 1.5], ["time-wider", "x", 1 / 1.5], ["frequency-closer", "y", 1.5], ["frequency-wider", "y", 1 / 1.5]]) {
    $(id).addEventListener("click", () => closer(axis, factor));
  }
  $("viewer-whole").addEventListener("click", wholePicture);
  $("viewer-play").addEventListener("click", () => viewer.sound());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = event.shiftKey ? 1 - event.offsetY / canvas.clientHeight : event.offsetX / canvas.clientWidth;
    closer(event.shiftKey ? "y" : "x", Math.exp(-(event.deltaY || event.deltaX) / 300), at);
  }, { passive: false });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) aside(-event.movementX / canvas.clientWidth, event.movementY / canvas.clientHeight);
  });
  box.addEventListener("keydown", onViewerKey);
  addEventListener("resize", drawViewer);
}

function onViewerKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  const act = {
    t: () => closer("x", 1.5), T: () => closer("x", 1 / 1.5), f: () => closer("y", 1.5), F: () => closer("y", 1 / 1.5), 0: wholePicture,
    ArrowLeft: () => aside(-0.1, 0), ArrowRight: () => aside(0.1, 0), ArrowUp: () => aside(0, 0.1), ArrowDown: () => aside(0, -0.1),
    p: () => { if (!$("viewer-play").hidden) viewer.sound(); },
  }[event.key];
  event.stopPropagation(); // the page below has keys of its own
  if (act) { event.preventDefault(); act(); }
  else pressLook(event);
}

// Shows { title, source, crop, veil, sound }: a picture's file, the part of it as [left, top, width, height] in pixels (or
// all of it), what is drawn over it, and what plays it: a function of a button and a line, or nothing.
function openViewer({ title, source, crop, veil, sound }) {
  stopSound();
  $("viewer-title").textContent = title;
  viewer.crop = crop;
  viewer.image = loadedImage(source);
  viewer.veil = veil ? loadedImage(veil) : null;
  viewer.sound = sound ? () => sound($("viewer-play"), $("viewer-head")) : null;
  $("viewer-play").hidden = !sound;
  $("viewer-play").textContent = "▶ Play";
  $("viewer").showModal();
  wholePicture();
  $("viewer-canvas").focus();
}

function loadedImage(source) {
  const image = new Image();
  image.onload = drawViewer;
  image.src = source;
  return image;
}

function wholePicture() {
  viewer.view = { x: [0, 1], y: [0, 1] }; // shares of time, and of the picture's height from the bottom
  drawViewer();
}

function closer(axis, factor, at = 0.5) {
  const [low, high] = viewer.view[axis], width = Math.min(1, Math.max(1 / MOST_CLOSE, (high - low) / factor));
  showPart(axis, low + (high - low - width) * at, width);
}

function aside(right, up) {
  for (const [axis, by] of [["x", right], ["y", up]]) {
    const [low, high] = viewer.view[axis];
    showPart(axis, low + by * (high - low), high - low);
  }
}

function showPart(axis, low, width) {
  const first = Math.min(1 - width, Math.max(0, low));
  viewer.view[axis] = [first, first + width];
  drawViewer();
}

function drawViewer() {
  if (!$("viewer").open) return;
  const canvas = $("viewer-canvas"), pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const { x: [left, right], y: [bottom, top] } = viewer.view, { image, veil } = viewer;
  const part = ([atX, atY, width, height]) => [atX + left * width, atY + (1 - top) * height, (right - left) * width, (top - bottom) * height];
  if (image.naturalWidth) {
    pen.drawImage(image, ...part(viewer.crop || [0, 0, image.naturalWidth, image.naturalHeight]), 0, 0, canvas.width, canvas.height);
  }
  if (veil && veil.naturalWidth) pen.drawImage(veil, ...part([0, 0, veil.naturalWidth, veil.naturalHeight]), 0, 0, canvas.width, canvas.height);
  const strip = $("viewer-strip").style;
  strip.left = (-100 * left) / (right - left) + "%";
  strip.width = 100 / (right - left) + "%";
  drawTicks();
}

function drawTicks() {
  const { x: [left, right], y: [bottom, top] } = viewer.view, seconds = state.data.window_ms / 1000;
  const tick = (side, at, text) => {
    const made = element("span", { textContent: text });
    made.style[side] = 100 * at + "%";
    return made;
  };
  const times = roundTicks(left * seconds, right * seconds, (value) => (value / seconds - left) / (right - left));
  $("viewer-times").replaceChildren(...times.map(([value, at]) => tick("left", at, String(Number(value.toPrecision(6))))));
  const pitches = roundTicks(hertzAt(bottom), hertzAt(top), (value) => (placeOf(value) - bottom) / (top - bottom));
  $("viewer-pitches").replaceChildren(...pitches.map(([value, at]) => tick("bottom", at, String(Number((value / 1000).toPrecision(6))))));
}

// Round values from low to high and their places, 0 to 1: the roundest first, and those between where there is room.
function roundTicks(low, high, place) {
  const found = [];
  for (let power = Math.ceil(Math.log10(high)); power > Math.log10(high - low) - 3; power--) {
    for (const factor of [1, 0.5, 0.2]) {
      const step = factor * 10 ** power, first = Math.ceil(low / step - 1e-9);
      for (let i = first; i * step <= high * (1 + 1e-9); i++) {
        const at = place(i * step);
        if (at > -1e-6 && at < 1 + 1e-6 && found.every(([, other]) => Math.abs(at - other) >= LEAST_APART)) found.push([i * step, at]);
      }
    }
  }
  return found;
}

// Bands are equally high; the outermost reach as far beyond their middles as within.
function hertzAt(share) {
  const mel = state.data.mel_hz, n = mel.length, at = share * n - 0.5, i = Math.min(n - 2, Math.max(0, Math.floor(at)));
  return n < 2 ? mel[0] : Math.max(0, mel[i] + (at - i) * (mel[i + 1] - mel[i]));
}

function placeOf(hertz) {
  let low = 0, high = 1;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (hertzAt(middle) < hertz) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

// --- what is shown -------------------------------------------------------------------------------------------

// Pictures of a cluster's page: a click, or the button below.
function startPictures(box) {
  box.querySelectorAll(".exemplars figure").forEach((figure) => {
    const image = figure.querySelector(".plot img"), show = () => openViewer({
      title: figure.querySelector(".where").textContent + " · " + (figure.querySelector(".when") || {}).textContent, source: image.src,
      veil: (box.classList.contains("attended") && (figure.querySelector("img.attention") || {}).src) || "",
      sound: figure.querySelector("audio") && ((button, head) => toggleSound({ audio: figure.querySelector("audio"), button, head })),
    });
    image.addEventListener("click", show);
    figure.querySelector(".enlarge").addEventListener("click", show);
  });
}

// A window's small picture as a button that shows it large.
function thumbButton(one, picture, isPlayable) {
  const button = element("button", { type: "button", className: "thumb-button" }, picture);
  button.ariaLabel = "Enlarge the picture of " + one.recorder + ", " + whenWords(one);
  button.addEventListener("click", () => {
    const { sheet } = state.map, i = dotPlaces().get(one.iRecorder + " " + one.cell), place = i % (sheet.columns * sheet.rows);
    openViewer({
      title: one.recorder + " · " + whenWords(one), source: sheetOf(i),
      crop: [(place % sheet.columns) * sheet.width, Math.floor(place / sheet.columns) * sheet.height, sheet.width, sheet.height],
      sound: isPlayable() ? (play, head) => toggleWindow(one, play, head) : null,
    });
  });
  return button;
}
