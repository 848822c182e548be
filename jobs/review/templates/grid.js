// Many windows at once: the same keys answer the chosen ones.
"use strict";

function startGrid() {
  const tiles = review.data.windows.map((window, at) => {
    const image = element("img", { alt: "", loading: "lazy", decoding: "async", src: window.picture });
    const tile = element("li", { id: "tile-" + at, className: "tile" },
      element("div", { className: "crop" }, image),
      element("p", {}, element("span", { className: "number", textContent: String(at + 1) }), element("span", { className: "answer" })));
    tile.setAttribute("role", "option");
    tile.addEventListener("click", (event) => chooseTile(at, event));
    tile.addEventListener("dblclick", () => { review.at = at; showGrid(false); });
    return tile;
  });
  $("tiles").replaceChildren(...tiles);
}

function showGrid(isGrid) {
  review.isGrid = isGrid;
  review.selected.clear();
  document.body.classList.toggle("gridded", isGrid);
  $("one").hidden = isGrid;
  $("many").hidden = !isGrid;
  $("to-grid").setAttribute("aria-pressed", String(isGrid));
  stopSound();
  if (isGrid) {
    if (!$("tiles").children.length) startGrid();
    restartClock();
    showMarks();
    showAsked();
    moveTo(review.at, false);
    $("tiles").focus();
  } else {
    review.sound = nextSound(here());
    showWindow();
  }
}

const chosen = () => (review.selected.size ? [...review.selected].sort((a, b) => a - b) : [review.at]).map((at) => review.data.windows[at]);

function showMarks() {
  review.data.windows.forEach((window, at) => {
    const tile = $("tile-" + at);
    const answer = isSpeech(window) ? SPEECH : answerOf(window, review.sound) || "";
    tile.dataset.answer = answer;
    tile.querySelector(".answer").textContent = answer;
    const image = tile.querySelector("img");
    if (isSpeech(window)) image.removeAttribute("src");
    else if (!image.hasAttribute("src")) image.src = window.picture;
    const isChosen = review.selected.has(at) || (!review.selected.size && at === review.at);
    tile.setAttribute("aria-selected", String(isChosen));
    tile.setAttribute("aria-label", "Window " + (at + 1) + ", " + window.recorder + ", " + (window.local || window.utc) + (answer ? ", answered " + answer : ", not answered"));
  });
  $("tiles").setAttribute("aria-activedescendant", "tile-" + review.at);
  $("chosen-words").textContent = review.selected.size > 1 ? review.selected.size + " chosen" : "";
}

function chooseTile(at, event) {
  if (event.shiftKey) return moveTo(at, true);
  if (event.ctrlKey || event.metaKey || $("several").checked) {
    if (!review.selected.size && review.at !== at && !$("several").checked) review.selected.add(review.at);
    if (!review.selected.delete(at)) review.selected.add(at);
    review.at = at;
    return showMarks();
  }
  moveTo(at, false);
}

// With `extends_` all between the window before and this one are chosen.
function moveTo(at, isExtended) {
  const to = Math.min(review.data.windows.length - 1, Math.max(0, at));
  if (isExtended) {
    const [first, last] = [Math.min(review.at, to), Math.max(review.at, to)];
    for (let i = first; i <= last; i++) review.selected.add(i);
  } else review.selected.clear();
  review.at = to;
  stopSound();
  showMarks();
  $("tile-" + to).scrollIntoView({ block: "nearest" });
}

function tilesAcross() {
  const [first, ...others] = $("tiles").children, top = first.offsetTop;
  const next = others.findIndex((tile) => tile.offsetTop > top);
  return next < 0 ? others.length + 1 : next + 1;
}

function playTile() {
  if (isSpeech(here())) return;
  const { audio } = mediaOf(review.at), tile = $("tile-" + review.at);
  if (!audio) return;
  let head = tile.querySelector(".playhead");
  if (!head) tile.querySelector(".crop").append((head = element("div", { className: "playhead", hidden: true })));
  toggleSound({ audio, head, button: $("play") });
}
