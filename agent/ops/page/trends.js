// SPDX-License-Identifier: MIT
//
// Requests, errors and times over time: bars and curves, and a table of the same figures.
import { $, big, capital, count, counted, countFigure, el, fill, on, order, put, table, UNITS } from "./figures.js";
import { narrower, narrowTime } from "./filter.js";
import { barChart, bucketName, css, drawn, legend, paintAxes, painter, SERIES, ticks, timeChart } from "./plots.js";
import { duration } from "./upstreams.js";

const BUCKETS_FILLED = 2000; // with more, those without a request are left out
const CLASSES = [["2xx", "good"], ["3xx", "input"], ["4xx", "write"], ["5xx", "refused"], ["none", "dim"]];
const CURVES = [["p50", "input", []], ["p95", "write", [6, 3]], ["p99", "refused", [2, 3]]]; // they differ without colour, too
const PANES = { first_byte: "first_byte_ms", whole: "whole_ms" };

const word = (name) => (name === "none" ? "no status" : name);
let charts, data = null;

function bucketsOf({ series, period, unit, unfinished }) {
	const { start, next, name } = UNITS[unit], there = new Map(series.map((one) => [Date.parse(one.time), one])), out = [];
	const open = unfinished ? Date.parse(unfinished) : null, times = [...there.keys()], end = Date.parse(period.until ?? "") || Date.now();
	const make = (at) => ({ at, end: next(at), open: at === open, name: name(at), ...there.get(at) });
	for (let at = start(period.since ? Math.min(Date.parse(period.since), ...times) : Math.min(...times)); at < end && out.length < BUCKETS_FILLED; at = next(at))
		out.push(make(at));
	return out.length === BUCKETS_FILLED ? times.sort((a, b) => a - b).map(make) : out;
}

const pick = (bucket) => narrowTime(bucket.at, bucket.end);

// A chart of p50, p95 and p99. The part of a curve that leads to a bucket that is not over yet has gaps.
function curveChart(id) {
	let buckets = [];
	const chart = timeChart(id, "line", duration, (at) => pick(buckets[at]), (item) => duration(item.raw));
	const paint = painter(() => {
		chart.data.datasets.forEach((set, at) => {
			const [, color, dash] = CURVES[at];
			Object.assign(set, { borderColor: css(color), backgroundColor: css(color), borderWidth: 2, borderDash: dash, tension: 0,
				pointRadius: buckets.map((one, n) => (one.open || (buckets[n - 1]?.whole_ms == null && buckets[n + 1]?.whole_ms == null) ? 3 : 0)), pointStyle: "rectRot" });
		});
		paintAxes(chart);
	});
	return (shown, of) => {
		buckets = shown;
		if (!drawn)
			return;
		chart.data.labels = buckets.map(bucketName);
		chart.data.datasets = CURVES.map(([label]) => ({ label, data: buckets.map((one) => one[of]?.[label] ?? null) }));
		paint();
	};
}

// Failed requests by the upstreams that have most of them. `savings`: split by backend.
function byUpstream(savings, unit, buckets) {
	const sums = new Map(), of = new Map(), key = (time, label) => `${time} ${label}`;
	for (const row of savings.rows) {
		const label = row.split ?? "others", n = big(row.failed);
		sums.set(label, (sums.get(label) ?? 0n) + n);
		of.set(key(Date.parse(row[unit]), label), n);
	}
	return [...sums].filter(([, n]) => n).sort((a, b) => order(b[1], a[1])).map(([label], at) => ({ label: label || "no upstream", color: SERIES[at], scale: 1,
		value: (b) => of.get(key(b.at, label)) ?? 0n }));
}

function showTable(buckets, signature) {
	if (!$("trend-table").open)
		return;
	fill($("trend-rows"), signature, () => table(`By ${data.unit}, newest first`,
		[capital(data.unit), "#Requests", "#Refused", "#Failed", ...CLASSES.map(([name]) => `#${word(name)}`), "#First byte p50, p95, p99", "#Whole answer p50, p95, p99"],
		buckets.filter((one) => one.requests).reverse().map((one) => [bucketName(one),
			...["requests", "refused", "failed"].map((name) => counted(one[name])), ...CLASSES.map(([name]) => counted(one.status[name])),
			...Object.values(PANES).map((of) => el("span", { "data-ms": JSON.stringify(one[of]) }, CURVES.map(([name]) => duration(one[of][name])).join(", ")))]), true));
}

// `operation`: the answer of /operation; with `errors`, of /savings split by backend, if that is shown.
export function showTrends(operation) {
	data = operation;
	charts ??= { classes: barChart("classes", ticks.whole, count, pick), errors: barChart("errors-chart", ticks.whole, count, pick),
		first_byte: curveChart("first-byte"), whole: curveChart("whole") };
	const buckets = bucketsOf(data), open = buckets.some((one) => one.open), { totals, unit, errors } = data;
	const sets = CLASSES.filter(([name]) => big(totals.status[name])).map(([name, color]) => ({ label: word(name), status: name, color, scale: 1, value: (b) => big(b.status?.[name]) }));
	const wrong = errors ? byUpstream(errors, unit, buckets) : sets.filter((set) => !["2xx", "3xx"].includes(set.status));
	for (const [id, value] of [["total-requests", totals.requests], ["total-failed", totals.failed], ["total-refused", totals.refused]])
		countFigure($(id), value);
	for (const [pane, of] of Object.entries(PANES))
		put($(`total-${pane}`), CURVES.map(([name]) => duration(totals[of][name])).join(", "));
	const signature = JSON.stringify([buckets, errors?.rows], (_, v) => (typeof v === "bigint" ? String(v) : v));
	showTable(buckets, signature);
	if ($("classes").made === signature)
		return;
	$("classes").made = signature;
	charts.classes.show(buckets, sets);
	charts.errors.show(buckets, wrong);
	for (const [id, of, striped] of [["classes-legend", sets, open], ["errors-legend", wrong, false]])
		legend(id, JSON.stringify([of.map((set) => set.label), striped]),
			of.map(({ color, status, label }) => ({ color, text: status ? narrower("status", status, label) : label })), striped);
	for (const [pane, of] of Object.entries(PANES))
		charts[pane](buckets, of);
	const most = (value) => buckets.reduce((top, one) => (value(one) > value(top) ? one : top), buckets[0]), busiest = most((one) => Number(one.requests ?? 0));
	const worst = most((one) => wrong.reduce((sum, set) => sum + Number(set.value(one)), 0)), slow = (of) => most((one) => one[of]?.p95 ?? -1);
	const label = (id, text) => $(id).setAttribute("aria-label", `${text} The table below has all figures.`);
	label("classes", `Requests by ${unit} and class of status. Most ${count(busiest.requests)}, ${busiest.name}.`);
	label("errors-chart", wrong.length ? `Errors by ${unit}. Most in ${worst.name}.` : "No errors in this period.");
	label("first-byte", `Time to the first byte by ${unit}. Highest p95 ${duration(slow("first_byte_ms").first_byte_ms?.p95)}, ${slow("first_byte_ms").name}.`);
	label("whole", `Time to the end of the answer by ${unit}. Highest p95 ${duration(slow("whole_ms").whole_ms?.p95)}, ${slow("whole_ms").name}.`);
	put($("errors-none"), wrong.length ? "" : "None in this period.");
}

export function startTrends() {
	on("trend-table", "toggle", () => data && showTrends(data));
}
