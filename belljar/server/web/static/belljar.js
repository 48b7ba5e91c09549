// Keys for those who like them, and no live refresh of a page nobody sees. Everything works without this file.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing) typing.blur();
  if (typing) return;
  if (event.key === "/") focus(event, document.querySelector("[data-filter]"));
  if (event.key === "j" || event.key === "k") step(event, event.key === "j" ? 1 : -1);
});

function step(event, by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
  focus(event, rows[Math.min(Math.max(next, 0), rows.length - 1)]);
}

function focus(event, element) {
  if (!element) return;
  event.preventDefault();
  element.focus();
  if (element.select) element.select();
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.matches("[data-live]")) event.preventDefault();
});
