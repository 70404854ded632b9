// SPDX-License-Identifier: MIT
//
// The ledger's figures over time as charts and tables, and the curve of the last minutes. Without Chart.js there are tables only.
import { $, big, count, countFigure, el, FIGURES, fill, MINUS, money, moneyFigure, perSecond, put, short, table,
	tokensIn, UNITS } from "./figures.js";
import { filter } from "./filter.js";
import { unit, whose } from "./savings.js";

const SPARK_POINTS = 120;     // seconds, as many as the server remembers
const BUCKETS_FILLED = 2000;  // with more bars, those without a request are left out

// ---- over time

let charts = null;
let buckets = [];

// Adds days up to weeks and months, in whole numbers.
function bucketsOf(report, unit) {
	const { ask: by, start, next } = UNITS[unit], sums = new Map();
	let last = start(Math.min(Date.now(), Date.parse(report.until ?? "") - 1 || Infinity)), first = report.since ? start(Date.parse(report.since)) : last;

	for (const row of report.rows) {
		const at = start(Date.parse(row[by]));
		const sum = sums.get(at) ?? {};
		for (const [name] of FIGURES)
			sum[name] = (sum[name] ?? 0n) + big(row[name]);
		sums.set(at, sum);
		first = Math.min(first, at);
		last = Math.max(last, at);
	}
	const nothing = Object.fromEntries(FIGURES.map(([name]) => [name, 0n])), out = [];
	for (let at = first; at <= last && out.length < BUCKETS_FILLED; at = next(at))
		out.push({ at, name: UNITS[unit].name(at), some: sums.has(at), ...(sums.get(at) ?? nothing) });
	if (out.length === BUCKETS_FILLED)
		return [...sums.keys()].sort((a, b) => a - b).map((at) => ({ at, name: UNITS[unit].name(at), some: true, ...sums.get(at) }));
	return out;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// Stripes, as in the legend, so that estimates can be seen without colour.
function stripes() {
	const tile = el("canvas", { width: 8, height: 8 }), pen = tile.getContext("2d");
	pen.strokeStyle = css("cost");
	pen.lineWidth = 2;
	for (const at of [-8, 0, 8]) {
		pen.moveTo(at, 8);
		pen.lineTo(at + 8, 0);
	}
	pen.stroke();
	return pen.createPattern(tile, "repeat");
}

const MONEY_SETS = [
	{ label: "cost, reported", value: (b) => b.cost_nanodollars - b.estimated_cost_nanodollars, color: "cost" },
	{ label: "cost, estimated", value: (b) => b.estimated_cost_nanodollars, color: "estimated" },
	{ label: "saved by this gateway", value: (b) => b.saved_gateway_nanodollars, color: "saved", stack: "saved" },
	{ label: "saved by providers’ caches", value: (b) => b.saved_cache_nanodollars, color: "caching", stack: "saved" },
];
const TOKEN_SETS = [
	{ label: "uncached input", value: (b) => b.input, color: "input" },
	{ label: "cache read", value: (b) => b.cache_read, color: "read" },
	{ label: "cache write", value: (b) => b.cache_write, color: "write" },
	{ label: "output", value: (b) => b.output, color: "output" },
];

function barChart(id, sets, shown, tick) {
	const chart = new Chart($(id), {
		type: "bar",
		data: { labels: [], datasets: sets.map((set) => ({ label: set.label, data: [], stack: set.stack ?? "bars" })) },
		options: {
			animation: false, responsive: true, maintainAspectRatio: false, interaction: { mode: "index", intersect: false },
			scales: {
				x: { stacked: true, grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 16 } },
				y: { stacked: true, beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 6, callback: tick } },
			},
			plugins: {
				legend: { display: false },
				tooltip: { callbacks: { label: (item) => {
					const value = sets[item.datasetIndex].value(buckets[item.dataIndex]);
					return `${item.dataset.label}: ${shown(value)}`;
				} } },
			},
		},
	});
	chart.sets = sets;
	return chart;
}

function sparkChart() {
	const line = (label) => ({ label, data: [], borderWidth: 2, pointRadius: 0, tension: 0, fill: label === "requests/s" });
	return new Chart($("spark"), {
		type: "line",
		data: { labels: [], datasets: [line("refused/s"), line("requests/s")] },
		options: {
			animation: false, responsive: true, maintainAspectRatio: false, events: [],
			scales: { x: { display: false }, y: { display: false, beginAtZero: true, suggestedMax: 1 } },
			plugins: { legend: { display: false }, tooltip: { enabled: false } },
		},
	});
}

export function paint() {
	if (!charts)
		return;
	for (const chart of [charts.money, charts.tokens]) {
		chart.data.datasets.forEach((set, at) => {
			const color = chart.sets[at].color;
			set.backgroundColor = color === "estimated" ? stripes() : css(color);
			set.borderColor = css(color === "estimated" ? "cost" : color);
			set.borderWidth = color === "estimated" && buckets.length < 50 ? 1 : 0;
			set.maxBarThickness = 40;
		});
		for (const axis of Object.values(chart.options.scales)) {
			axis.ticks.color = css("dim");
			axis.grid.color = css("grid");
			axis.grid.drawBorder = false;
		}
		Object.assign(chart.options.plugins.tooltip, { backgroundColor: css("ink"), titleColor: css("card"), bodyColor: css("card") });
		chart.update();
	}
	charts.spark.data.datasets.forEach((set, at) => {
		set.borderColor = css(at ? "rate" : "refused");
		set.backgroundColor = css(at ? "rate" : "refused") + "2e";
	});
	charts.spark.update();
}

export function makeCharts() {
	if (typeof Chart === "undefined") // there are tables only
		return;
	Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
	const whole = (value) => short(BigInt(Math.round(value)));
	charts = {
		money: barChart("money", MONEY_SETS, money, (value) => (value < 0 ? MINUS : "") + "$" +
			(Math.abs(value) >= 100000 ? whole(Math.abs(value)) : +Math.abs(value).toPrecision(6))),
		tokens: barChart("tokens", TOKEN_SETS, count, whole),
		spark: sparkChart(),
	};
	paint();
}

export function showTime(report) {
	buckets = bucketsOf(report, unit);
	const signature = JSON.stringify([filter.scope, unit, buckets], (_, v) => (typeof v === "bigint" ? String(v) : v));
	if ($("money").made !== signature) {
		$("money").made = signature;
		const scale = { money: 1e9, tokens: 1 };
		for (const id of ["money", "tokens"]) {
			if (!charts)
				break;
			charts[id].data.labels = buckets.map((b) => b.name);
			charts[id].data.datasets.forEach((set, at) => (set.label = whose(charts[id].sets[at].label)));
			charts[id].data.datasets.forEach((set, at) => (set.data = buckets.map((b) => Number(charts[id].sets[at].value(b)) / scale[id])));
		}
		paint();
		const most = (value) => buckets.reduce((top, b) => (value(b) > value(top) ? b : top), buckets[0]);
		const dearest = most((b) => b.cost_nanodollars), busiest = most((b) => tokensIn(b) + b.output);
		$("money").setAttribute("aria-label", `Cost and savings by ${unit}, ${buckets.length} bars. Highest cost ` +
			`${money(dearest.cost_nanodollars)}, ${dearest.name}. The table below has all figures.`);
		$("tokens").setAttribute("aria-label", `Tokens by ${unit}, ${buckets.length} bars. Most ` +
			`${short(tokensIn(busiest) + busiest.output)}, ${busiest.name}. The table below has all figures.`);
	}
	timeTable("money-table", [["requests", "Requests"], ["cost_nanodollars", "Cost"], ["estimated_cost_nanodollars", "Estimated"],
		["saved_gateway_nanodollars", whose("Saved by this gateway")], ["saved_cache_nanodollars", "Saved by caches"]]);
	timeTable("tokens-table", [["input", "Input"], ["cache_read", "Cache read"], ["cache_write", "Cache write"], ["output", "Output"]]);
}

// Newest first. Made only while the table is open.
function timeTable(id, columns) {
	const details = $(id);
	if (!details.open)
		return;
	const rows = buckets.filter((b) => b.some).reverse();
	const place = details.querySelector(".scroll") ?? details.appendChild(el("div", { class: "scroll", tabindex: "0", role: "region",
		"aria-label": id === "money-table" ? "Cost and savings over time" : "Tokens over time" }));
	fill(place, unit + $("money").made, () => table(`By ${unit}, newest first`,
		[{ name: unit[0].toUpperCase() + unit.slice(1) }, ...columns.map(([, name]) => ({ name, class: "n" }))],
		rows.map((b) => [b.name, ...columns.map(([name]) => {
			const node = el("span", { "data-time": name });
			return name.endsWith("_nanodollars") ? moneyFigure(node, b[name]) : countFigure(node, b[name]);
		})]), true));
}

// ---- now

export function showSpark(points) {
	if (!charts)
		return;
	const { spark } = charts, peak = points.reduce((top, p) => Math.max(top, p.requests_per_s), 0);
	// Always two minutes wide, now at the right. Refusals are drawn only if there are any.
	const before = new Array(Math.max(0, SPARK_POINTS - points.length)).fill(null);
	spark.data.labels = [...before, ...points].map((_, at) => at);
	spark.data.datasets[1].data = [...before, ...points.map((p) => p.requests_per_s)];
	spark.data.datasets[0].data = points.some((p) => p.refused_per_s > 0) ? [...before, ...points.map((p) => p.refused_per_s)] : [];
	spark.update();
	put($("spark-note"), `last 2 min, peak ${perSecond(peak)}`);
}
