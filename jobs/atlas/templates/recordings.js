// The recordings: where they are, and the seconds of them that windows are. A page from a folder may play files beside
// it, but not read them: a recording is played from its second on, as loud as it is.
"use strict";

const recordings = { base: "", scripts: new Map(), isSet: false };
const PER_SCRIPT = 1000;

const baseKey = () => "dawnchorus recordings " + state.data.names_id;

function startRecordings() {
  const box = $("recordings-form");
  recordings.base = state.place || "";
  try {
    const kept = localStorage.getItem(baseKey());
    if (kept !== null) recordings.base = kept;
  } catch { /* nothing is kept for pages from a folder: the field stands as it was made */ }
  showBase();
  box.addEventListener("submit", (event) => { event.preventDefault(); setBase($("recordings-base").value); });
  $("recordings-made").addEventListener("click", () => setBase(state.place || ""));
  $("recordings-close").addEventListener("click", () => { $("recordings-box").hidden = true; });
  document.addEventListener("click", (event) => { if (event.target.closest(".to-recordings")) openRecordings(""); });
}

function setBase(text) {
  recordings.base = text.trim();
  let isKept = true;
  try {
    if (recordings.base === (state.place || "")) localStorage.removeItem(baseKey());
    else localStorage.setItem(baseKey(), recordings.base);
  } catch {
    isKept = false;
  }
  showBase();
  const url = urlOf("");
  $("recordings-said").textContent = (url ? "Recordings are looked for below " + shownUrl(url) + "." : whyNoUrl()) +
    (isKept ? "" : " This browser keeps nothing for pages from a folder: it is forgotten when the page is closed.");
  document.querySelectorAll(".play").forEach((button) => { if (button.textContent === "no sound") button.textContent = "▶ Play"; });
}

function showBase() {
  $("recordings-base").value = recordings.base;
  document.querySelectorAll(".recordings-at").forEach((place) => { place.textContent = recordings.base || "not set"; });
}

function openRecordings(text) {
  $("recordings-box").hidden = false;
  $("recordings-said").textContent = text;
}

// The address of a recording: what people type is a path and no address, so that # ? % are letters of it.
function urlOf(path) {
  const text = recordings.base, isOnDisk = location.protocol === "file:";
  if (!text) return null;
  const isAddress = /^(file|https?):/i.test(text), isDrive = /^[a-z]:[\\/]/i.test(text);
  const folder = isAddress ? text : (isDrive ? "/" + text.slice(0, 2) + encoded(text.slice(2)) : encoded(text));
  try {
    const isWhole = isOnDisk && !isAddress && folder.startsWith("/");
    const url = new URL((isWhole ? "file://" : "") + folder.replace(/\/*$/, "/") + encoded(path), document.baseURI);
    return (isOnDisk ? url.protocol === "file:" : url.origin === location.origin) ? url.href : null;
  } catch {
    return null;
  }
}

const encoded = (path) => path.replace(/\\/g, "/").split("/").map(encodeURIComponent).join("/");

function shownUrl(url) {
  try {
    return decodeURI(url);
  } catch {
    return url;
  }
}

const whyNoUrl = () => !recordings.base ? "It is not known where the recordings are: give their folder, as seen from this page's." :
  recordings.base + " is no folder that this page may play from: give one " + (location.protocol === "file:" ? "on this computer." : "of the server that the page is from.");

// --- which recording -----------------------------------------------------------------------------------------

function atlasRecordings(found) {
  const known = recordings.scripts.get(found.script);
  known.resolve(found);
}

// Gives { path, unplayable, expanded } of a recording by its number.
async function recordingOf(number) {
  const at = Math.floor(number / PER_SCRIPT);
  if (!recordings.scripts.has(at)) {
    const known = {};
    known.found = new Promise((resolve, reject) => {
      known.resolve = resolve;
      loadScript("recordings/" + at + ".js", (said) => { recordings.scripts.delete(at); reject(new Error(said)); });
    });
    recordings.scripts.set(at, known);
  }
  const found = await recordings.scripts.get(at).found, i = number - at * PER_SCRIPT;
  return { path: found.paths[i], unplayable: found.unplayable[i] || "", expanded: found.expanded[i] || 0 };
}

// --- playing -------------------------------------------------------------------------------------------------

const clock = new Intl.NumberFormat("en", { maximumFractionDigits: 3, useGrouping: false });

// Plays a window out of its recording; the line `head` moves over its picture, if it has one.
async function toggleWindow(one, button, head) {
  const key = one.key;
  if (player.now && player.now.key === key) return stopSound();
  stopSound();
  let found = null;
  try {
    found = await recordingOf(one.recording);
  } catch (error) {
    return openRecordings(error.message);
  }
  if (!button.isConnected) return; // another page was opened meanwhile
  const url = urlOf(found.path);
  if (!url) {
    button.textContent = "no sound";
    return openRecordings(whyNoUrl());
  }
  const from = Math.max(0, one.offset_ms / 1000), to = (one.offset_ms + state.data.window_ms) / 1000;
  const lost = () => openRecordings("Not played: " + shownUrl(url) + ", second " + clock.format(from) +
    ". The file is not there, or this browser cannot play it. Where are the recordings?");
  const sound = { audio: new Audio(), button, head, from, to, key, lost };
  if (found.expanded) { // stored slower than it was recorded: all its seconds are longer
    await new Promise((resolve) => {
      sound.audio.onloadedmetadata = resolve;
      sound.audio.onerror = resolve;
      sound.audio.src = url;
    });
    const times = (sound.audio.duration || found.expanded) / found.expanded;
    sound.from *= times;
    sound.to *= times;
  } else {
    sound.audio.src = url + "#t=" + clock.format(from) + "," + clock.format(to);
  }
  playSound(sound);
}
