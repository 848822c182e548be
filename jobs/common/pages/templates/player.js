// One sound at a time, with a line that moves over its picture.
"use strict";

const player = { now: null, rate: 1, isLooped: false };

// A sound is { audio, head, button }: the line moves over the box that it is in. The same sound again stops.
function toggleSound(sound) {
  const isSame = player.now && player.now.audio === sound.audio;
  stopSound();
  if (!isSame) playSound(sound);
}

function playSound(sound) {
  stopSound();
  const { audio, head, button } = sound;
  player.now = sound;
  button.setAttribute("aria-pressed", "true");
  button.textContent = "■ Stop";
  audio.currentTime = 0;
  audio.playbackRate = player.rate;
  audio.preservesPitch = false; // slower is lower: what is too high to hear comes down
  audio.loop = player.isLooped;
  audio.onended = stopSound;
  audio.onerror = () => { stopSound(); button.textContent = "no sound"; };
  audio.play().catch(() => { if (player.now === sound) stopSound(); });
  const move = () => {
    if (player.now !== sound) return;
    if (audio.duration) {
      head.hidden = false;
      head.style.left = (100 * audio.currentTime) / audio.duration + "%";
    }
    requestAnimationFrame(move);
  };
  move();
}

function stopSound() {
  if (!player.now) return;
  const { audio, head, button } = player.now;
  player.now = null;
  audio.onended = audio.onerror = null;
  audio.pause();
  head.hidden = true;
  button.textContent = "▶ Play";
  button.removeAttribute("aria-pressed");
}
