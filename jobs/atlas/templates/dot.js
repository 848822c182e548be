// The window of a dot on the map: its small picture, when and where it was, and its sound.
"use strict";

function dotPlaces() {
  const map = state.map;
  if (!map.byWindow) map.byWindow = new Map(map.cell.map((cell, i) => [map.recorder[i] + " " + cell, i]));
  return map.byWindow;
}

// The small picture of a window that is on the map; nothing for others.
function thumbOf(recorder, cell, width = 120) {
  const i = state.map ? dotPlaces().get(recorder + " " + cell) : undefined;
  return i === undefined ? null : showThumb(element("div", { className: "thumb-picture pictured" }), i, width);
}

const sheetOf = (i) => "map/" + Math.floor(i / (state.map.sheet.columns * state.map.sheet.rows)) + ".webp";

function showThumb(box, i, width) {
  const sheet = state.map.sheet, place = i % (sheet.columns * sheet.rows), scale = width / sheet.width;
  const nRows = Math.min(sheet.rows, Math.ceil((state.map.cluster.length - (i - place)) / sheet.columns));
  Object.assign(box.style, {
    width: width + "px", height: sheet.height * scale + "px",
    backgroundImage: `url(${sheetOf(i)})`,
    backgroundSize: `${sheet.columns * sheet.width * scale}px ${nRows * sheet.height * scale}px`,
    backgroundPosition: `${-(place % sheet.columns) * sheet.width * scale}px ${-Math.floor(place / sheet.columns) * sheet.height * scale}px`,
  });
  return box;
}

// Shows the window of a dot below the map, and plays it where that is wanted.
async function pickDot(i) {
  const map = state.map, id = map.cluster[i], box = $("map-window"), said = $("map-window-said");
  map.picked = i;
  paint();
  let all = null;
  try {
    all = await membersOf(id);
  } catch (error) {
    said.textContent = error.message;
    box.hidden = false;
    return;
  }
  if (map.picked !== i || state.shown !== null) return;
  const row = all.cell.findIndex((cell, at) => cell === map.cell[i] && all.recorder[at] === map.recorder[i]);
  const one = windowAt(all, row), head = element("div", { className: "playhead", hidden: true });
  const button = playButton(one, head), file = element("dd", { className: "file" });
  const name = (state.names[id] || {}).name, link = element("a", { href: "#cluster-" + id, textContent: "Cluster " + id + (name ? " · " + name : "") });
  const picture = element("div", { className: "dot-picture" }, thumbButton(one, thumbOf(map.recorder[i], map.cell[i], 360), () => button && !button.disabled), head);
  const fact = (what, value) => [element("dt", { textContent: what }), element("dd", {}, value)];
  const facts = element("dl", {}, ...fact("Cluster", link), ...fact("Recorder", one.recorder + (one.site ? " · " + one.site : "")),
    ...fact("Time", whenWords(one) + (one.isPartial ? ", partly recorded" : "")), element("dt", { textContent: "Recording" }), file,
    ...(state.data.own_levels[one.iRecorder] ? fact("Colours", "a quiet recorder: dark to bright is " + state.data.own_levels[one.iRecorder] + " here") : []));
  const wasPlaying = player.now && player.now.key === one.key;
  if (wasPlaying) stopSound();
  $("map-window-box").replaceChildren(picture, element("div", {}, facts, ...(button ? [button, saveButton(one)] : [])));
  said.textContent = "";
  box.hidden = false;
  await showFile(one, file, button);
  if (button && !button.disabled && !wasPlaying && $("map-plays").checked && map.picked === i) toggleWindow(one, button, head);
}
