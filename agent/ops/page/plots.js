// SPDX-License-Identifier: MIT
//
// Charts. Without Chart.js there are tables only.
import { $, el, fill, find, key, MINUS, perSecond, put, short, UNITS } from "./figures.js";
import { narrowTime } from "./filter.js";

const SPARK_POINTS = 120; // seconds
const OUTLINED = 50; // more bars are too thin for an outline
const BUCKETS_FILLED = 2000; // with more, those without a request are left out

const drawn = typeof Chart !== "undefined";
// Colours of dashboard.css for labels; `estimated` is for all others together.
export const SERIES = ["compression", "refused", "routing", "output", "caching", "read", "bad", "good", "dim", "estimated"];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// Estimates, and what is not over yet, are seen without colour.
function stripes(name, back) {
	const tile = el("canvas", { width: 8, height: 8 }), pen = tile.getContext("2d");
	pen.strokeStyle = css(name);
	pen.lineWidth = 2;
	for (const at of [-8, 0, 8]) {
		pen.moveTo(at, back ? 0 : 8);
		pen.lineTo(at + 8, back ? 8 : 0);
	}
	pen.stroke();
	return pen.createPattern(tile, "repeat");
}

const painted = []; // give the charts their colours

export const ticks = {
	whole: (value) => short(BigInt(Math.round(value))).replace(/\.0+(?=\D)/, ""),
	dollars: (value) => (value < 0 ? MINUS : "") + "$" + (Math.abs(value) >= 10000 ? ticks.whole(Math.abs(value)) : +Math.abs(value).toPrecision(6)),
};

export const legend = (id, data, entries, open) => fill(id, [data, open], () =>
	[...entries, ...(open ? [{ pattern: "open", text: "striped: not over yet" }] : [])].map((one) => el("li", key(one.pattern, one.color), one.text)));

export const bucketName = (one) => one.name + (one.open ? ", so far" : "");
export const pick = (bucket) => narrowTime(bucket.at, bucket.end);

// make(at) adds the figures, and `open`: it is not over yet.
export function bucketsOf(unit, times, first, end, make) {
	const { next, name } = UNITS[unit], buckets = [], bucket = (at) => ({ at, end: next(at), name: name(at), ...make(at, next(at)) });
	for (let at = first; at < end && buckets.length < BUCKETS_FILLED; at = next(at))
		buckets.push(bucket(at));
	return buckets.length === BUCKETS_FILLED ? times.sort((a, b) => a - b).map(bucket) : buckets;
}

export function bars(buckets, { color, pattern }) {
	const plain = pattern ? stripes(color) : css(color), open = stripes(color, true);
	return { backgroundColor: buckets.some((one) => one.open) ? buckets.map((one) => (one.open ? open : plain)) : plain, borderColor: css(color),
		borderWidth: buckets.map((one) => ((pattern || one.open) && buckets.length < OUTLINED ? 1 : 0)), maxBarThickness: 40 };
}

// Points stand where a curve has no line, and at what is not over yet.
export const curve = (buckets, { color, dash, value }) => ({ borderColor: css(color), backgroundColor: css(color), borderWidth: 2, borderDash: dash,
	pointRadius: buckets.map((one, at) => (one.open || [at - 1, at + 1].every((next) => !buckets[next] || value(buckets[next]) == null) ? 3 : 0)), pointStyle: "rectRot" });

// Returns a function that shows buckets and sets: { label, value(bucket), color, scale: what 1 on the axis is, stack, pattern, dash }.
export function timeChart(id, look, tick, shown = tick) {
	let buckets = [], sets = [];
	const stacked = look === bars;
	find(`[data-chart=${id}] figcaption`).after(el("div.chart", el(`canvas#${id}`, { role: "img" })), ...(stacked ? [el(`ul.legend#${id}-legend`)] : []));
	const chart = drawn && new Chart($(id), {
		type: stacked ? "bar" : "line",
		options: {
			interaction: { mode: "index", intersect: false },
			onClick: (_, [at]) => at && pick(buckets[at.index]),
			onHover: (event, [at]) => (event.native.target.style.cursor = at ? "pointer" : ""),
			scales: {
				x: { stacked, grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 16 } },
				y: { stacked, beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 6, callback: (value) => tick(value) } },
			},
			plugins: { tooltip: { filter: (item) => !stacked || item.raw, callbacks: {
				label: (item) => `${item.dataset.label}: ${shown(sets[item.datasetIndex].value(buckets[item.dataIndex]))}` } } },
		},
	});
	const paint = () => {
		chart.data.datasets.forEach((set, at) => Object.assign(set, look(buckets, sets[at])));
		for (const axis of Object.values(chart.options.scales)) {
			axis.ticks.color = css("dim");
			axis.grid.color = css("grid");
			axis.grid.drawBorder = false;
		}
		chart.update();
	};
	painted.push(paint);
	return (newBuckets, newSets) => {
		[buckets, sets] = [newBuckets, newSets];
		if (!drawn)
			return;
		chart.data.labels = buckets.map(bucketName);
		chart.data.datasets = sets.map(({ label, stack = "bars", scale = 1, value }) => ({ label, stack,
			data: buckets.map((one) => (value(one) == null ? null : Number(value(one)) / scale)) }));
		paint();
	};
}

let spark = null;

function paintSpark() {
	spark?.data.datasets.forEach((set, at) => {
		set.borderColor = css(at ? "rate" : "refused");
		set.backgroundColor = set.borderColor + "2e";
	});
	spark?.update();
}

export function showSpark(points) {
	if (!drawn)
		return;
	const line = (label) => ({ label, data: [], borderWidth: 2, pointRadius: 0, fill: label === "requests/s" });
	if (!spark) {
		spark = new Chart($("spark"), {
			type: "line",
			data: { datasets: [line("refused/s"), line("requests/s")] },
			options: {
				events: [],
				scales: { x: { display: false }, y: { display: false, beginAtZero: true, suggestedMax: 1 } },
			},
		});
		paintSpark();
	}
	// Two minutes wide, now at the right.
	const before = new Array(Math.max(0, SPARK_POINTS - points.length)).fill(null), of = (name) => [...before, ...points.map((p) => p[name])];
	spark.data.labels = [...before, ...points].map((_, at) => at);
	spark.data.datasets[1].data = of("requests_per_s");
	spark.data.datasets[0].data = points.some((p) => p.refused_per_s > 0) ? of("refused_per_s") : [];
	spark.update();
	put("spark-note", `last 2 min, peak ${perSecond(Math.max(0, ...points.map((p) => p.requests_per_s)))}`);
}

if (drawn) {
	Object.assign(Chart.defaults, { animation: false, maintainAspectRatio: false });
	Chart.defaults.plugins.legend.display = false;
	Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
	const repaint = () => [paintSpark, ...painted].forEach((paint) => paint());
	window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
	// Paper has its own width, and the light colours.
	window.matchMedia("print").addEventListener("change", () => {
		Object.values(Chart.instances).forEach((chart) => chart.resize());
		repaint();
	});
}
