// How a page's pictures look: brightness and contrast, kept under their names.
"use strict";

const LOOKS = { brightness: 1, contrast: 1 };
let keepLook = () => {};

function startLooks(kept, keep) {
  keepLook = keep;
  for (const name of Object.keys(LOOKS)) {
    LOOKS[name] = Number(kept[name]) || 1;
    $(name).addEventListener("input", () => look(name, Number($(name).value) - LOOKS[name]));
    look(name, 0);
  }
  $("looks-reset").addEventListener("click", () => Object.keys(LOOKS).forEach((name) => look(name, 1 - LOOKS[name])));
}

function look(name, change) {
  LOOKS[name] = Math.min(3, Math.max(0.3, Math.round(20 * (LOOKS[name] + change)) / 20));
  $(name).value = LOOKS[name];
  document.body.style.setProperty("--" + name, LOOKS[name]);
  document.body.classList.toggle("looked", Object.values(LOOKS).some((value) => value !== 1));
  if (change) keepLook(name, LOOKS[name]);
}
