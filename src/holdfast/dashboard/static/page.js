// What every page does in a browser: times in the viewer's zone, the theme, copying. Pages read well without it.
"use strict";

document.documentElement.classList.add("js");
const ROOT = document.documentElement.dataset.root;

// -- times ----------------------------------------------------------------------------------------------------------

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const year = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const SLOT = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

function length(seconds) {
  for (const [unit, size] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  return "0s";
}

function ago(when, now) {
  const seconds = (now - when) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  if (seconds > 30 * 86400) return year.format(when);
  if (seconds < -730 * 86400) return `in ${Math.floor(-seconds / 365 / 86400)}y`;
  return seconds > 0 ? `${length(seconds)} ago` : `in ${length(-seconds)}`;
}

function slotted(when) {
  const seconds = when.getSeconds() ? { second: "2-digit" } : {};
  const years = when.getFullYear() !== new Date().getFullYear() ? { year: "numeric" } : {};
  return when.toLocaleString(undefined, { ...SLOT, ...seconds, ...years });
}

function say(element, now) {
  const as = element.dataset.as;
  const when = new Date(element.dateTime);
  let text;
  if (as === "slot" && element.dataset.told) return;
  if (as === "ago") text = ago(when, now);
  else if (as === "since") text = length((now - when) / 1000);
  else if (as === "slot") text = element.dataset.told = slotted(when);
  else if (as === "clock") text = `${clock.format(when)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
  else text = Math.abs(now - when) > 300 * 86400000 ? year.format(when) : day.format(when);
  if (element.textContent !== text) element.textContent = text;
}

function localise(root) {
  const now = Date.now();
  axes(root);
  for (const element of root.querySelectorAll("time[data-as]")) {
    if (!element.dataset.said) {
      element.dataset.said = "1";
      const when = new Date(element.dateTime);
      element.title = `${exact.format(when)}\n${when.toISOString()}`;
    }
    say(element, now);
  }
  for (const list of root.querySelectorAll(".coming")) changesOfClocks(list);
}

function changesOfClocks(list) {
  // The server marks those of the schedule's zone; these are the viewer's, whose times stand here too.
  let before;
  for (const item of list.children) {
    const offset = -new Date(item.querySelector("time").dateTime).getTimezoneOffset();
    if (before !== undefined && offset !== before && !item.querySelector(".clocks")) {
      const said = document.createElement("span");
      said.className = "clocks";
      said.textContent = `your clocks go ${offset > before ? "forward" : "back"} before this one`;
      item.append(said);
    }
    before = offset;
  }
}

function axes(root) {
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  for (const text of root.querySelectorAll("text[data-at]")) text.textContent = (text.dataset.day ? date : hour).format(new Date(Number(text.dataset.at)));
}

// -- the theme ------------------------------------------------------------------------------------------------------

function themes() {
  const root = document.documentElement;
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = getComputedStyle(root).colorScheme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `holdfast_theme=${root.dataset.theme}; path=${ROOT}; max-age=31536000; samesite=lax`;
  });
}

// -- small things ---------------------------------------------------------------------------------------------------

function reveal(root) {
  for (const element of root.querySelectorAll("[data-copy], [data-log-search], [data-pick-all], [data-js]")) element.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

function searchLogs() {
  const wanted = document.querySelector("[data-log-search]")?.value.toLowerCase() ?? "";
  for (const line of document.querySelectorAll("#logs li")) line.hidden = !line.textContent.toLowerCase().includes(wanted);
}

document.addEventListener("input", (event) => { if (event.target.matches("[data-log-search]")) searchLogs(); });

document.addEventListener("submit", (event) => {
  // an address without what was left empty
  if (event.target.method === "get") for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select") || event.metaKey || event.ctrlKey || event.altKey) return;
  const search = document.querySelector("[data-search]");
  if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
});

// -- a payload that is edited: what is different from the one there was ----------------------------------------------

function different(before, after) {
  // The longest common lines, from the end; payloads are short.
  const length = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      length[i][j] = before[i] === after[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const found = [];
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    if (i < before.length && j < after.length && before[i] === after[j]) { found.push(["same", before[i]]); i++; j++; }
    else if (j >= after.length || (i < before.length && length[i + 1][j] >= length[i][j + 1])) found.push(["less", before[i++]]);
    else found.push(["more", after[j++]]);
  }
  return found;
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("[data-diff]");
  if (!form) return;
  const field = event.target.closest(".field");
  const input = event.target;
  const edited = input.type === "checkbox" ? input.defaultChecked !== input.checked
    : input.matches("select") ? ![...input.selectedOptions].every((option) => option.defaultSelected)
    : input.defaultValue !== input.value;
  field?.classList.toggle("edited", edited);
  const here = document.querySelector("[data-before]");
  if (!event.target.matches("[data-json]") || !here) return;
  here.dataset.text ||= here.textContent;
  const before = here.dataset.text.split("\n"), after = event.target.value.split("\n");
  if (before.length > 2000 || after.length > 2000) return;
  here.replaceChildren(...different(before, after).map(([kind, text]) => {
    const line = document.createElement("span");
    line.className = kind;
    line.textContent = `${kind === "same" ? " " : kind === "less" ? "-" : "+"} ${text}\n`;
    return line;
  }));
});

// -- a schedule as one writes it ----------------------------------------------------------------------------------

let asking = 0;

document.addEventListener("input", (event) => {
  const form = event.target.closest("[data-preview]");
  if (!form || !["rule", "timezone"].includes(event.target.name)) return;
  clearTimeout(asking);
  asking = setTimeout(async () => {
    const said = new URLSearchParams({ rule: form.elements.rule.value, timezone: form.elements.timezone.value });
    const answer = await fetch(`${ROOT}schedules/preview?${said}`);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const here = document.querySelector("[data-preview-here]");
    here.replaceChildren(...[...fresh.body.childNodes].map((node) => document.importNode(node, true)));
    localise(here);
  }, 200);
});

const zone = document.querySelector("[data-zone]");
if (zone && zone.value === "UTC" && location.pathname.endsWith("/new")) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// A key is on the page that answers the form: loaded again, that would make another one.
if (document.querySelector(".made-key")) history.replaceState(null, "", location.href);

// -- choosing rows ------------------------------------------------------------------------------------------------

function picked() {
  const boxes = [...document.querySelectorAll("td.pick input")];
  const count = boxes.filter((box) => box.checked).length;
  const all = document.querySelector("[data-all]")?.checked;
  const bar = document.querySelector(".bulk");
  if (!bar) return;
  bar.classList.toggle("on", count > 0 || all);
  bar.querySelector("[data-picked]").textContent = count && !all ? `${count} chosen` : "";
  const whole = document.querySelector("[data-pick-all]");
  if (whole) { whole.checked = count > 0 && count === boxes.length; whole.indeterminate = count > 0 && count < boxes.length; }
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-all]")) for (const box of document.querySelectorAll("td.pick input")) box.checked = event.target.checked;
  if (event.target.matches("[data-pick-all], td.pick input, [data-all]")) picked();
});

document.addEventListener("click", (event) => {
  for (const pop of document.querySelectorAll("details.pop[open]")) if (!pop.contains(event.target)) pop.open = false;
});

// j and k go through a list, x chooses, Enter opens
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=checkbox]), textarea, select") || event.metaKey || event.ctrlKey || event.altKey) return;
  const rows = [...document.querySelectorAll("tr[data-row]")];
  const here = rows.findIndex((row) => row.contains(document.activeElement));
  if (event.key === "j" || event.key === "k") {
    const next = rows[Math.max(0, Math.min(rows.length - 1, here + (event.key === "j" ? 1 : -1)))];
    next?.querySelector("a.row")?.focus();
  } else if (event.key === "x" && here >= 0) {
    const box = rows[here].querySelector("td.pick input");
    if (box) { box.checked = !box.checked; picked(); }
  }
});

addEventListener("pageshow", () => { for (const field of document.querySelectorAll("form [disabled][name]")) field.disabled = false; });
function refreshed() {
  // What scripts add to a page that has come from the server, or to a part of it.
  reveal(document);
  localise(document);
  searchLogs();
  picked();
}

setInterval(() => localise(document), 1000);
refreshed();
for (const log of document.querySelectorAll("[data-tail]")) log.scrollTop = log.scrollHeight;
themes();
