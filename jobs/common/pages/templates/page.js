// What every page's script begins with. Texts of a study go through textContent.
"use strict";

const $ = (id) => document.getElementById(id);

function element(tag, values, ...children) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
}
