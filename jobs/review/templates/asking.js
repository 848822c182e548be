// Which sounds are asked about, by whom, and what is answered.
"use strict";

const SPEECH = "speech";
const review = {
  data: null, reviewer: "", sounds: [], sound: "", everySound: false, at: 0, answers: new Map(), speech: new Set(),
  isBusy: false, shownAt: 0, awayMs: 0, hiddenAt: 0, isGrid: false, selected: new Set(),
};

const here = () => review.data.windows[review.at];
const mine = () => store.all.filter((one) => one.reviewer === review.reviewer);

// What this reviewer said, by draw and sound; and the windows that anyone on this browser marked as speech.
function tally() {
  review.answers = new Map(review.data.windows.map((one) => [one.draw, new Map()]));
  review.speech = new Set();
  lastDecisions(store.all).forEach(note);
  const added = (store.settings.sounds || []).concat(mine().map((one) => one.sound));
  review.sounds = [...new Set([...review.data.sounds, ...added])].filter((sound) => sound !== SPEECH);
}

function note(one) {
  const answers = review.answers.get(one.draw);
  if (!answers) return;
  if (one.reviewer === review.reviewer) answers.set(one.sound, one);
  if (one.sound !== SPEECH) return;
  if (one.verdict === "yes") review.speech.add(one.draw);
  else if (one.reviewer === review.reviewer) tallySpeech(one.draw);
}

// A window is withheld while anyone on this browser says that it holds speech.
function tallySpeech(draw) {
  const said = lastDecisions(store.all.filter((one) => one.draw === draw && one.sound === SPEECH));
  if (!said.some((one) => one.verdict === "yes")) review.speech.delete(draw);
}

const answerOf = (window, sound) => (review.answers.get(window.draw).get(sound) || {}).verdict;
const isSpeech = (window) => review.speech.has(window.draw);

function isDone(window) {
  const answers = review.answers.get(window.draw);
  if (isSpeech(window)) return true;
  if (review.everySound) return review.data.sounds.every((sound) => answers.has(sound));
  return [...answers.keys()].some((sound) => sound !== SPEECH);
}

// The first sound that is still to be answered, of those that the batch asks about.
function nextSound(window) {
  return review.data.sounds.find((sound) => answerOf(window, sound) === undefined) || review.data.sounds[0];
}

// The next window to be answered after one, or the first of all; -1 if all are.
function nextWindow(after) {
  const n = review.data.windows.length;
  for (let i = 1; i <= n; i++) {
    const at = (after + i) % n;
    if (!isDone(review.data.windows[at])) return at;
  }
  return -1;
}

// Decisions of one moment share an action, by which they are undone. Whole seconds survive every spreadsheet; a later
// decision on the same window and sound is a later second.
function decisions(windows, sounds, verdict, seconds) {
  const action = Date.now() + "-" + Math.random().toString(36).slice(2, 8);
  const share = Math.round((10 * seconds) / (windows.length * sounds.length)) / 10;
  return windows.flatMap((window) => sounds.map((sound) => {
    const last = review.answers.get(window.draw).get(sound);
    const now = Math.floor(Date.now() / 1000) * 1000;
    const time = last ? Math.max(now, Date.parse(last.decided_at) + 1000) : now;
    const decided_at = new Date(time).toISOString().replace(".000Z", "Z");
    return { action, draw: window.draw, sound, verdict, reviewer: review.reviewer, decided_at, seconds: share, origin: "here" };
  }));
}

// Seconds that the window was looked at; while the page is hidden none pass.
function secondsHere() {
  return Math.max(0, performance.now() - review.shownAt - review.awayMs) / 1000;
}

function restartClock() {
  review.shownAt = performance.now();
  review.awayMs = 0;
}

// Names that differ in a letter or two are likely meant to be the same.
function nearestSound(name) {
  const known = [...new Set([...review.sounds, ...review.data.known])];
  const loose = (text) => text.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, " ").trim();
  const wanted = loose(name);
  const same = known.find((sound) => loose(sound) === wanted);
  if (same) return { same };
  const near = known.map((sound) => [distance(wanted, loose(sound)), sound]).sort((a, b) => a[0] - b[0])[0];
  return near && near[0] <= Math.max(1, Math.floor(wanted.length / 4)) ? { near: near[1] } : {};
}

function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, j) => j);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[other.length];
}
