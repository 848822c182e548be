// The atlas: shows clusters, the map, sounds and names. Everything that a study calls something goes through
// textContent; only what the templates made, and escaped, becomes markup.
"use strict";

const DAY_MS = 86400000;
// `shown` and `wanted` are a cluster's number, a sound's key, or null for the overview.
const state = { data: null, place: null, names: {}, loaded: {}, wanted: null, shown: null, map: null };

// Where the recordings are, from the page's folder; null on a page without sound.
function atlasPlace(path) {
  state.place = path;
}

function atlasData(data) {
  state.data = data;
  state.names = readNames();
  showNames();
  offerEarlierNames();
  if (data.map) startMap(data.map);
  startRecordings();
  startSaving();
  startTools();
  startViewer();
  startSearch();
  addEventListener("hashchange", route);
  addEventListener("keydown", onKey);
  $("names-download").addEventListener("click", downloadNames);
  $("names-file").addEventListener("change", loadNames);
  route();
}

// --- which page is shown -------------------------------------------------------------------------------------

const isSound = (id) => typeof id === "string";
const hashOf = (id) => (isSound(id) ? "#sound-" : "#cluster-") + id;

// The cluster's number or the sound's key that the address names; null for the overview.
function wantedPart() {
  const found = /^#(?:cluster-(-?\d+)|sound-(\w+))$/.exec(location.hash);
  const id = found && (found[2] || Number(found[1])), { clusters, sounds } = state.data;
  return found && (isSound(id) ? sounds : clusters).some(([one]) => one === id) ? id : null;
}

function route() {
  const id = wantedPart();
  state.wanted = id;
  stopSound();
  if (id === null) {
    const before = state.shown;
    state.shown = null;
    $("cluster").hidden = true;
    $("overview").hidden = false;
    document.title = document.querySelector("#overview h1").textContent;
    const target = location.hash.length > 1 ? $(location.hash.slice(1)) : before !== null && $((isSound(before) ? "row-" : "card-") + before);
    if (target) target.scrollIntoView({ block: location.hash.length > 1 ? "start" : "center" });
    if (state.map) drawMap();
  } else if (state.loaded[id]) {
    showPage(id);
  } else {
    loadScript((isSound(id) ? "sounds/" : "clusters/") + id + ".js", (said) => { $("cluster").textContent = said; swap(id); });
  }
}

// Pages from a folder may load scripts next to them: each hands what it holds to a function of the page.
function loadScript(source, lost) {
  const script = element("script", { src: source });
  script.onload = () => script.remove();
  script.onerror = () => { script.remove(); lost(script.src + " is missing next to this page."); };
  document.body.append(script);
}

function atlasPart(found) {
  state.loaded[found.id] = found;
  if (state.wanted === found.id) showPage(found.id);
}

function showPage(id) {
  const found = state.loaded[id];
  const [before, after] = neighbours(id);
  const box = $("cluster");
  box.innerHTML = found.html; // escaped when it was made
  box.prepend(besideNav(id, before, after));
  box.append(besideNav(id, before, after, ", again"));
  swap(id);
  if (!isSound(id)) startNaming(box.querySelector(".naming"), id);
  box.querySelectorAll(".exemplars .play").forEach((button) => button.addEventListener("click", () => toggleSound(soundOf(button))));
  startAttention();
  startPictures(box);
  startCalendar(found.cells);
  startMembers(id);
  showBase();
  showNames();
}

function swap(id) {
  state.shown = id;
  $("overview").hidden = true;
  $("cluster").hidden = false;
  document.title = wordsOf(id) + " – " + document.querySelector("#overview h1").textContent;
  scrollTo(0, 0);
  $("cluster").focus({ preventScroll: true });
}

const wordsOf = (id) => (isSound(id) ? state.data.sounds.find(([one]) => one === id)[1] : "Cluster " + id);

function neighbours(id) {
  const ids = state.data[isSound(id) ? "sounds" : "clusters"].map(([one]) => one);
  const place = ids.indexOf(id);
  return [ids[place - 1], place < 0 ? ids[0] : ids[place + 1]];
}

function besideNav(id, before, after, again = "") {
  const [what, to, less, more] = isSound(id) ? ["Sounds by name", "sounds", "", ""] : ["Clusters by size", "clusters", " (larger)", " (smaller)"];
  const nav = element("nav", { className: "beside", ariaLabel: what + again });
  const link = (other, text, rel) =>
    other === undefined ? element("span", {}) : element("a", { href: hashOf(other), textContent: text, rel });
  nav.append(link(before, before === undefined ? "" : "← " + wordsOf(before) + less, "prev"));
  nav.append(element("a", { className: "up", href: "#" + to, textContent: "All " + to }));
  nav.append(link(after, after === undefined ? "" : wordsOf(after) + more + " →", "next"));
  return nav;
}

function onKey(event) {
  const field = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (document.querySelector("dialog[open]")) return;
    if (field) field.blur();
    else if (state.shown !== null) location.hash = isSound(state.shown) ? "#sounds" : "#clusters";
    return;
  }
  if (document.querySelector("dialog[open]") || field || event.ctrlKey || event.metaKey || event.altKey) return;
  const [before, after] = neighbours(state.shown);
  if (pressLook(event)) return;
  if (event.key === "/" && state.shown === null) {
    event.preventDefault();
    $("cluster-search").focus();
  } else if (event.key === "j" && after !== undefined) location.hash = hashOf(after);
  else if (event.key === "k" && before !== undefined) location.hash = hashOf(before);
  else if (event.key === "p" && state.shown !== null) playNext();
  else if (event.key === "n" && state.shown !== null && !isSound(state.shown)) {
    event.preventDefault();
    document.querySelector(".naming input").focus();
  }
}

// --- how pictures look and sounds play -----------------------------------------------------------------------

const LOOKS_KEY = "dawnchorus looks";

function startTools() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(LOOKS_KEY)) || {};
  } catch { /* nothing is kept for pages from a folder */ }
  startLooks(kept, () => {
    try {
      localStorage.setItem(LOOKS_KEY, JSON.stringify(LOOKS));
    } catch { /* as it is now, until the page is closed */ }
  });
  if (!$("speed")) return;
  $("speed").addEventListener("change", () => setRate(Number($("speed").value)));
  $("loop").addEventListener("change", () => { player.isLooped = $("loop").checked; });
}

// Keys for how pictures look and sounds play: returns whether it was one of them.
function pressLook(event) {
  const change = { b: ["brightness", 0.1], B: ["brightness", -0.1], c: ["contrast", 0.1], C: ["contrast", -0.1] }[event.key];
  if (change) look(...change);
  else if (event.key === "l" && $("loop")) $("loop").click();
  else if (event.key === "s" && $("speed")) {
    $("speed").selectedIndex = ($("speed").selectedIndex + 1) % $("speed").options.length;
    $("speed").dispatchEvent(new Event("change"));
  } else return false;
  return true;
}

// --- clusters by number or name ------------------------------------------------------------------------------

function startSearch() {
  const field = $("cluster-search");
  field.addEventListener("input", searchClusters);
  field.addEventListener("keydown", (event) => {
    const found = document.querySelector(".card[id]:not([hidden]) a");
    if (event.key === "Enter" && found) location.hash = found.hash;
  });
}

const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// Every word is looked for in number, name, notes and flags; a number alone is a cluster's own.
function searchClusters() {
  const words = folded($("cluster-search").value).split(/\s+/).filter(Boolean);
  let n = 0;
  for (const [id] of state.data.clusters) {
    const card = $("card-" + id), { name = "", notes = "" } = state.names[id] || {};
    const flags = [...card.querySelectorAll(".flag")].map((one) => one.textContent), text = folded([name, notes, ...flags].join(" "));
    card.hidden = !words.every((word) => word === String(id) || text.includes(word));
    n += card.hidden ? 0 : 1;
  }
  $("cluster-found").textContent = words.length ? n + " of " + state.data.clusters.length + " clusters" : "";
}

// --- sound ---------------------------------------------------------------------------------------------------

function soundOf(button) {
  const figure = button.closest("figure");
  return { button, audio: figure.querySelector("audio"), head: figure.querySelector(".playhead") };
}

function playNext() {
  const buttons = [...document.querySelectorAll("#cluster .play:not(:disabled)")];
  if (!buttons.length) return;
  const place = buttons.indexOf(player.now ? player.now.button : state.last);
  state.last = buttons[(place + 1) % buttons.length];
  state.last.scrollIntoView({ block: "center" });
  stopSound();
  state.last.click();
}

// --- attention -----------------------------------------------------------------------------------------------

function startAttention() {
  const box = $("attention-on");
  if (!box) return;
  box.checked = $("cluster").classList.contains("attended");
  box.addEventListener("change", () => $("cluster").classList.toggle("attended", box.checked));
}
