// Decisions as the table that `dawnchorus verdicts add` reads, and back from such a table.
"use strict";

const COLUMNS = ["recorder", "time_utc", "duration_s", "sound", "verdict", "reviewer", "decided_at", "seconds", "batch", "draw", "digest"];
const NEEDED = ["recorder", "time_utc", "sound", "verdict", "reviewer", "decided_at", "batch"];
const WORDS = { yes: "yes", y: "yes", no: "no", n: "no", unsure: "unsure", u: "unsure" };
const TIME = /^(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?\s?(?:Z|UTC|\+00:?00)?$/;
const MOST_SHOWN = 5;

// The last decision of a reviewer on a window and a sound counts.
function lastDecisions(records) {
  const last = new Map();
  const inOrder = [...records].sort((a, b) => (a.decided_at < b.decided_at ? -1 : a.decided_at > b.decided_at ? 1 : 0));
  for (const record of inOrder) last.set(record.reviewer + "\0" + record.draw + "\0" + record.sound, record);
  return [...last.values()];
}

function tableRows(data, records) {
  const windows = new Map(data.windows.map((one) => [one.draw, one]));
  const rows = lastDecisions(records).sort((a, b) => a.draw - b.draw || (a.decided_at < b.decided_at ? -1 : 1));
  return [COLUMNS, ...rows.map((record) => {
    const one = { ...windows.get(record.draw), ...record, batch: data.batch };
    return COLUMNS.map((column) => (one[column] === null || one[column] === undefined ? "" : one[column]));
  })];
}

// Returns { records, problems }; with any problem nothing of the table is to be taken over.
function readVerdicts(data, text) {
  const [header, ...rows] = parseCsv(text);
  const names = (header || []).map((cell) => cell.trim());
  const missing = NEEDED.filter((name) => !names.includes(name));
  if (missing.length) {
    return { records: [], problems: ["it is no table of verdicts of this page: " + missing.join(", ") + (missing.length > 1 ? " are" : " is") + " missing"] };
  }
  const at = new Map(data.windows.map((one) => [one.recorder + "\0" + instantOf(one.time_utc), one]));
  const records = [], problems = [];
  rows.forEach((cells, i) => {
    if (!cells.some((cell) => cell.trim())) return;
    const row = Object.fromEntries(names.map((name, j) => [name, asWritten((cells[j] || "").trim())]));
    const found = readRow(data, at, row);
    if (typeof found === "string") problems.push("row " + (i + 2) + ": " + found);
    else records.push(found);
  });
  if (!records.length && !problems.length) problems.push("it has no verdicts");
  return { records, problems };
}

function readRow(data, windows, row) {
  if (row.batch !== data.batch) return "it is of the batch " + (row.batch || "(none)") + ", this page is of " + data.batch;
  const time = instantOf(row.time_utc), decided = instantOf(row.decided_at), verdict = WORDS[row.verdict.toLowerCase()];
  if (!time) return "expected a time such as 2021-06-22T05:00:06Z, found " + (row.time_utc || "nothing");
  const window = windows.get(row.recorder + "\0" + time);
  if (!window) return "this page has no window of " + (row.recorder || "(no recorder)") + " at " + row.time_utc;
  if (row.digest && row.digest !== window.digest) return "the window of " + row.recorder + " at " + row.time_utc + " has other samples here";
  if (!verdict) return "expected yes, no or unsure, found " + (row.verdict || "nothing");
  if (!row.sound) return "no sound is named";
  if (!row.reviewer) return "no reviewer is named";
  if (!decided) return "expected a time such as 2021-06-22T05:00:06Z, found " + (row.decided_at || "nothing");
  const seconds = Number((row.seconds || "").replace(",", "."));
  return {
    draw: window.draw, sound: row.sound, verdict, reviewer: row.reviewer, decided_at: decided,
    seconds: Number.isFinite(seconds) && seconds >= 0 ? seconds : 0, origin: "file",
  };
}

// A time as the page writes it, or "" where it cannot be read.
function instantOf(cell) {
  const found = TIME.exec((cell || "").trim());
  if (!found) return "";
  const [, year, month, day, hour, minute, second, fraction] = found;
  const ms = Number((fraction || "").padEnd(3, "0").slice(0, 3));
  const time = new Date(Date.UTC(+year, month - 1, +day, +hour, +minute, +second, ms));
  if (Number.isNaN(time.getTime()) || time.getUTCDate() !== +day || +hour > 23) return "";
  return time.toISOString().replace(".000Z", "Z");
}

// What is new of a table: decisions that this browser has already are passed over.
function onlyNew(records, known) {
  const key = (one) => [one.reviewer, one.draw, one.sound, one.verdict, one.decided_at].join("\0");
  const before = new Set(known.map(key));
  return records.filter((one) => !before.has(key(one)) && before.add(key(one)));
}

function someOf(problems) {
  const more = problems.length - MOST_SHOWN;
  return problems.slice(0, MOST_SHOWN).join("; ") + (more > 0 ? "; and " + more + " more" : "");
}
