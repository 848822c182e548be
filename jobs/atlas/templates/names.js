// Names and notes of clusters: kept in the browser, saved and read as a table.
"use strict";

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
  searchClusters();
  $("names-table").hidden = !rows.length;
  $("names-table").tBodies[0].replaceChildren(...rows);
}

function downloadNames() {
  const n = saveNames(state.names, state.data.names_id, "names.csv");
  $("names-said").textContent = n + (n === 1 ? " cluster" : " clusters") + " in names.csv.";
}

// Rows carry the identity of the clustering: elsewhere the same number is another sound. Spreadsheets know UTF-8 by its mark.
function saveNames(names, identity, file) {
  const ids = Object.keys(names).map(Number).filter((id) => isGiven(names[id])).sort((a, b) => a - b);
  const rows = ids.map((id) => [id, names[id].name, names[id].notes, identity]);
  saveTable([["\ufeffcluster", "name", "notes", "clustering_id"], ...rows], file);
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
  const replaced = [];
  let n = 0;
  for (const [cell, name, notes] of read) {
    const id = /^\d+([.,]0*)?$/.test(cell) ? parseInt(cell, 10) : -1;
    if (!ids.has(id)) unknown.push(cell || "(none)");
    else if (name || notes) {
      const before = state.names[id];
      if (isGiven(before) && (before.name !== name || before.notes !== notes)) replaced.push(id + " (" + (before.name || "notes") + ")");
      state.names[id] = { name, notes };
      n += 1;
    }
  }
  keepNames();
  showNames();
  return n + (n === 1 ? " name" : " names") + " taken over; " + (replaced.length ? "of these replaced: cluster " + replaced.slice(0, 5).join(", ") + (replaced.length > 5 ? " …" : "") + "; " : "") +
    "others stay as they were." +
    (unknown.length ? " Not here: cluster " + unknown.slice(0, 5).join(", ") + (unknown.length > 5 ? " …" : "") + "." : "") +
    (read.length && !read.some((row) => row[3]) ? " The file does not say of which clustering it is." : "");
}
