// A chart is zoomed by dragging over it: the stretch that was chosen is a page of its own, and its address says it. Without
// a script there are links for ranges, and each column leads to its runs.
"use strict";

const FAR = 6; // pixels; a pointer that moves less has clicked
let drag = null, dragged = false;

function share(event) {
  const box = drag.svg.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
}

function band() {
  const found = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  found.setAttribute("class", "band");
  found.setAttribute("y", "0");
  found.setAttribute("height", "100%");
  drag.svg.append(found);
  return found;
}

function leave() {
  drag?.band?.remove();
  drag = null;
}

document.addEventListener("pointerdown", (event) => {
  const chart = event.target.closest("[data-zoom]");
  dragged = false;
  if (!chart || event.button !== 0 || event.pointerType === "touch") return;
  drag = { chart, svg: chart.querySelector("svg"), x: event.clientX, band: null };
  drag.from = share(event);
});

document.addEventListener("pointermove", (event) => {
  if (!drag || (!drag.band && Math.abs(event.clientX - drag.x) < FAR)) return;
  drag.band ||= band();
  const to = share(event);
  drag.band.setAttribute("x", `${Math.min(drag.from, to) * 100}%`);
  drag.band.setAttribute("width", `${Math.abs(to - drag.from) * 100}%`);
});

document.addEventListener("pointerup", (event) => {
  if (!drag?.band) return leave();
  dragged = true;
  const { since, until } = drag.chart.dataset, length = until - since;
  const [from, to] = [drag.from, share(event)].sort((a, b) => a - b).map((each) => new Date(Math.round(Number(since) + each * length)).toISOString());
  leave();
  location.assign(`${location.pathname}?${new URLSearchParams({ since: from, until: to })}`);
});

document.addEventListener("pointercancel", leave);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
document.addEventListener("dragstart", (event) => { if (drag) event.preventDefault(); }); // columns are links
document.addEventListener("click", (event) => { if (dragged) event.preventDefault(); dragged = false; }, true);
