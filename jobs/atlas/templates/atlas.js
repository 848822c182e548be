// The atlas: shows clusters, the map, sounds and names. Everything that a study calls something goes through
// textContent; only what the templates made, and escaped, becomes markup.
"use strict";

const DAY_MS = 86400000;
const state = { data: null, names: {}, loaded: {}, wanted: null, shown: null, map: null };

function atlasData(data) {
  state.data = data;
  state.names = readNames();
  showNames();
  offerEarlierNames();
  if (data.map) startMap(data.map);
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
    const script = document.createElement("script");
    script.src = "clusters/" + id + ".js";
    script.onerror = () => { $("cluster").textContent = script.src + " is missing beside this page."; swap(id); };
    document.body.append(script);
  }
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
  box.querySelectorAll(".play").forEach((button) => button.addEventListener("click", () => toggleSound(soundOf(button))));
  startAttention();
  startCalendar(found.cells);
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
    if (field) field.blur();
    else if (state.shown !== null) location.hash = "#clusters";
    return;
  }
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  const [before, after] = neighbours(state.shown);
  if (event.key === "j" && after !== undefined) location.hash = "#cluster-" + after;
  else if (event.key === "k" && before !== undefined) location.hash = "#cluster-" + before;
  else if (event.key === "p" && state.shown !== null) playNext();
  else if (event.key === "n" && state.shown !== null) {
    event.preventDefault();
    document.querySelector(".naming input").focus();
  }
}

// --- sound ---------------------------------------------------------------------------------------------------

function soundOf(button) {
  const figure = button.closest("figure");
  return { button, audio: figure.querySelector("audio"), head: figure.querySelector(".playhead") };
}

function playNext() {
  const buttons = [...document.querySelectorAll("#cluster .play")];
  if (!buttons.length) return;
  const place = buttons.indexOf(state.last);
  state.last = buttons[(place + 1) % buttons.length];
  state.last.scrollIntoView({ block: "center" });
  playSound(soundOf(state.last));
}

// --- attention -----------------------------------------------------------------------------------------------

function startAttention() {
  const box = $("attention-on");
  if (!box) return;
  box.checked = $("cluster").classList.contains("attended");
  box.addEventListener("change", () => $("cluster").classList.toggle("attended", box.checked));
}

// --- names ---------------------------------------------------------------------------------------------------

const storeKey = () => "dawnchorus names " + state.data.names_id;

// What was typed here goes before what came with the clustering; an empty name says that it was taken away.
function readNames() {
  try {
    return { ...state.data.names, ...JSON.parse(localStorage.getItem(storeKey())) };
  } catch {
    return { ...state.data.names };
  }
}

function keepNames() {
  try {
    localStorage.setItem(storeKey(), JSON.stringify(state.names));
  } catch {
    $("names-said").textContent = "This browser keeps nothing for pages from a folder: download names.csv before you leave.";
  }
}

const isGiven = (one) => Boolean(one && (one.name || one.notes));
const isNamed = (id) => isGiven(state.names[id]);

function startNaming(form, id) {
  const known = state.names[id] || { name: "", notes: "" };
  form.elements.name.value = known.name;
  form.elements.notes.value = known.notes;
  form.addEventListener("submit", (event) => { event.preventDefault(); form.elements.name.blur(); });
  form.addEventListener("input", () => {
    const given = { name: form.elements.name.value.trim(), notes: form.elements.notes.value.trim() };
    if (given.name || given.notes || state.data.names[id]) state.names[id] = given;
    else delete state.names[id];
    keepNames();
    showNames();
  });
}

function showNames() {
  document.querySelectorAll("[data-name]").forEach((place) => {
    const known = state.names[place.dataset.name];
    place.textContent = known ? known.name : "";
    place.hidden = !place.textContent;
  });
  const rows = state.data.clusters.filter(([id]) => isNamed(id)).map(([id]) => {
    const row = element("tr", {});
    const cell = element("th", { scope: "row" });
    cell.append(element("a", { href: "#cluster-" + id, textContent: String(id) }));
    row.append(cell, element("td", { textContent: state.names[id].name }), element("td", { textContent: state.names[id].notes }));
    return row;
  });
  $("names-table").hidden = !rows.length;
  $("names-table").tBodies[0].replaceChildren(...rows);
}

function downloadNames() {
  const n = saveNames(state.names, state.data.names_id, "names.csv");
  $("names-said").textContent = n + (n === 1 ? " cluster" : " clusters") + " in names.csv.";
}

// Rows carry the identity of the clustering: elsewhere the same number is another sound.
function saveNames(names, identity, file) {
  const ids = Object.keys(names).map(Number).filter((id) => isGiven(names[id])).sort((a, b) => a - b);
  const rows = ids.map((id) => [id, names[id].name, names[id].notes, identity]);
  saveTable([["cluster", "name", "notes", "clustering_id"], ...rows], file);
  return rows.length;
}

// Older pages kept names by the run's settings, which an earlier clustering may share: they are offered, not shown.
function offerEarlierNames() {
  let names = null;
  try {
    if (localStorage.getItem(storeKey()) === null) names = JSON.parse(localStorage.getItem("dawnchorus names " + state.data.names_before));
  } catch {
    return;
  }
  const n = names ? Object.values(names).filter(isGiven).length : 0;
  if (!n) return;
  $("names-said").textContent = "This browser has " + n + " names from an older page of this run, maybe of another clustering: ";
  const button = element("button", { type: "button", textContent: "download them" });
  button.addEventListener("click", () => saveNames(names, "", "names-earlier.csv"));
  $("names-said").append(button);
}

async function loadNames(event) {
  const file = event.target.files[0];
  if (!file) return;
  const bytes = await file.arrayBuffer();
  event.target.value = "";
  $("names-said").textContent = takeNames(parseCsv(decodeText(bytes)));
}

// Takes names over from a table and returns what is to be said of it; a table of another clustering is refused.
function takeNames([header, ...rows]) {
  const places = ["cluster", "name", "notes", "clustering_id"].map((one) => (header || []).map((cell) => cell.trim()).indexOf(one));
  if (places[0] < 0 || places[1] < 0) return "That file has no columns cluster and name: expected a names.csv.";
  const read = rows.map((row) => places.map((place) => (place < 0 ? "" : asWritten((row[place] || "").trim())))).filter((row) => row.some(Boolean));
  const others = [...new Set(read.map((row) => row[3]).filter((one) => one && one !== state.data.names_id))];
  if (others.length) {
    return "These names are of the clustering " + others.join(", ") + ", this page is of " + state.data.names_id +
      ": numbers mean other sounds there. Nothing was taken over; `dawnchorus names` carries names by the windows that clusters share.";
  }
  const ids = new Set(state.data.clusters.map(([id]) => id));
  const unknown = [];
  let n = 0;
  for (const [cell, name, notes] of read) {
    const id = /^\d+([.,]0*)?$/.test(cell) ? parseInt(cell, 10) : -1;
    if (!ids.has(id)) unknown.push(cell || "(none)");
    else if (name || notes) {
      state.names[id] = { name, notes };
      n += 1;
    }
  }
  keepNames();
  showNames();
  return n + (n === 1 ? " name" : " names") + " taken over; others stay as they were." +
    (unknown.length ? " Not here: cluster " + unknown.slice(0, 5).join(", ") + (unknown.length > 5 ? " …" : "") + "." : "") +
    (read.length && !read.some((row) => row[3]) ? " The file does not say of which clustering it is." : "");
}

// --- calendar ------------------------------------------------------------------------------------------------

const dateOf = (day) => new Date((state.data.first_day + day) * DAY_MS).toISOString().slice(0, 10);

function startCalendar(cells) {
  const heat = $("heat");
  if (!heat) return;
  const counts = new Map(cells);
  const nDays = state.data.effort.length / 24;
  let at = [0, 0];
  const read = (day, hour) => {
    at = [day, hour];
    const n = counts.get(day * 24 + hour) || 0, all = state.data.effort[day * 24 + hour];
    const mark = $("heat-mark");
    mark.hidden = false;
    mark.style.left = (100 * day) / nDays + "%";
    mark.style.width = 100 / nDays + "%";
    mark.style.bottom = (100 * hour) / 24 + "%";
    mark.style.height = 100 / 24 + "%";
    const what = all ? n + " of " + all + " windows, " + ((100 * n) / all).toFixed(1) + " %" : "nothing recorded";
    $("heat-words").textContent = dateOf(day) + ", " + String(hour).padStart(2, "0") + " h: " + what;
  };
  const within = (value, n) => Math.min(n - 1, Math.max(0, Math.floor(value)));
  heat.addEventListener("pointermove", (event) => {
    const box = heat.getBoundingClientRect();
    read(within(((event.clientX - box.left) / box.width) * nDays, nDays), within((1 - (event.clientY - box.top) / box.height) * 24, 24));
  });
  heat.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    read(within(at[0] + step[0], nDays), within(at[1] + step[1], 24));
  });
}
