// SPDX-License-Identifier: MIT
//
// Charts: their colours, which follow the colour scheme, and the curve of the last minutes. Without Chart.js there are tables only.
import { $, el, fill, MINUS, perSecond, put, short } from "./figures.js";

const SPARK_POINTS = 120;     // seconds, as many as the server remembers
const OUTLINED = 50;          // more bars than these are too thin for an outline

export const drawn = typeof Chart !== "undefined";
// The colours of labels, by their names in dashboard.css; `estimated` is for all others together.
export const SERIES = ["compression", "refused", "routing", "output", "caching", "read", "bad", "good", "dim", "estimated"];

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// Stripes in a colour, as in the legend, so that estimates, and what is not over yet, can be seen without colour.
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

const painted = []; // functions that give the charts their colours

// Calls `paint` now, and when the colours change.
export function painter(paint) {
	if (drawn)
		painted.push(paint);
	return paint;
}

export const ticks = {
	whole: (value) => short(BigInt(Math.round(value))).replace(/\.0+(?=\D)/, ""),
	dollars: (value) => (value < 0 ? MINUS : "") + "$" + (Math.abs(value) >= 10000 ? ticks.whole(Math.abs(value)) : +Math.abs(value).toPrecision(6)),
};

// Gives a chart's axes and tooltip their colours, and draws it.
export function paintAxes(chart) {
	for (const axis of Object.values(chart.options.scales)) {
		axis.ticks.color = css("dim");
		axis.grid.color = css("grid");
		axis.grid.drawBorder = false;
	}
	Object.assign(chart.options.plugins.tooltip, { backgroundColor: css("ink"), titleColor: css("card"), bodyColor: css("card") });
	chart.update();
}

// What charts of bars and of curves over time have in common. `tick`: formats what stands at the axis; `shown`: what the tooltip says of an item.
export const timeChart = (id, type, tick, picked, shown) => drawn && new Chart($(id), {
	type,
	data: { labels: [], datasets: [] },
	options: {
		interaction: { mode: "index", intersect: false },
		onClick: (_, [at]) => at && picked(at.index),
		onHover: (event, [at]) => (event.native.target.style.cursor = at ? "pointer" : ""),
		scales: {
			x: { stacked: type === "bar", grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 16 } },
			y: { stacked: type === "bar", beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 6, callback: (value) => tick(value) } },
		},
		plugins: { tooltip: { filter: (item) => type !== "bar" || item.raw, callbacks: { label: (item) => `${item.dataset.label}: ${shown(item)}` } } },
	},
});

// Makes a legend again if `signature` changed. `entries`: each { color or the `key` of a pattern, text }; `open`: a bar is not over yet.
export function legend(id, signature, entries, open) {
	fill($(id), signature, () => [...entries, ...(open ? [{ key: "open", text: "striped: not over yet" }] : [])].map(({ key, color, text }) => {
		const mark = el("i.key", { "data-key": key, "aria-hidden": "true" });
		if (color)
			mark.style.background = `var(--${color})`;
		return el("li", mark, text);
	}));
}

export const bucketName = (one) => one.name + (one.open ? ", so far" : "");

// A chart of stacked bars in the canvas `id`. show(buckets, sets): each bucket has `name` and `open` (true: it is not over yet, so it is
// drawn striped); each set has `label`, value(bucket) as BigInt, `scale` (what 1 on the axis is), `color`, and perhaps `stack`.
// `shown`: formats a value; `picked(bucket)`: a bar was clicked.
export function barChart(id, tick, shown, picked) {
	let buckets = [], sets = [];
	const chart = timeChart(id, "bar", tick, (at) => picked(buckets[at]), (item) => shown(sets[item.datasetIndex].value(buckets[item.dataIndex])));
	const paint = painter(() => {
		chart.data.datasets.forEach((set, at) => {
			const { color } = sets[at], estimated = sets[at].striped, plain = estimated ? stripes(color) : css(color), open = stripes(color, true);
			set.backgroundColor = buckets.some((one) => one.open) ? buckets.map((one) => (one.open ? open : plain)) : plain;
			set.borderColor = css(color);
			set.borderWidth = buckets.map((one) => ((estimated || one.open) && buckets.length < OUTLINED ? 1 : 0));
			set.maxBarThickness = 40;
		});
		paintAxes(chart);
	});
	return { show(newBuckets, newSets) {
		[buckets, sets] = [newBuckets, newSets];
		if (!drawn)
			return;
		chart.data.labels = buckets.map(bucketName);
		chart.data.datasets = sets.map((set) => ({ label: set.label, stack: set.stack ?? "bars", data: buckets.map((one) => Number(set.value(one)) / set.scale) }));
		paint();
	} };
}

// ---- now

let spark = null;

const paintSpark = painter(() => {
	spark?.data.datasets.forEach((set, at) => {
		set.borderColor = css(at ? "rate" : "refused");
		set.backgroundColor = css(at ? "rate" : "refused") + "2e";
	});
	spark?.update();
});

export function showSpark(points) {
	if (!drawn)
		return;
	const line = (label) => ({ label, data: [], borderWidth: 2, pointRadius: 0, tension: 0, fill: label === "requests/s" });
	if (!spark) {
		spark = new Chart($("spark"), {
			type: "line",
			data: { labels: [], datasets: [line("refused/s"), line("requests/s")] },
			options: {
				events: [],
				scales: { x: { display: false }, y: { display: false, beginAtZero: true, suggestedMax: 1 } },
				plugins: { tooltip: { enabled: false } },
			},
		});
		paintSpark();
	}
	const peak = points.reduce((top, p) => Math.max(top, p.requests_per_s), 0);
	// Always two minutes wide, now at the right. Refusals are drawn only if there are any.
	const before = new Array(Math.max(0, SPARK_POINTS - points.length)).fill(null), of = (name) => [...before, ...points.map((p) => p[name])];
	spark.data.labels = [...before, ...points].map((_, at) => at);
	spark.data.datasets[1].data = of("requests_per_s");
	spark.data.datasets[0].data = points.some((p) => p.refused_per_s > 0) ? of("refused_per_s") : [];
	spark.update();
	put($("spark-note"), `last 2 min, peak ${perSecond(peak)}`);
}

// ---- start

if (drawn) {
	Object.assign(Chart.defaults, { animation: false, maintainAspectRatio: false });
	Chart.defaults.plugins.legend.display = false;
	Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
	const repaint = () => painted.forEach((paint) => paint());
	window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
	// On paper a chart is as wide as the paper, and its colours are those of the light scheme.
	window.matchMedia("print").addEventListener("change", () => {
		Object.values(Chart.instances).forEach((chart) => chart.resize());
		repaint();
	});
}
