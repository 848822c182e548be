// All windows of a cluster or a sound: read from their columns, filtered, sorted, listed a few at a time, and played.
"use strict";

const members = { loaded: new Map(), at: null };
const PER_PAGE = 25, IS_PARTIAL = 1, IS_LOCAL = 2;
const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

function unpacked({ type, least, data }, n) {
  if (!type) return new Float64Array(n).fill(least);
  const raw = new ARRAYS[type](Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)).buffer);
  return least ? Float64Array.from(raw, (value) => value + least) : raw;
}

function atlasMembers({ id, n, columns }) {
  const read = { id, n };
  for (const name of Object.keys(columns)) read[name] = unpacked(columns[name], n);
  members.loaded.get(id).resolve(read);
}

// Gives the columns of the windows of a cluster or a sound, which are loaded when they are first asked for.
function membersOf(id) {
  if (!members.loaded.has(id)) {
    const known = {};
    known.found = new Promise((resolve, reject) => {
      known.resolve = resolve;
      loadScript("members/" + id + ".js", (said) => { members.loaded.delete(id); reject(new Error(said)); });
    });
    members.loaded.set(id, known);
  }
  return members.loaded.get(id).found;
}

// What there is to know of a window: row `i` of a cluster's columns.
function windowAt(all, i) {
  const { origin_ms: origin, hop_ms: hop, recorders, sites, untimed } = state.data;
  const recorder = all.recorder[i], isTimed = !untimed.includes(recorder);
  const isLocal = isTimed && Boolean(all.flags[i] & IS_LOCAL);
  return {
    key: all.id + " " + recorder + " " + all.cell[i], cluster: all.cluster ? all.cluster[i] : all.id, i, cell: all.cell[i], recorder: recorders[recorder], iRecorder: recorder,
    site: sites[all.site[i]], start_ms: origin + all.cell[i] * hop + all.shift_ms[i], isTimed, isLocal,
    offset_s: all.utc_offset_s[i], recording: all.recording[i], offset_ms: all.offset_ms[i], distance: all.distance[i],
    isPartial: Boolean(all.flags[i] & IS_PARTIAL),
    ...(all.probability ? { probability: all.probability[i], verdict: state.data.verdicts[all.verdict[i]] } : {}),
  };
}

// Milliseconds of the local clock, or of UTC where local time is unknown; NaN without a clock.
function clockOf(all, i) {
  const { origin_ms: origin, hop_ms: hop, untimed } = state.data;
  if (untimed.includes(all.recorder[i])) return NaN;
  return origin + all.cell[i] * hop + all.shift_ms[i] + (all.flags[i] & IS_LOCAL ? 1000 * all.utc_offset_s[i] : 0);
}

function whenWords(one) {
  if (!one.isTimed) return "no clock time";
  const text = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");
  if (!one.isLocal) return text(one.start_ms) + " UTC";
  const minutes = Math.abs(one.offset_s) / 60, two = (n) => String(Math.floor(n)).padStart(2, "0");
  const sign = one.offset_s < 0 ? "−" : "+";
  return text(one.start_ms + 1000 * one.offset_s) + " (UTC" + sign + two(minutes / 60) + ":" + two(minutes % 60) + ")";
}

// --- the list ------------------------------------------------------------------------------------------------

async function startMembers(id) {
  const form = $("members-form");
  if (!form) return;
  try {
    const all = await membersOf(id);
    if (state.shown !== id) return;
    members.at = { all, rows: [], page: 0 };
  } catch (error) {
    $("members-said").textContent = error.message;
    return;
  }
  const { all } = members.at, used = (column) => [...new Set(column)].sort((a, b) => a - b);
  fillChoice(form.elements.recorder, used(all.recorder), state.data.recorders);
  fillChoice(form.elements.site, used(all.site), state.data.sites.map((site) => site || "no site"));
  form.addEventListener("input", listMembers);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(listMembers));
  $("members-before").addEventListener("click", () => turnPage(-1));
  $("members-after").addEventListener("click", () => turnPage(1));
  listMembers();
}

function fillChoice(select, values, names) {
  select.append(...values.map((value) => element("option", { value: String(value), textContent: names[value] })));
  select.closest("label").hidden = values.length < 2;
}

const DAY = 86400000, HOUR = 3600000;

// Rows that the form lets through, in its order. Hours may run over midnight: from 22 to 3.
function chosenRows(all, { recorder, site, verdict = "", from, to, since, until, order }) {
  const wanted = (value) => (value === "" ? null : Number(value));
  const [ofRecorder, ofSite, said, first, last] = [recorder, site, verdict, from, to].map(wanted);
  const begin = since ? Date.parse(since + "T00:00Z") : -Infinity, end = until ? Date.parse(until + "T00:00Z") + DAY : Infinity;
  const needsClock = first !== null || last !== null || since || until;
  const rows = [], low = first ?? 0, high = last ?? 23;
  const clocks = Float64Array.from({ length: all.n }, (_, i) => clockOf(all, i));
  for (let i = 0; i < all.n; i++) {
    if (ofRecorder !== null && all.recorder[i] !== ofRecorder) continue;
    if (ofSite !== null && all.site[i] !== ofSite) continue;
    if (said !== null && all.verdict[i] !== said) continue;
    if (needsClock) {
      const at = clocks[i], hour = Math.floor((((at % DAY) + DAY) % DAY) / HOUR);
      if (!(at >= begin && at < end)) continue;
      if (low <= high ? hour < low || hour > high : hour < low && hour > high) continue;
    }
    rows.push(i);
  }
  const late = (i) => (Number.isNaN(clocks[i]) ? Infinity : clocks[i]);
  const probable = (i) => (Number.isNaN(all.probability[i]) ? -1 : all.probability[i]);
  const orders = {
    probable: (a, b) => probable(b) - probable(a), unlikely: (a, b) => probable(a) - probable(b),
    near: (a, b) => all.distance[a] - all.distance[b], far: (a, b) => all.distance[b] - all.distance[a],
    first: (a, b) => (late(a) === late(b) ? 0 : late(a) - late(b)), last: (a, b) => (late(a) === late(b) ? 0 : late(b) - late(a)),
    recorder: () => 0, hour: (a, b) => clocks[a] % DAY - clocks[b] % DAY || 0,
  };
  return rows.sort((a, b) => orders[order](a, b) || a - b);
}

function listMembers() {
  const form = $("members-form"), { all } = members.at;
  members.at.rows = chosenRows(all, Object.fromEntries(new FormData(form)));
  members.at.page = 0;
  showMembers();
}

function turnPage(by) {
  members.at.page += by;
  showMembers();
  $("members").scrollIntoView({ block: "start" });
}

async function showMembers() {
  const { all, rows, page } = members.at, n = rows.length, first = page * PER_PAGE;
  stopSound();
  const shown = Array.from(rows.slice(first, first + PER_PAGE), (i) => windowAt(all, i));
  const listed = shown.map(memberRow);
  $("members-list").replaceChildren(...(n ? [memberTable(listed.map(({ row }) => row))] : []));
  $("members-said").textContent = n === 0 ? (all.n ? "No window is left: take a filter away." : "No window is listed.") :
    n + (n === all.n ? "" : " of " + all.n) + (n === 1 ? " window" : " windows") +
    (n > PER_PAGE ? ", " + (first + 1) + " to " + (first + shown.length) : "");
  $("members-before").disabled = page === 0;
  $("members-after").disabled = first + PER_PAGE >= n;
  $("members-pages").hidden = n <= PER_PAGE;
  for (const { one, place, button } of listed) await showFile(one, place, button);
}

function memberTable(rows) {
  const ofSound = isSound(members.at.all.id), where = ["Recorder", "Site", "Local time", "Recording"];
  const names = ["On the map", "Sound", ...(ofSound ? ["Verdict", "Probability", "Cluster", ...where] : [...where, "Distance to the centroid"])];
  const isNumber = (name) => name === "Probability" || name.startsWith("Distance");
  const cells = names.map((name) => element("th", { scope: "col", textContent: name, className: isNumber(name) ? "n" : "" }));
  return element("table", {}, element("thead", {}, element("tr", {}, ...cells)), element("tbody", {}, ...rows));
}

function memberRow(one) {
  const place = element("td", { className: "file" }), button = playButton(one);
  const thumb = thumbOf(one.iRecorder, one.cell);
  const row = element("tr", {},
    element("td", { className: "thumb" }, ...(thumb ? [thumbButton(one, thumb, () => button && !button.disabled)] : [])), element("td", { className: "hear" }, ...(button ? [button, saveButton(one)] : [])),
    ...soundCells(one), element("th", { scope: "row", textContent: one.recorder }), element("td", { textContent: one.site || "–" }),
    element("td", { className: "when", textContent: whenWords(one) + (one.isPartial ? ", partly recorded" : "") }), place,
    ...(one.probability === undefined ? [numberCell(one.distance.toPrecision(3))] : []));
  return { row, one, place, button };
}

const numberCell = (textContent) => element("td", { className: "n", textContent });

// What is known of a window on a sound's page.
function soundCells(one) {
  if (one.probability === undefined) return [];
  return [element("td", { textContent: one.verdict || "–" }), numberCell(Number.isNaN(one.probability) ? "–" : one.probability.toFixed(2)),
    element("td", {}, element("a", { href: "#cluster-" + one.cluster, textContent: String(one.cluster) }))];
}

// A button that plays a window; none if sound was left out, or no recording is known.
function playButton(one, head) {
  if (state.place === null || one.recording < 0) return null;
  const button = element("button", { type: "button", className: "play", textContent: "▶ Play" });
  button.ariaLabel = "Play the window of " + one.recorder + ", " + whenWords(one);
  button.addEventListener("click", () => toggleWindow(one, button, head));
  return button;
}

// Fills in file and second, and takes the button away from what no browser plays.
async function showFile(one, place, button) {
  if (one.recording < 0) {
    place.textContent = "–";
    return;
  }
  try {
    const { path, unplayable } = await recordingOf(one.recording);
    place.textContent = path + ", at " + (Math.max(0, one.offset_ms) / 1000).toFixed(1) + " s";
    if (!button || !unplayable) return;
    button.disabled = true;
    if (button.nextElementSibling) button.nextElementSibling.hidden = true;
    button.textContent = "no sound";
    place.append(element("span", { className: "quiet", textContent: " · browsers do not play " + unplayable }));
  } catch (error) {
    place.textContent = error.message;
  }
}
