// SPDX-License-Identifier: MIT
//
// Who spends and who saves: a table by model, route, project, client, member or gateway.
import { $, announce, bar, big, button, capital, count, counted, el, figure, fill, folding, fraction, moneyFigure, order, percent, short,
	table, tokensIn } from "./figures.js";
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

let sorted = null, shown = null; // { name, up } of the column by which rows are sorted; the report

const sortButton = (name, label) => button("", label, () => {
	const up = sorted?.name === name ? !sorted.up : false;
	sorted = { name, up };
	showGroups(shown);
	announce(`Sorted by ${label.toLowerCase()}, ${up ? "lowest" : "highest"} first`);
}, { "data-sort": name });

// Nothing of it has a price; nobody reported any tokens.
const unpriced = (row) => !big(row.cost_nanodollars) && big(row.unpriced_requests) > 0n;
const unknown = (row) => !big(row.cost_nanodollars) && big(row.unknown_requests) > 0n && !tokensIn(row) && !big(row.output);

function costCell(row) {
	const cost = big(row.cost_nanodollars), node = el("span", { "data-group": "cost" }), sign = (...of) => el("span.flag", ...of);
	if (unpriced(row))
		return el("span", figure(node, cost, "unpriced", `${count(row.unpriced_tokens)} tokens without a price`), sign());
	if (unknown(row))
		return el("span", figure(node, cost, "unknown", `${count(row.unknown_requests)} requests whose tokens nobody reported`), sign());
	const marks = [[big(row.estimated_cost_nanodollars) || big(row.partly_priced_requests), "~", "partly estimated, or partly priced"],
		[big(row.unpriced_requests) || big(row.unknown_requests), "+", "too low: some tokens are unknown or have no price"]]
		.filter(([some]) => some);
	return el("span", moneyFigure(node, cost), el("span.flag", { "aria-hidden": "true" }, ...marks.map(([, one]) => one)),
		el("span.unseen", ...marks.map(([, , words]) => " " + words)));
}

// What requests without a price have saved is not known, which is not $0.00.
function savedCell(row, name, saved) {
	const node = el("span", { "data-group": name, class: saved < 0n ? "loss" : null });
	return unpriced(row) || unknown(row) ? figure(node, saved, "\u2013", "not known") : moneyFigure(node, saved);
}

function cells(row, first, total) {
	const [, tokens, cost, ...savings] = COLUMNS.map(([, , of]) => of(row));
	return [first, counted(row.requests, { "data-group": "requests" }),
		figure(el("span", { "data-group": "tokens" }), tokens, short(tokens), count(tokens)),
		costCell(row),
		total > 0n && !unpriced(row) ? el("span", el("span.part", percent(cost, total)), bar(fraction(cost, total), "cost")) : "",
		...savings.map((saved, at) => savedCell(row, at ? "saved" : "gateway", saved))];
}

// `report`: /savings by one of the labels.
export function showGroups(report) {
	shown = report;
	const { by, totals, rows: all } = report, { name, up } = sorted ?? { name: "cost", up: false }, total = big(totals.cost_nanodollars);
	const value = COLUMNS.find(([column]) => column === name)[2];
	// Else in the order of the server: most expensive first.
	const ordered = sorted ? [...all].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1)) : all;
	const head = [{ name: capital(by) },
		...COLUMNS.map(([column, text]) => ({ name: whose(text), class: "n", button: sortButton(column, whose(text)),
			sorted: column === name ? (up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	folding("groups", ordered, ROWS_SHOWN, (rows) => fill($("groups"), JSON.stringify([filter.scope, by, name, up, rows, totals]), () => table(`By ${by}`, head,
		rows.map((row) => cells(row, narrower(by, row[by]), total)), true, all.length > 1 ? cells(totals, "All", total) : null)));
}
