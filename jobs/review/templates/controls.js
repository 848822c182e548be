// Keys and buttons.
"use strict";

const PRESSED = {
  y: () => verdictOn("yes"), n: () => verdictOn("no"), u: () => verdictOn("unsure"), s: markSpeech, z: undo, Backspace: undo,
  Y: () => verdictOn("yes", true), N: () => verdictOn("no", true), U: () => verdictOn("unsure", true),
  0: restIsNo, " ": () => (review.isGrid ? playTile() : toggleHere()), a: () => askSound(), g: () => showGrid(!review.isGrid),
  b: () => look("brightness", 0.1), B: () => look("brightness", -0.1), c: () => look("contrast", 0.1), C: () => look("contrast", -0.1),
  l: () => $("loop").click(), d: () => download(), "?": () => $("keys").toggleAttribute("open"),
};
const REPEATED = /^(Arrow|[bBcC]$)/;

function onKey(event) {
  if (document.querySelector("dialog[open]")) return;
  const field = event.target.closest("input:not([type=checkbox]):not([type=range]), select, textarea");
  if (event.key === "Escape") {
    if (field) field.blur();
    if (!$("sound-form").hidden) return closeSound();
    if (review.isGrid && !field) showGrid(false);
    return;
  }
  if (field || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "z") { event.preventDefault(); undo(); }
    return;
  }
  if ((event.key === " " || event.key === "Enter") && event.target.closest("button, summary, input, a")) return; // it presses that
  if (event.target.closest("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (event.repeat && !REPEATED.test(event.key)) return;
  const key = keyOf(event), act = movement(event) || (/^[1-9]$/.test(key) ? () => pick(Number(key) - 1) : PRESSED[key]);
  if (!act) return;
  event.preventDefault();
  act();
}

// Caps Lock is not Shift; where a key has no Latin letter or digit on it, its place on the keyboard says which is meant.
function keyOf(event) {
  const placed = /^(?:Key([A-Z])|Digit(\d))$/.exec(event.code || "");
  let key = event.key;
  if (placed && key.length === 1 && !/[\x20-\x7e]/.test(key)) key = placed[1] || placed[2];
  if (placed && placed[2] && !event.shiftKey) key = placed[2];
  return key.length > 1 ? key : event.shiftKey ? key.toUpperCase() : key.toLowerCase();
}

function movement(event) {
  if (review.isGrid) {
    if (event.key === "Enter") return () => showGrid(false);
    const across = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    return across && (() => moveTo(review.at + across * (/Up|Down/.test(event.key) ? tilesAcross() : 1), event.shiftKey));
  }
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step) return () => { if (review.data.windows[review.at + step] && !review.isBusy) goTo(review.at + step); };
  return down && (() => pick(review.sounds.indexOf(review.sound) + down));
}

function startButtons() {
  const press = (id, act) => $(id).addEventListener("click", (event) => {
    if (event.detail) $(id).blur(); // a pointer: the space bar is to play, not to press again
    act(event);
  });
  for (const verdict of ["yes", "no", "unsure"]) press(verdict, () => verdictOn(verdict));
  press("speech", markSpeech);
  press("undo", undo);
  press("rest", restIsNo);
  press("play", () => (review.isGrid ? playTile() : toggleHere()));
  press("before", () => movement({ key: "ArrowLeft" })());
  press("after", () => movement({ key: "ArrowRight" })());
  press("to-grid", () => showGrid(!review.isGrid));
  press("download", download);
  press("save-now", () => { download(); $("save-dialog").close(); });
  press("save-later", () => { store.nUnsaved = 0; $("save-dialog").close(); });
  press("reviewer", askReviewer);
  press("reviewer-cancel", () => $("reviewer-dialog").close());
  press("add-sound", askSound);
  $("reviewer-form").addEventListener("submit", takeReviewer);
  $("reviewer-dialog").addEventListener("cancel", (event) => { if (!review.reviewer) event.preventDefault(); });
  $("sound-form").addEventListener("submit", takeSound);
  $("load").addEventListener("change", () => { if ($("load").files[0]) loadTable($("load").files[0]).finally(() => { $("load").value = ""; }); });
  $("every").addEventListener("change", () => { review.everySound = $("every").checked; startOver(); });
  $("scores").addEventListener("change", () => showFacts(here()));
  $("loop").addEventListener("change", () => { player.isLooped = $("loop").checked; });
  $("speed").addEventListener("change", () => { setRate(Number($("speed").value)); });
}

// --- another sound -------------------------------------------------------------------------------------------

function askSound() {
  $("sound-form").hidden = false;
  $("sound-field").value = "";
  $("sound-words").textContent = "";
  $("sound-field").focus();
}

function closeSound() {
  $("sound-form").hidden = true;
  $("sound-field").blur();
}

// A name that is nearly that of a known sound is asked about once; given again, it is taken.
function takeSound(event) {
  event.preventDefault();
  const name = $("sound-field").value.normalize("NFC").replace(/\p{C}+/gu, " ").trim();
  if (!name) return closeSound();
  const { same, near } = nearestSound(name);
  if ((same || name).toLowerCase() === SPEECH) { closeSound(); return markSpeech(); }
  if (near && $("sound-words").dataset.asked !== name) {
    $("sound-words").dataset.asked = name;
    $("sound-words").textContent = "Did you mean " + near + "? Press Enter again for a new sound called " + name + ".";
    $("sound-field").value = name;
    return;
  }
  const sound = same || name;
  closeSound();
  if (!review.sounds.includes(sound)) {
    keepSetting("sounds", [...(store.settings.sounds || []), sound]);
    review.sounds.push(sound);
    if (!review.data.known.includes(sound)) complain("sound", sound + " is not among the study's sounds: add it to sounds.csv before the table comes into the lake.");
  }
  pick(review.sounds.indexOf(sound));
}
