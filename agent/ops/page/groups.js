// SPDX-License-Identifier: MIT
//
// Who spends and who saves: a table by model, route, project, client, member or gateway.
import { $, announce, bar, big, count, countFigure, el, figure, fill, fraction, moneyFigure, percent, put, short, table, tokensIn } from "./figures.js";
import { filter, narrower } from "./filter.js";
import { whose } from "./over_time.js";

const ROWS_SHOWN = 10; // a button shows the others

const COLUMNS = [
	["requests", "Requests", (r) => big(r.requests)],
	["tokens", "Tokens", (r) => tokensIn(r) + big(r.output)],
	["cost", "Cost", (r) => big(r.cost_nanodollars)],
	["gateway", "Saved by this gateway", (r) => big(r.saved_gateway_nanodollars)],
	["saved", "Saved", (r) => big(r.saved_total_nanodollars)],
];

let order = null, all = false, shown = null; // { name, up } of the column by which rows are sorted; all rows are shown; the report

function sortButton(name, label) {
	const button = el("button", { type: "button", "data-sort": name }, label);
	button.addEventListener("click", () => {
		const up = order?.name === name ? !order.up : false;
		order = { name, up };
		showGroups(shown);
		$("groups").querySelector(`[data-sort="${name}"]`).focus();
		announce(`Sorted by ${label.toLowerCase()}, ${up ? "lowest" : "highest"} first`);
	});
	return button;
}

// Nothing of it has a price; nobody told any tokens.
const unpriced = (row) => !big(row.cost_nanodollars) && big(row.unpriced_requests) > 0n;
const unknown = (row) => !big(row.cost_nanodollars) && big(row.unknown_requests) > 0n && !tokensIn(row) && !big(row.output);

function costCell(row) {
	const cost = big(row.cost_nanodollars), node = el("span", { "data-group": "cost" }), sign = (...of) => el("span", { class: "flag" }, ...of);
	if (unpriced(row))
		return el("span", {}, figure(node, cost, "unpriced", `${count(big(row.unpriced_tokens))} tokens without a price`), sign());
	if (unknown(row))
		return el("span", {}, figure(node, cost, "unknown", `${count(big(row.unknown_requests))} requests whose tokens nobody reported`), sign());
	const marks = [[big(row.estimated_cost_nanodollars) || big(row.partly_priced_requests), "~", "partly estimated, or partly priced"],
		[big(row.unpriced_requests) || big(row.unknown_requests), "+", "too low: some tokens are unknown or have no price"]]
		.filter(([some]) => some);
	return el("span", {}, moneyFigure(node, cost), el("span", { class: "flag", "aria-hidden": "true" }, ...marks.map(([, one]) => one)),
		el("span", { class: "unseen" }, ...marks.map(([, , words]) => " " + words)));
}

// What has no price has saved nobody knows how much, which is not $0.00.
function savedCell(row, name, saved) {
	const node = el("span", { "data-group": name, class: saved < 0n ? "loss" : null });
	return unpriced(row) || unknown(row) ? figure(node, saved, "\u2013", "not known") : moneyFigure(node, saved);
}

function cells(row, first, total) {
	const [, tokens, cost, ...savings] = COLUMNS.map(([, , of]) => of(row));
	return [first, countFigure(el("span", { "data-group": "requests" }), big(row.requests)),
		figure(el("span", { "data-group": "tokens" }), tokens, short(tokens), count(tokens)),
		costCell(row),
		total > 0n && !unpriced(row) ? el("span", {}, el("span", { class: "part" }, percent(cost, total)), bar(fraction(cost, total), "cost")) : "",
		...savings.map((saved, at) => savedCell(row, at ? "saved" : "gateway", saved))];
}

// `report`: /savings by one of the labels.
export function showGroups(report) {
	shown = report;
	const by = report.by, sorted = order ?? { name: "cost", up: false };
	const value = COLUMNS.find(([name]) => name === sorted.name)[2];
	const total = big(report.totals.cost_nanodollars);
	let rows = report.rows;
	if (order) { // else in the order of the server: most expensive first
		const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
		rows = [...rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
	}
	const more = rows.length - ROWS_SHOWN, many = rows.length > 1;
	if (!all && more > 1) // one row needs no more room than the button
		rows = rows.slice(0, ROWS_SHOWN);

	const head = [{ name: by[0].toUpperCase() + by.slice(1) },
		...COLUMNS.map(([name, text]) => [name, whose(text)]).map(([name, label]) => ({ name: label, class: "n", button: sortButton(name, label),
			sorted: sorted.name === name ? (sorted.up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	fill($("groups"), JSON.stringify([filter.scope, by, sorted, rows, report.totals]), () => table(`By ${by}`, head,
		rows.map((row) => cells(row, narrower(by, row[by]), total)), true, many ? cells(report.totals, "All", total) : null));
	const button = $("groups-all");
	button.hidden = more <= 1;
	button.setAttribute("aria-expanded", String(all));
	put(button, all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}

export function startGroups() {
	$("groups-all").addEventListener("click", () => {
		all = !all;
		showGroups(shown);
	});
}
