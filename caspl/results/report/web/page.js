"use strict";
// A column's head sorts its table: figures first from high to low, words from A to Z; what is missing comes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => sort(table, heads, head, place)));
}

function value(body, place) {
  const cell = body.rows[0].cells[place];
  const text = cell.textContent.trim();
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  if (cell.querySelector(".missing") || text === "" || text === "-") return null;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

function sort(table, heads, head, place) {
  const bodies = [...table.tBodies].map((body) => [value(body, place), body]);
  const numbers = bodies.every(([one]) => one === null || typeof one === "number");
  const before = head.getAttribute("aria-sort");
  const direction = before === "none" ? (numbers ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const order = numbers ? (a, b) => a - b : (a, b) => String(a).localeCompare(String(b), undefined, { numeric: true });
  bodies.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * order(a, b)));
  for (const [, body] of bodies) table.append(body);
  for (const one of heads) one.setAttribute("aria-sort", one === head ? direction : "none");
}
