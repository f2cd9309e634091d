/* Tables that filter and plot what they show, links to a selection, search, light and dark. Data: scripts that push to `lab`. */
"use strict";
(() => {
const PAGE_ROWS = 25, ONE_PAGE = 80, SORTED_FROM = 4, FILTERED_FROM = 12, SHOWN = 40, AROUND = 90;
const COLOURS = ["#1f86cc", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b8860b"];
const find = (selector, within = document) => within.querySelector(selector);
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

/* ---- light and dark ---- */
const redraws = [];
find("#theme").addEventListener("click", () => {
  window.theme.set(!window.theme.dark());
  window.theme.keep(window.theme.dark());
  redraws.forEach((redraw) => redraw());
});

/* ---- one table with its filters and plots; the selection stands in the address ---- */
function explorer(section, data) {
  const columns = new Map(data.columns.map((column) => [column.key, column]));
  const value = (column, row) => (column.words ? column.words[column.codes[row]] : column.values[row]);
  const shown = data.columns.filter((column) => !column.hidden);
  const rows = (data.columns[0].codes || data.columns[0].values).length;
  const form = find(".filters", section), selects = new Map();
  let chosen = null, colour = null;

  function choice(key, title, options, all) {
    const select = make("select", { id: `choose-${key}` });
    if (all) select.append(make("option", { value: "" }, "all"));
    for (const [word, text] of options) select.append(make("option", { value: word }, text));
    form.append(make("label", {}, title, select));
    select.addEventListener("change", () => table.draw());
    return select;
  }
  const natural = new Intl.Collator("en", { numeric: true }).compare;
  for (const column of data.columns)
    if (column.filters && column.words.length > 1)
      selects.set(column.key, choice(column.key, column.title, [...column.words].sort(natural).map((word) => [word, word]), true));
  if (data.plot && rows)
    colour = choice("colour", "Colour", data.plot.colours.filter((key) => columns.has(key)).map((key) => [key, columns.get(key).title]), false);
  form.addEventListener("submit", (event) => event.preventDefault());

  function target(column, row) {
    const by = column.link && value(columns.get(column.by), row);
    return by === "" || by == null ? "" : column.link && column.link.replace("{}", encodeURIComponent(by));
  }
  function cell(column, row, kind) {
    const found = value(column, row);
    if (kind !== "display") return found ?? (column.words ? "" : null);
    if (found == null) return "–";
    const places = column.decimals;
    const text = column.words ? escaped(found) : places == null ? String(found) : found.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    const link = target(column, row);
    return link ? `<a href="${escaped(link)}">${text}</a>` : text;
  }

  function readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const [key, select] of selects) {
      select.value = wanted.get(key) ?? (wanted.has("row") ? "" : data.defaults[key] ?? "");
      if (select.selectedIndex < 0) select.value = "";
    }
    if (colour && columns.has(wanted.get("colour"))) colour.value = wanted.get("colour");
    chosen = wanted.has("row") ? new Set(wanted.get("row").split(",").map(Number)) : null;
    const [key, direction] = (wanted.get("sort") ?? "").split(".");
    const place = shown.findIndex((column) => column.key === key);
    return { search: wanted.get("q") ?? "", order: place < 0 ? [] : [[place, direction === "desc" ? "desc" : "asc"]] };
  }
  function writeAddress() {
    const told = new URLSearchParams();
    for (const [key, select] of selects)
      if (select.value !== (chosen ? "" : data.defaults[key] ?? "")) told.set(key, select.value);
    if (colour && colour.selectedIndex > 0) told.set("colour", colour.value);
    if (table.search()) told.set("q", table.search());
    if (chosen) told.set("row", [...chosen].join(","));
    const [order] = table.order();
    if (order && order[1]) told.set("sort", `${shown[order[0]].key}.${order[1]}`);
    const text = told.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  const marked = (row) => chosen !== null && columns.has("line") && chosen.has(value(columns.get("line"), row));
  const start = readAddress();
  const table = new DataTable(find("table.data", section), {
    data: Array.from({ length: rows }, (_, row) => ({ row })),
    columns: shown.map((column) => ({ title: column.title, type: column.words ? "string" : "num", className: column.words ? "" : "dt-right", data: (datum, kind) => cell(column, datum.row, kind) })),
    caption: data.name, deferRender: true, pageLength: rows > ONE_PAGE ? PAGE_ROWS : ONE_PAGE, lengthMenu: [PAGE_ROWS, 100, 500], order: start.order,
    search: { search: start.search }, autoWidth: false, rowCallback: (node, datum) => node.classList.toggle("chosen", marked(datum.row)),
    layout: { topStart: "search", topEnd: null, bottomStart: rows > ONE_PAGE ? "pageLength" : null, bottomEnd: rows > ONE_PAGE ? "paging" : null },
    language: { search: "Find in the table", lengthMenu: "_MENU_ rows a page" },
  });
  const scroll = make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": `Table of ${data.name}` });
  table.table().node().replaceWith(scroll);
  scroll.append(table.table().node());
  table.search.fixed("selection", (text, datum) =>
    [...selects].every(([key, select]) => select.value === "" || value(columns.get(key), datum.row) === select.value) &&
    (!chosen || chosen.size === 1 || marked(datum.row)));

  function visible() {
    return table.rows({ search: "applied", order: "index" }).data().toArray().map((datum) => datum.row);
  }
  function drawn() {
    const found = visible();
    find(".count", section).textContent = `${found.length.toLocaleString("en")} of ${rows.toLocaleString("en")} rows`;
    writeAddress();
    if (colour && window.Plotly) plot(section, data, columns, value, target, found, colour.value);
  }
  function goToRow() {
    if (!chosen || chosen.size !== 1) return;
    const place = table.rows({ search: "applied" }).data().toArray().findIndex((datum) => marked(datum.row));
    if (place >= 0) table.page(Math.floor(place / table.page.len())).draw("page");
    find("tr.chosen", section)?.scrollIntoView({ block: "center" });
  }
  table.on("draw", drawn);
  table.draw();
  goToRow();
  window.addEventListener("hashchange", () => {
    const again = readAddress();
    table.search(again.search).order(again.order).draw();
    goToRow();
  });
  window.addEventListener("load", drawn);
  redraws.push(drawn);
}

/* ---- predicted over measured, and the signed error of every row ---- */
function plot(section, data, columns, value, target, rows, by) {
  const told = data.plot, place = find(".plots", section), style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), quiet = style.getPropertyValue("--quiet").trim(), line = style.getPropertyValue("--line").trim();
  if (!place.children.length) {
    place.append(make("div", { class: "plot", role: "group", "aria-label": "Predicted over measured; the table below has the same values" }));
    place.append(make("div", { class: "plot", role: "group", "aria-label": "Signed error of every row; the table below has the same values" }));
  }
  const of = (key, row) => value(columns.get(key), row);
  const groups = new Map();
  for (const row of rows) {
    const word = of(by, row);
    if (!groups.has(word)) groups.set(word, []);
    groups.get(word).push(row);
  }
  const names = [...groups.keys()].sort(new Intl.Collator("en", { numeric: true }).compare);
  const traces = (x, y) => names.map((name, position) => ({
    type: "scatter", mode: "markers", name, x: groups.get(name).map(x), y: groups.get(name).map(y),
    marker: { color: COLOURS[position % COLOURS.length], symbol: position % 20, size: 8, opacity: 0.8 },
    customdata: groups.get(name), hovertemplate: "%{text}<extra></extra>",
    text: groups.get(name).map((row) => [of(told.label, row), `${of("load", row)}, ${columns.get(by).title}: ${name}`,
      `measured ${of(told.measured, row)} ${told.unit}, predicted ${of(told.predicted, row)} ${told.unit}`, `error ${of(told.error, row).toFixed(1)} %`].map(escaped).join("<br>")),
  }));
  const latencies = rows.flatMap((row) => [of(told.measured, row), of(told.predicted, row)]).filter((ms) => ms > 0);
  const ends = latencies.length ? [Math.min(...latencies) * 0.8, Math.max(...latencies) * 1.25] : [1, 10];
  const band = (factor, dash) => ({ type: "scatter", mode: "lines", x: ends, y: ends.map((ms) => ms * factor), line: { color: quiet, dash, width: 1 }, hoverinfo: "skip", showlegend: false });
  const axis = (title, more) => ({ title: { text: title }, gridcolor: line, zerolinecolor: ink, automargin: true, ...more });
  const layout = (title, x, y, more) => ({
    title: { text: title, font: { size: 15 }, x: 0, y: 0.99, yanchor: "top" }, xaxis: x, yaxis: y, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink }, margin: { t: 90, r: 10 }, hovermode: "closest", legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" }, showlegend: true, ...more,
  });
  const log = { type: "log", range: ends.map(Math.log10), dtick: "D2", exponentformat: "none", separatethousands: true }, options = { responsive: true, displaylogo: false };
  const [scatter, errors] = place.children;
  Plotly.react(scatter, [band(1, "solid"), band(1.1, "dot"), band(0.9, "dot"), ...traces((row) => of(told.measured, row), (row) => of(told.predicted, row))],
    layout("Predicted over measured; dotted: ±10 %", axis(`measured [${told.unit}]`, log), axis(`predicted [${told.unit}]`, log)), options);
  const tenPercent = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: -10, y1: 10, fillcolor: line, opacity: 0.3, line: { width: 0 }, layer: "below" };
  Plotly.react(errors, traces((row) => of(told.label, row), (row) => of(told.error, row)),
    layout("Error; below zero: predicted too fast; band: ±10 %", axis("", { type: "category", categoryorder: "category ascending", tickangle: -45 }), axis("error [%]"), { shapes: [tenPercent] }), options);
  for (const node of place.children) {
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", (event) => {
      const link = event.points[0].customdata !== undefined && target(columns.get(told.target), event.points[0].customdata);
      if (link) location.href = link;
    });
  }
}

/* ---- search ---- */
function search(documents) {
  const words = new URLSearchParams(location.search).get("q")?.trim() ?? "";
  find("header input").value = words;
  if (!words) return;
  const index = elasticlunr(function () { ["name", "title", "heading", "text"].forEach((field) => this.addField(field)); this.setRef("id"); this.saveDocument(false); });
  documents.forEach((each, id) => index.addDoc({ id, name: each.name, title: each.title, heading: each.heading, text: each.text }));
  const hits = index.search(words, { fields: { name: { boost: 40 }, title: { boost: 8 }, heading: { boost: 4 }, text: { boost: 1 } }, bool: "AND", expand: true });
  find("#found").textContent = `${hits.length} sections for “${words}”${hits.length > SHOWN ? `, the best ${SHOWN}` : ""}`;
  const first = words.toLowerCase().split(/\s+/)[0];
  for (const hit of hits.slice(0, SHOWN)) {
    const each = documents[hit.ref], place = Math.max(0, each.text.toLowerCase().indexOf(first) - AROUND);
    const title = each.heading ? `${each.title} › ${each.heading}` : each.title;
    find("#results").append(make("li", {}, make("a", { href: each.path }, title), make("p", {}, `${place ? "… " : ""}${each.text.slice(place, place + 3 * AROUND)}`)));
  }
}

/* ---- tables of written pages sort, long ones filter; made when they come into view. Not those whose rows go on over lines ---- */
function sortable(table) {
  const rows = table.tBodies[0]?.rows.length ?? 0, goesOn = (row) => row !== table.rows[0] && !row.cells[0].textContent.trim();
  if (rows < SORTED_FROM || [...table.rows].some((row) => row.cells.length !== table.rows[0].cells.length || goesOn(row))) return;
  const made = new DataTable(table, { paging: false, info: false, searching: rows >= FILTERED_FROM, order: [], autoWidth: false, language: { search: "Find in the table" } });
  const frame = table.closest(".scroll");
  if (frame && rows >= FILTERED_FROM) frame.before(find(".dt-search", made.table().container()));
}
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) { watch.unobserve(entry.target); sortable(entry.target); }
}, { rootMargin: "200px" });
document.querySelectorAll("article table").forEach((table) => watch.observe(table));

const lab = window.lab ?? [];
if (find(".explorer") && lab.length) explorer(find(".explorer"), lab[0]);
if (find("#results")) search(lab[0]);
})();
