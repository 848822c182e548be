// The page of windows that a search found: each player with its picture.
"use strict";

for (const button of document.querySelectorAll(".play")) {
  const figure = button.closest("figure");
  const sound = { audio: figure.querySelector("audio"), head: figure.querySelector(".playhead"), button };
  button.addEventListener("click", () => toggleSound(sound));
}
