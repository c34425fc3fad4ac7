// Keeps a page up to date: hears that something may have changed, fetches the page again, and makes each piece of it
// what it is by now. Nodes stay, and with them the focus, what is opened, selected and scrolled. Rows do not move under
// the pointer, and new rows of a list of runs wait until they are asked for; nothing changes while a button is down.
"use strict";

const GAP = 150; // between two looks at the page, or twice what the last one took: a server that is slow is asked less
const LINGER = 4000; // after it has moved last, the pointer means nothing any more
let source, busy = false, again = false, latest = null, older = new Map(), lost = false, pressed = false, leaving = false, pointed = -LINGER;
const known = new Map();

function pieces(root) {
  const found = new Map();
  for (const element of root.querySelectorAll("[data-live]")) found.set(element.dataset.live, element);
  return found;
}

function remember(root) {
  known.clear();
  for (const [name, element] of pieces(root)) known.set(name, element.outerHTML);
}

function inUse(element) {
  const active = document.activeElement;
  return active && element.contains(active) && active.matches("input, textarea, select");
}

// -- what there is becomes what there should be ------------------------------------------------------------------------

function keyOf(node) {
  // What makes it the same thing as before, wherever it stands by now.
  if (node.nodeType !== Node.ELEMENT_NODE) return null;
  const { row, key, live } = node.dataset;
  return row || key || live || node.id || node.querySelector(":scope > td > a.row, li:scope > a")?.getAttribute("href") || null;
}

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(document.importNode(fresh, true));
  if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  if (old.dataset.said && old.dateTime === fresh.dateTime && old.dataset.as === fresh.dataset.as) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  const bottom = old.matches("[data-logs]") && old.scrollTop + old.clientHeight >= old.scrollHeight - 8;
  children(old, fresh);
  if (bottom) old.scrollTop = old.scrollHeight;
}

function children(old, fresh) {
  const wanted = new Set([...fresh.children].map(keyOf));
  const keyed = new Map();
  for (const each of [...old.children]) {
    const key = keyOf(each);
    if (key && !wanted.has(key)) each.remove();
    else if (key) keyed.set(key, each);
  }
  let here = old.firstChild;
  for (const next of fresh.childNodes) {
    const key = keyOf(next);
    const match = key ? keyed.get(key) : here && !keyOf(here) && here.nodeName === next.nodeName ? here : null;
    keyed.delete(key);
    if (!match) { old.insertBefore(document.importNode(next, true), here); continue; }
    if (match === here) here = here.nextSibling;
    else old.insertBefore(match, here);
    morph(match, next);
  }
  while (here) { const next = here.nextSibling; here.remove(); here = next; }
}

// -- rows ----------------------------------------------------------------------------------------------------------------

function rowsOf(root) {
  return new Map([...root.querySelectorAll("tbody > tr, li")].map((row) => [keyOf(row), row]).filter(([key]) => key));
}

function update(old, fresh) {
  // Each row that is there, where it stands.
  const now = rowsOf(fresh);
  for (const [key, row] of rowsOf(old)) {
    const other = now.get(key) || older.get(key), was = row.querySelector(".status")?.textContent;
    row.classList.toggle("left", !other);
    if (!other) continue;
    morph(row, other);
    if (was !== row.querySelector(".status")?.textContent) row.classList.add("changed");
  }
}

function pointedAt(old, fresh) {
  // Whether a row would move away under the pointer.
  if (performance.now() - pointed > LINGER || !old.querySelector("tbody > tr:hover, li:hover")) return false;
  return [...rowsOf(old).keys()].join("\n") !== [...rowsOf(fresh).keys()].join("\n");
}

async function lookBehind(fresh) {
  // Rows that newer ones have pushed from the page still stand here: how they are by now.
  const rows = document.querySelector("[data-kind=rows]"), now = fresh.querySelector("[data-kind=rows]");
  const here = rows ? [...rowsOf(rows).keys()] : [], there = now ? rowsOf(now) : new Map();
  older = new Map();
  if (!now || here.every((key) => there.has(key))) return;
  const address = new URL(location.href);
  address.searchParams.delete("after");
  address.searchParams.set("cursor", `${here[0]}~`); // from the first of them on
  const behind = await read(address);
  const found = behind?.querySelector("[data-kind=rows]");
  if (found) older = rowsOf(found);
}

function announce(words) {
  // To whoever listens to the page: that something is new, and not each time how many.
  const heard = document.querySelector("[data-heard]");
  if (heard) heard.textContent = words;
}

function tell(old, fresh) {
  // How many new rows there are.
  const button = document.querySelector("[data-new]");
  if (!button) return;
  const here = rowsOf(old), first = [...here.keys()][0] || "";
  const more = [...rowsOf(fresh).keys()].filter((id) => id > first).length;
  if (button.hidden !== !more) announce(more ? "There are new runs" : "");
  button.hidden = !more;
  button.querySelector("span").textContent = more >= 50 ? "50 or more new" : `${more} new`;
}

// -- the page ------------------------------------------------------------------------------------------------------------

function show(fresh) {
  latest = fresh;
  const old = pieces(document), now = pieces(fresh);
  if ([...old.keys()].join() !== [...now.keys()].join()) {
    morph(document.querySelector("main"), fresh.querySelector("main"));
    remember(fresh);
  } else for (const [name, element] of now) piece(name, old.get(name), element);
  if (document.title !== fresh.title) document.title = fresh.title;
  refreshed();
}

function piece(name, here, element) {
  if (element.dataset.kind === "rows") { update(here, element); tell(here, element); return; }
  const html = element.outerHTML;
  if (known.get(name) === html) return;
  if (pointedAt(here, element)) {
    update(here, element);
    setTimeout(() => show(latest), LINGER);
    return;
  }
  known.set(name, html);
  if (!inUse(here)) morph(here, element);
  else known.delete(name);
}

async function read(address) {
  // The page as it is by now; nothing if it cannot be had, or one has to log in again.
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected || answer.status === 401) location.reload();
  else if (answer.ok) return new DOMParser().parseFromString(await answer.text(), "text/html");
  return null;
}

async function refresh() {
  again = true;
  if (document.hidden || busy || pressed || leaving) return;
  busy = true;
  again = false;
  const began = performance.now();
  try {
    const fresh = await read(location.href);
    if (fresh) await lookBehind(fresh);
    if (pressed) again = true;
    else if (fresh && !leaving) show(fresh);
  } catch { again = true; }
  setTimeout(() => { busy = false; if (again && !lost) refresh(); }, Math.max(GAP, 2 * (performance.now() - began)));
}

function banner() {
  const element = document.querySelector("[data-lost]");
  if (element) element.hidden = !lost;
}

function listen() {
  source?.close();
  if (document.hidden) return; // a browser keeps few connections to one server, and this one is for nobody
  source = new EventSource(`${ROOT}live`);
  source.addEventListener("pulse", refresh);
  source.addEventListener("hello", () => { // from now on it hears; what has changed before, it has not heard
    lost = false;
    refresh();
    banner();
  });
  source.addEventListener("error", () => {
    lost = true;
    setTimeout(banner, 1500);
    if (source.readyState === EventSource.CLOSED) { refresh(); setTimeout(listen, 2000); }
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-new]");
  if (!button || !latest) return;
  const old = document.querySelector("[data-kind=rows]"), fresh = latest.querySelector("[data-kind=rows]");
  if (old && fresh) morph(old, fresh);
  button.hidden = true;
  announce("");
  scrollTo({ top: 0 });
  refreshed();
});

// A form that is sent changes what stands here, or removes it: the next page says so.
addEventListener("submit", (event) => { leaving = !event.defaultPrevented; });
addEventListener("pageshow", () => { leaving = false; });
document.addEventListener("pointermove", () => { pointed = performance.now(); }, { passive: true });
document.addEventListener("pointerdown", () => { pressed = true; });
for (const name of ["pointerup", "pointercancel", "dragend", "blur"]) addEventListener(name, () => {
  if (!pressed) return;
  pressed = false;
  if (again) refresh();
});

if (document.querySelector("[data-live]")) {
  remember(document);
  listen();
  document.addEventListener("visibilitychange", () => {
    again = true;
    if (document.hidden) source?.close();
    else listen();
  });
}
