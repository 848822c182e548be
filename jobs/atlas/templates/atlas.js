// The atlas: shows clusters, the map, sounds and names. Everything that a study calls something goes through
// textContent; only what the templates made, and escaped, becomes markup.
"use strict";

const DAY_MS = 86400000;
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

function route() {
  const found = /^#cluster-(-?\d+)$/.exec(location.hash);
  const id = found && state.data.clusters.some(([one]) => one === Number(found[1])) ? Number(found[1]) : null;
  state.wanted = id;
  stopSound();
  if (id === null) {
    const before = state.shown;
    state.shown = null;
    $("cluster").hidden = true;
    $("overview").hidden = false;
    document.title = document.querySelector("#overview h1").textContent;
    const target = location.hash.length > 1 ? $(location.hash.slice(1)) : before !== null && $("card-" + before);
    if (target) target.scrollIntoView({ block: location.hash.length > 1 ? "start" : "center" });
    if (state.map) drawMap();
  } else if (state.loaded[id]) {
    showCluster(id);
  } else {
    loadScript("clusters/" + id + ".js", (said) => { $("cluster").textContent = said; swap(id); });
  }
}

// Pages from a folder may load scripts beside them: each hands what it holds to a function of the page.
function loadScript(source, lost) {
  const script = element("script", { src: source });
  script.onload = () => script.remove();
  script.onerror = () => { script.remove(); lost(script.src + " is missing beside this page."); };
  document.body.append(script);
}

function atlasCluster(found) {
  state.loaded[found.id] = found;
  if (state.wanted === found.id) showCluster(found.id);
}

function showCluster(id) {
  const found = state.loaded[id];
  const [before, after] = neighbours(id);
  const box = $("cluster");
  box.innerHTML = found.html; // escaped when it was made
  box.prepend(besideNav(before, after));
  box.append(besideNav(before, after));
  swap(id);
  startNaming(box.querySelector(".naming"), id);
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
  document.title = "Cluster " + id + " – " + document.querySelector("#overview h1").textContent;
  scrollTo(0, 0);
  $("cluster").focus({ preventScroll: true });
}

function neighbours(id) {
  const ids = state.data.clusters.map(([one]) => one);
  const place = ids.indexOf(id);
  return [ids[place - 1], place < 0 ? ids[0] : ids[place + 1]];
}

function besideNav(before, after) {
  const nav = element("nav", { className: "beside", ariaLabel: "Clusters by size" });
  const link = (id, text, rel) =>
    id === undefined ? element("span", {}) : element("a", { href: "#cluster-" + id, textContent: text, rel });
  nav.append(link(before, "← Cluster " + before + " (larger)", "prev"));
  nav.append(element("a", { className: "up", href: "#clusters", textContent: "All clusters" }));
  nav.append(link(after, "Cluster " + after + " (smaller) →", "next"));
  return nav;
}

function onKey(event) {
  const field = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (document.querySelector("dialog[open]")) return;
    if (field) field.blur();
    else if (state.shown !== null) location.hash = "#clusters";
    return;
  }
  if (document.querySelector("dialog[open]") || field || event.ctrlKey || event.metaKey || event.altKey) return;
  const [before, after] = neighbours(state.shown);
  if (pressLook(event)) return;
  if (event.key === "/" && state.shown === null) {
    event.preventDefault();
    $("cluster-search").focus();
  } else if (event.key === "j" && after !== undefined) location.hash = "#cluster-" + after;
  else if (event.key === "k" && before !== undefined) location.hash = "#cluster-" + before;
  else if (event.key === "p" && state.shown !== null) playNext();
  else if (event.key === "n" && state.shown !== null) {
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
