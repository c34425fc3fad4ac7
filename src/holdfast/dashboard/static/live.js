// Keeps a page up to date: hears that something may have changed, fetches the page again, and puts in place what is
// different, piece by piece. What somebody has opened stays open; rows of a list do not move under the pointer: new
// ones wait until they are asked for.
"use strict";

const GAP = 400;
let source, busy = false, again = false, latest = null, lost = false;
const known = new Map();

function pieces(root) {
  const found = new Map();
  for (const element of root.querySelectorAll("[data-live]")) found.set(element.dataset.live, element);
  return found;
}

function remember(root) {
  for (const [name, element] of pieces(root)) known.set(name, element.outerHTML);
}

function inUse(element) {
  const active = document.activeElement;
  return active && element.contains(active) && active.matches("input, textarea, select");
}

function replace(old, fresh) {
  const open = new Map([...old.querySelectorAll("details[data-key]")].map((each) => [each.dataset.key, each.open]));
  const scrolled = [...old.querySelectorAll("[data-logs]"), ...(old.matches("[data-logs]") ? [old] : [])][0];
  const place = scrolled && (scrolled.scrollTop + scrolled.clientHeight >= scrolled.scrollHeight - 8 ? "end" : scrolled.scrollTop);
  const node = document.importNode(fresh, true);
  for (const each of node.querySelectorAll("details[data-key]")) if (open.has(each.dataset.key)) each.open = open.get(each.dataset.key);
  old.replaceWith(node);
  const logs = node.matches("[data-logs]") ? node : node.querySelector("[data-logs]");
  if (logs && place !== undefined) logs.scrollTop = place === "end" ? logs.scrollHeight : place;
  return node;
}

function rows(old, fresh) {
  const now = new Map([...fresh.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
  for (const row of [...old.querySelectorAll("[data-row]")]) {
    const other = now.get(row.dataset.row);
    now.delete(row.dataset.row);
    row.classList.toggle("left", !other);
    if (!other || row.dataset.was === other.outerHTML) continue;
    const was = other.outerHTML, checked = row.querySelector("input[type=checkbox]")?.checked;
    const node = document.importNode(other, true);
    node.dataset.was = was;
    if (row.dataset.was || row.querySelector(".status")?.textContent !== node.querySelector(".status")?.textContent) node.classList.add("changed");
    if (checked) node.querySelector("input[type=checkbox]").checked = true;
    row.replaceWith(node);
  }
  const first = old.querySelector("[data-row]")?.dataset.row || "";
  const more = [...now.keys()].filter((id) => id > first).length;
  const button = document.querySelector("[data-new]");
  if (!button) return;
  button.hidden = !more;
  button.querySelector("span").textContent = more >= 50 ? "50 or more new" : `${more} new`;
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  latest = fresh;
  const old = pieces(document);
  for (const [name, element] of pieces(fresh)) {
    const here = old.get(name);
    if (!here) { location.reload(); return; }
    const html = element.outerHTML;
    if (known.get(name) === html) continue;
    known.set(name, html);
    if (element.dataset.kind === "rows") rows(here, element);
    else if (!inUse(here)) replace(here, element);
  }
  for (const [name, element] of old) if (!pieces(fresh).has(name)) element.remove();
  if (document.title !== fresh.title) document.title = fresh.title;
  reveal(document);
  localise(document);
}

async function refresh() {
  if (document.hidden) { again = true; return; }
  if (busy) { again = true; return; }
  busy = true;
  again = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.redirected) { location.reload(); return; }
    if (answer.ok) show(await answer.text());
  } catch { again = true; }
  setTimeout(() => { busy = false; if (again && !document.hidden) refresh(); }, GAP);
}

function banner() {
  const element = document.querySelector("[data-lost]");
  if (element) element.hidden = !lost;
}

function listen() {
  source = new EventSource(`${ROOT}live`);
  source.addEventListener("pulse", refresh);
  source.addEventListener("hello", () => {
    if (lost) refresh();
    lost = false;
    banner();
  });
  source.addEventListener("error", () => {
    lost = true;
    setTimeout(banner, 1500);
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-new]");
  if (!button || !latest) return;
  const old = document.querySelector("[data-kind=rows]"), fresh = latest.querySelector("[data-kind=rows]");
  if (old && fresh) old.replaceWith(document.importNode(fresh, true));
  button.hidden = true;
  scrollTo({ top: 0 });
  localise(document);
});

document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
if (document.querySelector("[data-live]")) { remember(document); listen(); }
