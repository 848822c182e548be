// The calendar of a cluster: single hours are read by pointing or with the arrow keys.
"use strict";

const dateOf = (day) => new Date((state.data.first_day + day) * DAY_MS).toISOString().slice(0, 10);

const isWeeks = (spans) => spans.length > 1 && Date.parse(spans[1]) - Date.parse(spans[0]) === 7 * DAY_MS;

function startCalendar(cells) {
  const heat = $("heat");
  if (!heat) return;
  const counts = new Map(cells);
  const { spans } = state.data, nSpans = spans.length;
  let at = [0, 0];
  const read = (day, hour) => {
    at = [day, hour];
    const n = counts.get(day * 24 + hour) || 0, all = state.data.effort[day * 24 + hour];
    const mark = $("heat-mark");
    mark.hidden = false;
    mark.style.left = (100 * day) / nSpans + "%";
    mark.style.width = 100 / nSpans + "%";
    mark.style.bottom = (100 * hour) / 24 + "%";
    mark.style.height = 100 / 24 + "%";
    const what = all ? n + " of " + all + " windows, " + ((100 * n) / all).toFixed(1) + " %" : "nothing recorded";
    $("heat-words").textContent = (isWeeks(spans) ? "week of " : "") + spans[day] + ", " + String(hour).padStart(2, "0") + " h: " + what;
  };
  const within = (value, n) => Math.min(n - 1, Math.max(0, Math.floor(value)));
  heat.addEventListener("pointermove", (event) => {
    const box = heat.getBoundingClientRect();
    read(within(((event.clientX - box.left) / box.width) * nSpans, nSpans), within((1 - (event.clientY - box.top) / box.height) * 24, 24));
  });
  heat.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    read(within(at[0] + step[0], nSpans), within(at[1] + step[1], 24));
  });
}
