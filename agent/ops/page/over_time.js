// SPDX-License-Identifier: MIT
//
// Cost, savings and tokens over time, as they are or split by a label: bars, what their colours mean, and tables.
import { $, amount, announce, big, button, capital, count, counted, cut, el, FIGURES, fill, money, on, order, put, short, table, tokensIn,
	UNITS } from "./figures.js";
import { change, filter, narrower, narrowTime, WITHOUT } from "./filter.js";
import { barChart, bucketName, legend, SERIES, ticks } from "./plots.js";

const BUCKETS_FILLED = 2000;  // with more bars, those without a request are left out
const OTHERS = "\u0000";      // in place of a label: all others together

const MONEY_SETS = [
	{ label: "cost, reported", value: (b) => b.cost_nanodollars - b.estimated_cost_nanodollars, color: "cost" },
	{ label: "cost, estimated", value: (b) => b.estimated_cost_nanodollars, color: "cost", striped: true },
	{ label: "saved by this gateway", value: (b) => b.saved_gateway_nanodollars, color: "saved", stack: "saved" },
	{ label: "saved by providers’ caches", value: (b) => b.saved_cache_nanodollars, color: "caching", stack: "saved" },
];
const TOKEN_SETS = [
	{ label: "uncached input", value: (b) => b.input, color: "input" },
	{ label: "cache read", value: (b) => b.cache_read, color: "read" },
	{ label: "cache write", value: (b) => b.cache_write, color: "write" },
	{ label: "output", value: (b) => b.output, color: "output" },
];
const MONEY_COLUMNS = [["requests", "Requests"], ["cost_nanodollars", "Cost"], ["estimated_cost_nanodollars", "Estimated"],
	["saved_gateway_nanodollars", "Saved by this gateway"], ["saved_cache_nanodollars", "Saved by caches"]];
const TOKEN_COLUMNS = [["input", "Input"], ["cache_read", "Cache read"], ["cache_write", "Cache write"], ["output", "Output"]];
// What the height of a bar in a split chart shows.
const OF = {
	cost: ["Cost", (b) => b.cost_nanodollars],
	saved: ["Saved by this gateway", (b) => b.saved_gateway_nanodollars],
	cached: ["Saved by providers’ caches", (b) => b.saved_cache_nanodollars],
};
const tokens = (b) => tokensIn(b) + b.output;

// The text for one gateway, or in the plural if the figures are of the fleet.
export const whose = (text) => (filter.scope === "fleet" ? text.replace("this gateway", "the gateways") : text);

// A class of status, as the filter has it.
const classOf = (digit) => (digit === "0" ? "none" : `${digit}xx`);

const pick = (bucket) => narrowTime(bucket.at, bucket.end);
let charts, shown = null; // { report, unit }

const nothing = () => Object.fromEntries(FIGURES.map(([name]) => [name, 0n]));

function add(into, row) {
	for (const [name] of FIGURES)
		into[name] += big(row[name]);
}

// Adds the rows up to units, in whole numbers: weeks and months are made of days. `of`: the sums of each label of a split report; it has no
// prototype, because a label may be "constructor".
function bucketsOf(report, unit) {
	const { ask: by, start, next, name } = UNITS[unit], sums = new Map(), now = Date.now();
	let last = start(Math.min(now, Date.parse(report.until ?? "") - 1 || Infinity)), first = report.since ? start(Date.parse(report.since)) : last;

	const make = (at) => ({ at, end: next(at), open: at <= now && now < next(at), name: name(at), some: false, of: { __proto__: null }, ...nothing() });
	for (const row of report.rows) {
		const at = start(Date.parse(row[by])), label = row.split == null ? OTHERS : report.split === "status_class" ? classOf(row.split) : row.split;
		if (!sums.has(at))
			sums.set(at, Object.assign(make(at), { some: true }));
		add(sums.get(at), row);
		if (report.split)
			add(sums.get(at).of[label] ??= nothing(), row);
		first = Math.min(first, at);
		last = Math.max(last, at);
	}
	const out = [];
	for (let at = first; at <= last && out.length < BUCKETS_FILLED; at = next(at))
		out.push(sums.get(at) ?? make(at));
	return out.length === BUCKETS_FILLED ? [...sums.values()].sort((a, b) => a.at - b.at) : out;
}

// The labels of a split report, the most expensive first, and the others last: a label has one colour in all charts.
function labelsOf(buckets) {
	const sums = new Map();
	for (const bucket of buckets)
		for (const [label, sum] of Object.entries(bucket.of))
			sums.set(label, (sums.get(label) ?? 0n) + sum.cost_nanodollars);
	return [...sums.keys()].sort((a, b) => order(a === OTHERS, b === OTHERS) || order(sums.get(b), sums.get(a)));
}

function keys(place, split, labels) {
	if (split)
		return labels.map((label, at) => ({ color: SERIES[at], text: label === OTHERS ? "others" : narrower(split === "status_class" ? "status" : split, label) }));
	return (place === "money-legend" ? [["cost", "cost"], ["estimated", "of which estimated"], ["saved", whose("saved by this gateway")], ["cached", "saved by providers’ caches"]] :
		[["input", "uncached input"], ["read", "cache read"], ["write", "cache write"], ["output", "output"]]).map(([key, text]) => ({ key, text }));
}

// Newest first. Made only while the table is open.
function timeTable(id, unit, buckets, columns, signature) {
	const details = $(id);
	if (!details.open)
		return;
	const place = details.querySelector(".scroll") ?? details.appendChild(el("div.scroll", { tabindex: "0", role: "region",
		"aria-label": id === "money-table" ? "Cost and savings over time" : "Tokens over time" }));
	fill(place, signature, () => table(`By ${unit}, newest first`,
		[capital(unit), ...columns.map(([, name]) => `#${name}`)],
		buckets.filter((b) => b.some).reverse().map((b) => {
			const time = button(".narrow", bucketName(b), () => pick(b), { title: "Show only this time" });
			return [time, ...columns.map(([name, , value]) =>
				(name.endsWith("_nanodollars") ? amount : counted)(value ? value(b) : b[name], { "data-time": name }))];
		}), true));
}

// `report`: /savings by day or hour, perhaps split; `unit`: of the bars.
export function showTime(report, unit) {
	shown = { report, unit };
	charts ??= { money: barChart("money", ticks.dollars, money, pick), tokens: barChart("tokens", ticks.whole, count, pick) };
	const buckets = bucketsOf(report, unit), { split } = report, [title, value] = OF[filter.of] ?? OF.cost;
	const signature = JSON.stringify([filter.scope, unit, split, filter.of, buckets], (_, v) => (typeof v === "bigint" ? String(v) : v));
	const labels = labelsOf(buckets), parts = (by, scale) => labels.map((label, at) => ({ label: label === OTHERS ? "others" : cut(label) || WITHOUT[split], name: label, scale,
		value: (b) => (b.of[label] ? by(b.of[label]) : 0n), color: SERIES[at] }));
	const plain = (sets, scale) => sets.map((set) => ({ ...set, label: whose(set.label), scale }));
	const moneySets = split ? parts(value, 1e9) : plain(MONEY_SETS, 1e9), tokenSets = split ? parts(tokens, 1) : plain(TOKEN_SETS, 1);
	put($("money-title"), split ? `${whose(title)}, US dollars` : "Cost and savings, US dollars");
	$("of").hidden = !split;
	if ($("money").made !== signature) {
		$("money").made = signature;
		const open = buckets.some((b) => b.open);
		charts.money.show(buckets, moneySets);
		charts.tokens.show(buckets, tokenSets);
		for (const place of ["money-legend", "tokens-legend"])
			legend(place, JSON.stringify([filter.scope, split, labels, open]), keys(place, split, labels), open);
		const most = (by) => buckets.reduce((top, b) => (by(b) > by(top) ? b : top), buckets[0]), dearest = most(value), busiest = most(tokens);
		$("money").setAttribute("aria-label", `${$("money-title").textContent} by ${unit}, ${buckets.length} bars. Highest ${(split ? title : "cost").toLowerCase()} ` +
			`${money(value(dearest))}, ${dearest.name}. The table below has all figures.`);
		$("tokens").setAttribute("aria-label", `Tokens by ${unit}, ${buckets.length} bars. Most ${short(tokens(busiest))}, ${busiest.name}. The table below has all figures.`);
	}
	const columns = (sets, unitOf) => sets.map((set) => [set.name + unitOf, set.label, set.value]);
	timeTable("money-table", unit, buckets, split ? columns(moneySets, "_nanodollars") : MONEY_COLUMNS.map(([name, text]) => [name, whose(text)]), signature);
	timeTable("tokens-table", unit, buckets, split ? columns(tokenSets, "") : TOKEN_COLUMNS, signature);
}

export function startTime() {
	for (const id of ["money-table", "tokens-table"])
		on(id, "toggle", () => shown && showTime(shown.report, shown.unit));
	for (const name of ["split", "of"])
		on(name, "change", (event) => {
			change({ [name]: event.target.value }, true);
			announce(event.target.selectedOptions?.[0].textContent ?? "");
		});
}
