// One sound at a time, with a line that moves over its picture.
"use strict";

const player = { now: null, rate: 1, isLooped: false };

// A sound is { audio, button, head }, and of a part of a file also { from, to } in seconds and { key }, which says what
// it is. The line `head` moves over the box that it is in; `lost` is called where the file cannot be played. The same
// sound again stops.
const keyOfSound = (sound) => sound.key || sound.audio;

function toggleSound(sound) {
  const isSame = player.now && keyOfSound(player.now) === keyOfSound(sound);
  stopSound();
  if (!isSame) playSound(sound);
}

function playSound(sound) {
  stopSound();
  const { audio, button } = sound;
  player.now = sound;
  button.setAttribute("aria-pressed", "true");
  button.textContent = "■ Stop";
  setRate(player.rate);
  audio.onended = audio.onpause = () => endSound(sound); // a browser pauses at the end of a part by itself
  audio.ontimeupdate = () => { if (audio.currentTime >= endOf(sound)) endSound(sound); };
  audio.onerror = () => loseSound(sound);
  fromStart(sound);
  const move = () => {
    if (player.now !== sound) return;
    const from = sound.from || 0, to = endOf(sound);
    if (audio.currentTime >= to) return endSound(sound);
    if (sound.head && Number.isFinite(to)) {
      sound.head.hidden = false;
      sound.head.style.left = Math.min(100, Math.max(0, (100 * (audio.currentTime - from)) / (to - from))) + "%";
    }
    requestAnimationFrame(move);
  };
  requestAnimationFrame(move);
}

// Browsers play from 1/16 to 16 times as fast.
function setRate(rate) {
  player.rate = rate;
  if (!player.now) return;
  const { audio } = player.now;
  audio.preservesPitch = false; // slower is lower: what is too high to hear comes down
  audio.defaultPlaybackRate = audio.playbackRate = rate;
}

const endOf = ({ audio, to }) => to || audio.duration || Infinity;

function fromStart(sound) {
  sound.audio.currentTime = sound.from || 0;
  sound.audio.play().catch((error) => {
    if (player.now === sound && error.name !== "AbortError") loseSound(sound);
  });
}

function endSound(sound) {
  if (player.now !== sound) return;
  if (!player.isLooped) return stopSound();
  if (!sound.isAgain) {
    sound.isAgain = true; // the pause at the end, and the end, are one
    setTimeout(() => { sound.isAgain = false; if (player.now === sound) fromStart(sound); });
  }
}

function loseSound(sound) {
  if (player.now !== sound) return;
  stopSound();
  sound.button.textContent = "no sound";
  if (sound.lost) sound.lost();
}

function stopSound() {
  if (!player.now) return;
  const { audio, head, button } = player.now;
  player.now = null;
  audio.onended = audio.onpause = audio.ontimeupdate = audio.onerror = null;
  audio.pause();
  if (head) head.hidden = true;
  button.textContent = "▶ Play";
  button.removeAttribute("aria-pressed");
}
