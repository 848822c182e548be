// The page of a batch: what keys and buttons do. Everything that a study calls something goes through textContent.
"use strict";

const ASK_EVERY = 20;

async function reviewData(data) {
  review.data = data;
  review.everySound = data.every_sound;
  $("waiting").hidden = true;
  $("app").hidden = false;
  await openStore(data.batch);
  if (store.refusal) complain("store", refusalWords());
  data.notes.forEach((text, i) => complain("note" + i, text));
  $("known").replaceChildren(...data.known.map((sound) => element("option", { value: sound })));
  $("every").checked = review.everySound;
  $("every").disabled = data.every_sound || data.sounds.length < 2;
  startLooks(store.settings, keepSetting);
  startButtons();
  setReviewer(store.settings.reviewer || "");
  if (!review.reviewer) askReviewer();
  addEventListener("keydown", onKey);
  addEventListener("beforeunload", (event) => { if (store.nUnsaved) event.preventDefault(); });
  document.addEventListener("visibilitychange", onVisibility);
}

const refusalWords = () => "This browser keeps nothing for this page (" + store.refusal + "): decisions are lost when it is closed. Download the table every " + ASK_EVERY + " decisions.";

function setReviewer(name) {
  if (document.activeElement) document.activeElement.blur(); // a closed dialog holds the keys until the next frame
  review.reviewer = name;
  $("reviewer-name").textContent = name || "nobody";
  if (name) keepSetting("reviewer", name);
  startOver();
}

// Show the first window that is still to be answered.
function startOver() {
  tally();
  review.at = Math.max(0, nextWindow(-1));
  review.sound = nextSound(here());
  showProgress();
  if (review.isGrid) showMarks();
  else showWindow();
}

function complain(key, text) {
  const known = document.querySelector('[data-message="' + key + '"]');
  if (known) known.remove();
  if (!text) return;
  const close = element("button", { type: "button", textContent: "×", ariaLabel: "Close the message" });
  const line = element("p", { className: "message" }, element("span", { textContent: text }), close);
  line.dataset.message = key;
  close.addEventListener("click", () => line.remove());
  $("messages").append(line);
}

function onVisibility() {
  if (document.hidden) review.hiddenAt = performance.now();
  else {
    review.awayMs += performance.now() - review.hiddenAt;
    refreshStore().then(() => { tally(); showProgress(); showAsked(); }, refuseStore);
  }
}

// --- decisions -----------------------------------------------------------------------------------------------

// Nothing else shows before the decisions are on the disk; keys that come meanwhile were meant for what is not seen yet.
async function decide(windows, sounds, verdict, { stays = false } = {}) {
  const open = windows.filter((window) => !isSpeech(window) || sounds[0] === SPEECH);
  if (review.isBusy || !review.reviewer || !open.length || !sounds.length) return;
  review.isBusy = true;
  try {
    const wasKept = !store.refusal, records = decisions(open, sounds, verdict, secondsHere());
    await addDecisions(records);
    if (wasKept && store.refusal) complain("store", refusalWords());
    records.forEach(note);
    goOn(stays);
  } finally {
    review.isBusy = false;
  }
}

function goOn(stays) {
  if (review.isGrid) {
    const at = nextWindow(review.at);
    restartClock();
    showMarks();
    if (!stays && at >= 0) moveTo(at, false);
  } else {
    const isOpen = !isSpeech(here()) && review.everySound && !isDone(here());
    if (stays || isOpen) {
      if (isOpen) review.sound = nextSound(here());
      restartClock();
      showAsked();
    } else goTo(nextWindow(review.at));
  }
  requestAnimationFrame(() => { showProgress(); askToSave(); });
}

function goTo(at) {
  if (!review.data.windows[at]) return showWindow();
  review.at = at;
  review.sound = nextSound(here());
  showWindow();
}

const verdictOn = (verdict, stays) => decide(review.isGrid ? chosen() : [here()], [review.sound], verdict, { stays });

function restIsNo() {
  const windows = review.isGrid ? chosen() : [here()];
  const open = review.data.sounds.filter((sound) => windows.some((window) => answerOf(window, sound) === undefined));
  if (windows.length === 1) return decide(windows, open, "no");
  return decide(windows, [review.sound], "no");
}

function markSpeech() {
  const windows = review.isGrid ? chosen() : [here()];
  const isBack = windows.every((window) => answerOf(window, SPEECH) === "yes");
  return decide(windows, [SPEECH], isBack ? "no" : "yes", { stays: isBack }).then(() => { if (isBack && !review.isGrid) showWindow(); });
}

function lastAction() {
  for (let i = store.all.length - 1; i >= 0; i--) {
    const one = store.all[i];
    if (one.origin === "here" && one.reviewer === review.reviewer) return one.action;
  }
  return "";
}

async function undo() {
  const action = lastAction();
  if (review.isBusy || !action) return;
  review.isBusy = true;
  try {
    const gone = store.all.filter((one) => one.action === action);
    await removeDecisions(gone.map((one) => one.id));
    if (gone.some((one) => one.id <= savedUpTo())) complain("undo", "What was undone is in a table that was downloaded: decide again, or the lake keeps it.");
    tally();
    review.at = review.data.windows.findIndex((window) => window.draw === gone[0].draw);
    review.sound = gone[0].sound === SPEECH ? nextSound(here()) : gone[0].sound;
    if (review.isGrid) moveTo(review.at, false);
    else showWindow();
    showProgress();
  } finally {
    review.isBusy = false;
  }
}

// --- tables --------------------------------------------------------------------------------------------------

const savedUpTo = () => store.settings["saved " + review.reviewer] || 0;
const unsaved = () => mine().filter((one) => one.origin === "here" && one.id > savedUpTo()).length;

function showUnsaved() {
  const n = unsaved();
  $("download-words").textContent = n ? n + (n === 1 ? " decision is" : " decisions are") + " not downloaded yet" : "";
}

function askToSave() {
  if (store.refusal && store.nUnsaved >= ASK_EVERY && !$("save-dialog").open) $("save-dialog").showModal();
}

function download() {
  const name = (review.data.batch + "_" + review.reviewer).replace(/[^\p{L}\p{N}._-]+/gu, "-");
  const rows = tableRows(review.data, mine());
  saveTable(rows, name + ".csv");
  const last = Math.max(0, ...mine().map((one) => one.id));
  keepSetting("saved " + review.reviewer, last).then(showUnsaved);
  store.nUnsaved = 0;
  complain("table", rows.length - 1 + (rows.length === 2 ? " verdict is" : " verdicts are") + " in " + name + ".csv. Bring it into the lake with `dawnchorus verdicts add`.");
}

async function loadTable(file) {
  let found;
  try {
    found = readVerdicts(review.data, decodeText(await file.arrayBuffer()));
  } catch (error) {
    found = { records: [], problems: ["it cannot be read (" + error.message + ")"] };
  }
  if (found.problems.length) return complain("table", file.name + ": nothing was taken over; " + someOf(found.problems) + ".");
  const fresh = onlyNew(found.records, store.all);
  await addDecisions(fresh);
  const people = [...new Set(found.records.map((one) => one.reviewer))].join(", ");
  complain("table", file.name + ": " + fresh.length + " of " + found.records.length + " decisions were new here, of " + people + ".");
  startOver();
}

// --- who -----------------------------------------------------------------------------------------------------

function askReviewer() {
  const known = [...new Set(store.all.map((one) => one.reviewer))].sort();
  const buttons = known.map((name) => element("button", { type: "button", textContent: name }));
  buttons.forEach((button, i) => button.addEventListener("click", () => { $("reviewer-dialog").close(); setReviewer(known[i]); }));
  $("reviewers").replaceChildren(...buttons.flatMap((button) => [button, " "]));
  $("reviewer-field").value = review.reviewer;
  $("reviewer-cancel").hidden = !review.reviewer;
  $("reviewer-dialog").showModal();
}

function takeReviewer(event) {
  event.preventDefault();
  const name = $("reviewer-field").value.normalize("NFC").replace(/\p{C}+/gu, " ").trim();
  if (!name) return;
  $("reviewer-dialog").close();
  setReviewer(name);
}
