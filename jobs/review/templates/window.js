// One window, large: its picture, its sound, what is known of it; the next ones are made ready meanwhile.
"use strict";

const AHEAD = 4, BEHIND = 1;
const ready = new Map();

function mediaOf(at) {
  const window = review.data.windows[at];
  if (!ready.has(at)) {
    const image = element("img", { alt: pictureWords(window, at), decoding: "sync" });
    const media = { image, audio: null, broken: "" };
    const breaks = (file) => () => { if (ready.get(at) === media) { media.broken = file; showBroken(at); } };
    image.onerror = breaks(window.picture);
    image.src = window.picture;
    if (window.sound) {
      media.audio = element("audio", { preload: "auto", src: window.sound });
      media.audio.addEventListener("error", breaks(window.sound));
    }
    ready.set(at, media);
  }
  return ready.get(at);
}

function pictureWords(window, at) {
  return "Spectrogram of window " + (at + 1) + ": " + window.recorder + ", " + (window.local || window.utc || "no clock time") +
    ". Time 0 to " + review.data.window_s + " s, frequency up to " + review.data.highest_khz + " kHz.";
}

function showBroken(at) {
  const file = at === review.at && ready.has(at) ? ready.get(at).broken : "";
  if (file || at === review.at) complain("media", file && file + " is missing next to this page, or damaged.");
}

// Windows that are withheld are not loaded. Sounds that are far away are let go: browsers allow only so many.
function makeReady() {
  const n = review.data.windows.length, wanted = new Set([review.at]);
  for (let at = review.at, i = 0; i < AHEAD; i++) {
    at = review.isGrid ? -1 : nextWindow(at);
    if (at < 0) break;
    wanted.add(at);
  }
  for (let i = -BEHIND; i <= AHEAD; i++) if (review.data.windows[review.at + i]) wanted.add((review.at + i) % n);
  for (const [at, media] of ready) {
    if (wanted.has(at)) continue;
    ready.delete(at);
    if (media.audio) media.audio.src = "";
  }
  for (const at of wanted) {
    if (isSpeech(review.data.windows[at])) continue;
    const media = mediaOf(at);
    if (media.image.decode) media.image.decode().catch(() => {});
  }
}

function showWindow() {
  const window = here(), isWithheld = isSpeech(window);
  stopSound();
  $("withheld").hidden = !isWithheld;
  $("strip").hidden = isWithheld;
  const media = isWithheld ? null : mediaOf(review.at);
  $("picture").replaceChildren(...(media ? [media.image] : []));
  showBroken(review.at);
  $("play").hidden = !(media && media.audio);
  $("no-sound").hidden = Boolean(isWithheld || (media && media.audio));
  showFacts(window);
  showAsked();
  restartClock();
  if (media && media.audio && $("autoplay").checked) playSound(soundHere());
  setTimeout(makeReady); // after the window is painted
}

const soundHere = () => ({ audio: mediaOf(review.at).audio, head: $("playhead"), button: $("play") });

function toggleHere() {
  if (!isSpeech(here()) && mediaOf(review.at).audio) toggleSound(soundHere());
}

function showFacts(window) {
  const n = review.data.windows.length;
  $("place").textContent = "Window " + (review.at + 1) + " of " + n;
  const facts = [
    ["Recorder", window.recorder + (window.site && window.site !== window.recorder ? " · " + window.site : "")],
    ["Local time", window.local], ["UTC", window.utc || "no clock time"],
    ["Recording", window.recording ? window.recording + ", at " + window.recording_offset_s.toFixed(1) + " s" : ""],
    ["Sound", window.sound ? (window.gain_db ? window.gain_db + " dB louder than recorded" : "as loud as recorded") : ""],
    ["Note", window.is_partial ? "partly recorded" : ""],
  ];
  if ($("scores").checked) {
    facts.push(["Score", window.score === null ? "none" : String(Number(window.score.toPrecision(4)))]);
    facts.push(["Proposed", window.proposal]);
  }
  const rows = facts.filter(([, value]) => value);
  $("facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

// --- what is asked -------------------------------------------------------------------------------------------

function showAsked() {
  const window = here(), marks = { yes: "yes", no: "no", unsure: "unsure" };
  $("question").textContent = review.sound;
  const rows = review.sounds.map((sound, i) => {
    const answer = review.isGrid ? undefined : answerOf(window, sound);
    const button = element("button", { type: "button", className: "sound-name" });
    button.append(
      element("kbd", { textContent: i < 9 ? String(i + 1) : "" }), element("span", { className: "what", textContent: sound }),
      element("span", { className: "answer " + (answer || ""), textContent: marks[answer] || "" }),
    );
    button.setAttribute("aria-pressed", String(sound === review.sound));
    button.addEventListener("click", (event) => { pick(i); if (event.detail) button.blur(); });
    return element("li", {}, button);
  });
  $("sounds").replaceChildren(...rows);
  const answer = review.isGrid ? undefined : answerOf(window, review.sound);
  for (const verdict of ["yes", "no", "unsure"]) $(verdict).setAttribute("aria-pressed", String(answer === verdict));
  $("speech").setAttribute("aria-pressed", String(!review.isGrid && answerOf(window, SPEECH) === "yes"));
  $("said").textContent = review.isGrid ? "" : $("place").textContent + ". " + review.sound + "? " + (answer ? "Answered: " + answer + "." : "");
}

function pick(i) {
  if (!review.sounds[i]) return;
  review.sound = review.sounds[i];
  showAsked();
  if (review.isGrid) showMarks();
}

// --- progress ------------------------------------------------------------------------------------------------

const N_RECENT = 20;

function showProgress() {
  const n = review.data.windows.length, nDone = review.data.windows.filter(isDone).length;
  $("bar").max = n;
  $("bar").value = nDone;
  const times = new Map();
  for (const one of mine()) if (one.origin === "here") times.set(one.draw, (times.get(one.draw) || 0) + one.seconds);
  const recent = [...times.values()].slice(-N_RECENT).sort((a, b) => a - b);
  const each = recent.length ? recent[Math.floor(recent.length / 2)] : 0;
  const left = Math.round(((n - nDone) * each) / 60);
  $("progress-words").textContent = nDone + " of " + n + (recent.length ? " · " + each.toFixed(1) + " s each" : "") +
    (nDone < n && recent.length >= 5 ? " · about " + (left ? left + " min" : "a minute") + " left" : "");
  $("finished").hidden = nDone < n;
  $("undo").disabled = !lastAction();
  showUnsaved();
}
