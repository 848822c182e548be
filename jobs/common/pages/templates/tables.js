// Tables (CSV) out of the page and into it, also as spreadsheets save them.
"use strict";

// Cells that a spreadsheet would run get an apostrophe in front, which goes when they are read: lake/escapes.py.
const RUN = "(?![+-]\\d+([.,:]\\d+)*([eE][+-]?\\d+)?$)[\\s\\x00-\\x1f\\ufeff]*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]";
const defused = (text) => (new RegExp("^'*" + RUN).test(text) ? "'" + text : text);
const asWritten = (text) => (new RegExp("^'+" + RUN).test(text) ? text.slice(1) : text);

function csvText(rows) {
  const quoted = (text) => (/[",;\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  return rows.map((row) => row.map((cell) => quoted(defused(String(cell)))).join(",") + "\n").join("");
}

function saveTable(rows, file) {
  const blob = new Blob([csvText(rows)], { type: "text/csv;charset=utf-8" });
  const link = element("a", { href: URL.createObjectURL(blob), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function decodeText(bytes) {
  const head = new Uint8Array(bytes.slice(0, 2));
  if (head[0] === 0xff && head[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (head[0] === 0xfe && head[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function parseCsv(text) {
  const first = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].reduce((best, one) => (first.split(one).length > first.split(best).length ? one : best));
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += '"'; i += 1; }
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === separator) { row.push(cell); cell = ""; }
    else if (c === "\n") { rows.push([...row, cell]); row = []; cell = ""; }
    else if (c !== "\r" && c !== "\ufeff") cell += c;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}
