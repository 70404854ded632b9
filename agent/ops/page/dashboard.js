// SPDX-License-Identifier: MIT
//
// The dashboard: /savings for the ledger's figures, /events (server-sent events) for what happens now. Everything that
// comes from outside (models, projects, reasons) becomes text, never markup. Money and counts are BigInt from the wire to
// the screen; floating point draws bars and curves only.
"use strict";

const SILENCE_MS = 5000;      // the server says something every second; after this long the connection is taken for dead
const RETRY_MS = [500, 15000]; // first and longest wait before /events is asked again
const LOST_AFTER_MS = 1500;   // shorter interruptions (a worker that is replaced) are not worth a notice
const REFRESH_MS = 1000;      // the ledger's figures are not asked for more often
const FAILED_RETRY_MS = [1000, 16000]; // first and longest wait before /savings is asked again after an error
const REST_AFTER_MS = 10000;  // a tab that nobody looks at gives its connection back: browsers have six for a server, in all tabs
const ROWS_SHOWN = 10;        // of models, routes ...: the rest by a button
const SPARK_POINTS = 120;     // seconds that the server remembers
const NAMES_SHOWN = 4;        // of unpriced models
const BUCKETS_FILLED = 2000;  // hours or days without a request are drawn up to so many
const HOUR = 3600000, DAY = 24 * HOUR;
const WEEKS_AFTER_MS = 45 * DAY; // a longer history is shown by weeks, unless told otherwise

const $ = (id) => document.getElementById(id);

// ---- numbers

// JSON.parse() makes a double of each number and loses digits beyond 2^53. So integers of that length are put into quotes
// before, and big() takes both. Strings are matched first and stay as they are: no name is touched.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function parse(text) {
	return JSON.parse(text.replace(TOKENS, (token) => (token.length > 15 && /^-?\d+$/.test(token) ? `"${token}"` : token)));
}

const big = (value) => BigInt(value ?? 0);
const GROUPED = new Intl.NumberFormat("en-US");
const MINUS = "\u2212";
const abs = (n) => (n < 0n ? -n : n);

function count(n) {
	return GROUPED.format(n).replace("-", MINUS);
}

// Three digits and a letter, from 100,000 on.
function short(n) {
	const size = abs(n);
	if (size < 100000n)
		return count(n);
	const [unit, letter] = size < 1000000n ? [1000n, "k"] : size < 10n ** 9n ? [10n ** 6n, "M"] :
		size < 10n ** 12n ? [10n ** 9n, "B"] : [10n ** 12n, "T"];
	const tenths = (size * 10n + unit / 2n) / unit;
	return (n < 0n ? MINUS : "") + (tenths < 1000n ? `${tenths / 10n}.${tenths % 10n}` : GROUPED.format((tenths + 5n) / 10n)) + letter;
}

// Nano-dollars with so many digits behind the point, rounded half away from zero.
function dollars(nano, digits) {
	const unit = 10n ** BigInt(9 - digits), scale = 10n ** BigInt(digits);
	const rounded = (abs(nano) + unit / 2n) / unit;
	return (nano < 0n && rounded ? MINUS : "") + "$" + GROUPED.format(rounded / scale) +
		(digits ? "." + String(rounded % scale).padStart(digits, "0") : "");
}

const exactDollars = (nano) => dollars(nano, 9);

// Cents; two digits that count where it is less than one.
function money(nano) {
	let digits = 2;
	if (nano && abs(nano) < 10n ** 7n)
		for (digits = 4; digits < 9 && abs(nano) < 10n ** BigInt(10 - digits); )
			digits++;
	return dollars(nano, digits);
}

function percent(part, whole) {
	if (whole <= 0n)
		return "";
	const tenths = (abs(part) * 2000n + whole) / (whole * 2n);
	return `${part < 0n && tenths ? MINUS : ""}${count(tenths / 10n)}.${tenths % 10n}%`;
}

// Of one in the other, for drawing: 0 to 1.
const fraction = (part, whole) => (whole > 0n ? Number((part * 1000000n) / whole) / 1000000 : 0);

function micros(us) {
	if (us == null)
		return "–";
	const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
	return `${value < 100 ? +value.toPrecision(2) : Math.round(value)} ${unit}`;
}

function perSecond(n) {
	return n == null ? "–" : n < 10 && n % 1 ? n.toFixed(1) : GROUPED.format(Math.round(n));
}

function bytes(n) {
	return n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1048576).toFixed(1)} MB`;
}

function plural(n, one) {
	return `${count(big(n))} ${one}${big(n) === 1n ? "" : "s"}`;
}

// ---- times: UTC, as the ledger's hours and days are

const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function dayName(ms) {
	const d = new Date(ms);
	return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

function ago(seconds) {
	const s = Math.max(0, Math.round(seconds));
	return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` :
		s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` :
		`${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

// What the bars of the charts stand for. `start` of the one that a time is in, and of the next one.
const UNITS = {
	hour: { ask: "hour", start: (t) => t - t % HOUR, next: (t) => t + HOUR,
		name: (t) => `${dayName(t)}, ${clock(t).slice(0, 5)}` },
	day: { ask: "day", start: (t) => t - t % DAY, next: (t) => t + DAY, name: dayName },
	// Weeks begin on Monday; 1 January 1970 was a Thursday.
	week: { ask: "day", start: (t) => t - (t + 3 * DAY) % (7 * DAY), next: (t) => t + 7 * DAY, name: (t) => `week of ${dayName(t)}` },
	month: { ask: "day", start: (t) => Date.UTC(new Date(t).getUTCFullYear(), new Date(t).getUTCMonth()),
		next: (t) => Date.UTC(new Date(t).getUTCFullYear(), new Date(t).getUTCMonth() + 1),
		name: (t) => `${MONTHS[new Date(t).getUTCMonth()]} ${new Date(t).getUTCFullYear()}` },
};

// ---- document

function el(tag, attributes, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes ?? {}))
		if (value != null)
			node.setAttribute(name, value);
	node.append(...children.filter((child) => child != null));
	return node;
}

// Text that did not change is not touched: a screen reader's place, and a selection, stay.
function put(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

// A figure: rounded for the eye, exact in data-value and in the title.
function figure(node, value, text, exact) {
	put(node, text);
	node.dataset.value = value;
	node.title = exact;
	return node;
}

const moneyFigure = (node, nano) => figure(node, nano, money(nano), exactDollars(nano));
const countFigure = (node, n) => figure(node, n, count(n), count(n));

// Replaces what is in a node where it differs.
function fill(node, signature, make) {
	if (node.made === signature)
		return;
	node.made = signature;
	node.replaceChildren(...[make()].flat());
}

let announced;

function announce(text) {
	clearTimeout(announced);
	announced = setTimeout(() => put($("announce"), text), 150);
}

// The roles are said because the style sheet makes blocks of rows on a narrow screen, which would take them away.
function table(caption, head, rows, fold) {
	const names = head.map((one) => one.name);
	const cell = (value, at) => {
		const node = el(at ? "td" : "th", { role: at ? "cell" : "rowheader", scope: at ? null : "row", class: head[at].class,
			"data-label": at ? names[at] : null });
		node.append(value);
		return node;
	};
	return el("table", { role: "table", class: fold ? "fold" : null },
		el("caption", { class: "unseen" }, caption),
		el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head.map((one) =>
			el("th", { role: "columnheader", scope: "col", class: one.class, "aria-sort": one.sorted }, one.button ?? one.name)))),
		el("tbody", { role: "rowgroup" }, ...rows.map((row) => el("tr", { role: "row" }, ...row.map(cell)))));
}

function bar(share, color, from = 0) {
	const fillOf = el("i"), node = el("div", { class: "bar", "aria-hidden": "true" }, fillOf);
	fillOf.style.left = `${from * 100}%`;
	fillOf.style.width = `${Math.min(1, Math.max(0, share)) * 100}%`;
	fillOf.style.background = `var(--${color})`;
	fillOf.hidden = !share;
	return node;
}

// ---- what is looked at: in the URL's hash

const CHOICES = {
	period: ["24h", "7d", "30d", "all"],
	unit: ["hour", "day", "week", "month"],
	by: ["model", "route", "project", "client"],
};
const UNITS_OF = { "24h": ["hour"], "7d": ["hour", "day"], "30d": ["hour", "day", "week"], all: ["day", "week", "month"] };
const DEFAULT_UNIT = { "24h": "hour", "7d": "day", "30d": "day", all: "day" };
const PERIOD_NAMES = { "24h": "in the last 24 hours", "7d": "in the last 7 days", "30d": "in the last 30 days", all: "to date" };
const view = { period: "all", unit: "day", by: "model", unitGiven: false, order: null, all: false };

function readHash() {
	const said = new URLSearchParams(location.hash.slice(1));
	for (const [name, values] of Object.entries(CHOICES))
		if (values.includes(said.get(name)))
			view[name] = said.get(name);
	view.unitGiven = said.has("unit");
	settle();
}

// Controls say what the view is; a unit that does not suit the period gives way.
function settle() {
	if (!UNITS_OF[view.period].includes(view.unit)) {
		view.unit = DEFAULT_UNIT[view.period];
		view.unitGiven = false;
	}
	for (const name of Object.keys(CHOICES))
		for (const input of document.getElementsByName(name)) {
			input.checked = input.value === view[name];
			if (name === "unit")
				input.disabled = !UNITS_OF[view.period].includes(input.value);
		}
}

function choose(name, value) {
	view[name] = value;
	view.all = false;
	view.unitGiven ||= name === "unit";
	settle();
	history.replaceState(null, "", "#" + new URLSearchParams({ period: view.period, unit: view.unit, by: view.by }));
	refresh(true);
}

// ---- asking

class Locked extends Error {}

const token = {
	get: () => sessionStorage.getItem("spoa-llm-token"),
	set: (value) => (value ? sessionStorage.setItem("spoa-llm-token", value) : sessionStorage.removeItem("spoa-llm-token")),
};
let unlocked = Promise.resolve(), unlock = () => {};

// EventSource cannot send a token, so /events is read by fetch as well.
async function ask(path, signal) {
	const key = token.get();
	const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", signal,
		headers: key ? { authorization: "Bearer " + key } : {} });
	if (answer.status === 401) {
		lock(key);
		throw new Locked();
	}
	if (!answer.ok) {
		const text = await answer.text();
		let why = text.slice(0, 300);
		try {
			const said = JSON.parse(text).error;
			why = said?.message ?? said ?? why;
		} catch { /* not JSON: as it is */ }
		throw Object.assign(new Error(String(why) || `status ${answer.status}`), { status: answer.status });
	}
	return answer;
}

function lock(tried) {
	if (document.body.dataset.link !== "locked") {
		unlocked = new Promise((resolve) => (unlock = resolve));
		document.body.dataset.link = "locked";
		pill($("link"), "warn", "Locked");
		pill($("ready"), "none", "Unknown");
		$("locked").hidden = false;
		$("forget").hidden = true;
		$("lost").hidden = true;
		$("token").focus();
	}
	if (tried && tried === token.get()) {
		token.set(null);
		put($("token-error"), "That token was not accepted.");
	}
}

function tokenGiven(event) {
	event.preventDefault();
	token.set($("token").value.trim());
	$("token").value = "";
	put($("token-error"), "");
	document.body.dataset.link = "connecting";
	unlock();
}

// ---- the ledger's figures

const KINDS = [
	["compression", "saved_compression_nanodollars", (t) => `${short(big(t.saved))} tokens taken out of the input`],
	["caching", "saved_cache_nanodollars", (t) => `${short(big(t.cache_read))} tokens read from caches, less what writing them cost`],
	["routing", "saved_routing_nanodollars", () => "against each route's reference model"],
];

// The names of the figures in JSON, in its order, for people.
const FIGURES = [
	["requests", "Requests"], ["streams", "streamed"], ["refused", "refused by the gateway"], ["failed", "failed upstream"],
	["input", "Uncached input tokens"], ["output", "Output tokens"], ["cache_read", "Cache-read tokens"],
	["cache_write", "Cache-write tokens"], ["saved", "Tokens taken out by compression"], ["bytes_in", "Bytes in"],
	["bytes_out", "Bytes out"], ["cost_nanodollars", "Cost"], ["saved_compression_nanodollars", "Saved by compression"],
	["saved_cache_nanodollars", "Saved by caching"], ["saved_routing_nanodollars", "Saved by routing"],
	["saved_total_nanodollars", "Saved in all"], ["estimated_requests", "Estimated requests"],
	["estimated_output", "Estimated output tokens"], ["estimated_cost_nanodollars", "Estimated cost"],
	["partial_requests", "Partial requests"], ["unpriced_requests", "Unpriced requests"], ["unpriced_tokens", "Unpriced tokens"],
];

const tokensIn = (s) => big(s.input) + big(s.cache_read) + big(s.cache_write);

function showTotals(report, time) {
	const t = report.totals, cost = big(t.cost_nanodollars), saved = big(t.saved_total_nanodollars);
	const first = Date.parse(report.since ?? time.rows[0]?.[time.by]);

	put($("saved-title"), `Saved ${PERIOD_NAMES[view.period]}`);
	moneyFigure($("saved"), saved).dataset.sign = saved < 0n ? "-" : "";
	const share = percent(saved, cost + saved);
	put($("saved-share"), !cost && !saved ? "" : saved < 0n ?
		`More was spent than saved: ${money(cost)} instead of ${money(cost + saved)}.` :
		`${share} of the ${money(cost + saved)} it would have cost, since ${dayName(first)} ${new Date(first).getUTCFullYear()}` +
			(report.since ? `, ${clock(first).slice(0, 5)}` : ""));

	const values = KINDS.map(([, name]) => big(t[name]));
	const gain = values.reduce((most, v) => (v > most ? v : most), 0n), loss = values.reduce((most, v) => (-v > most ? -v : most), 0n);
	const zero = fraction(loss, gain + loss);
	fill($("kinds"), [...values, t.saved, t.cache_read].join(), () => KINDS.map(([name, , why], at) => {
		const v = values[at], long = fraction(abs(v), gain + loss), drawn = bar(long, name, v < 0n ? zero - long : zero);
		if (loss) {
			const line = el("b");
			line.style.left = `calc(${zero * 100}% - 1px)`;
			drawn.append(line);
		}
		return el("li", { "data-kind": name }, el("span", {}, name[0].toUpperCase() + name.slice(1)), drawn,
			moneyFigure(el("span", { class: v < 0n ? "amount loss" : "amount" }), v),
			el("span", { class: "why dim" }, why(t)));
	}));

	moneyFigure($("cost"), cost);
	put($("cost-note"), big(t.estimated_cost_nanodollars) ? `${money(cost - big(t.estimated_cost_nanodollars))} without estimates` : "");
	countFigure($("requests"), big(t.requests));
	put($("requests-note"), `${count(big(t.refused))} refused, ${count(big(t.failed))} failed`);
	figure($("tokens-in"), tokensIn(t), short(tokensIn(t)), count(tokensIn(t)));
	put($("tokens-in-note"), tokensIn(t) ? `${percent(big(t.cache_read), tokensIn(t))} from caches` : "");
	figure($("tokens-out"), big(t.output), short(big(t.output)), count(big(t.output)));
	put($("tokens-out-note"), big(t.estimated_output) ? `${short(big(t.output) - big(t.estimated_output))} without estimates` : "");
	showTrust(report);

	fill($("exact").querySelector("tbody"), JSON.stringify(t), () => FIGURES.map(([name, label]) => {
		const isMoney = name.endsWith("_nanodollars"), value = big(t[name]);
		return el("tr", {}, el("th", { scope: "row" }, label),
			figure(el("td", { class: "n", "data-exact": name }), value, isMoney ? exactDollars(value) : count(value), ""));
	}));
}

// What was told by the upstreams, and what was not.
function showTrust(report) {
	const t = report.totals, without = report.without_estimates, parts = [];
	const cost = big(t.cost_nanodollars), estimated = big(t.estimated_cost_nanodollars);
	const add = (key, name, text) => parts.push(el("li", { "data-trust": key },
		el("i", { class: "key", "data-key": key, "aria-hidden": "true" }), el("span", {}, el("strong", {}, name), text)));

	add("reported", "Without estimates", `: ${plural(without.requests, "request")}, ${money(big(without.cost_nanodollars))}`);
	if (big(t.estimated_requests))
		add("estimated", "Estimated", `: ${plural(t.estimated_requests, "request")}, ` +
			`${short(big(t.estimated_output))} tokens out, ${money(estimated)}: streams that did not tell their usage`);
	if (big(t.partial_requests))
		add("partial", "Partial", `: ${plural(t.partial_requests, "request")}, whose output is a lower bound`);
	if (big(t.unpriced_requests)) {
		const models = report.unpriced_models, names = models.slice(0, NAMES_SHOWN).map((one) => one.model || "(no name)");
		if (models.length > NAMES_SHOWN)
			names.push(`and ${models.length - NAMES_SHOWN} more`);
		add("unpriced", "Unpriced", `: ${plural(t.unpriced_requests, "request")}, ` +
			`${short(big(t.unpriced_tokens))} tokens, in no dollar figure (${names.join(", ")})`);
	}
	fill($("trust-list"), parts.map((part) => part.textContent).join("\n"), () => parts);
	fill($("trust-bar"), `${cost},${estimated}`, () => [["reported", cost - estimated], ["estimated", estimated]].filter(([, v]) => v > 0n)
		.map(([key, v]) => {
			const part = el("i", { "data-key": key });
			part.style.flex = `${fraction(v, cost)} 0 0`;
			return part;
		}));
}

// ---- over time

let charts = null;
let buckets = [];

// Days are summed to weeks and months here, in whole numbers.
function bucketsOf(report, unit) {
	const { ask: by, start, next } = UNITS[unit], sums = new Map();
	let last = start(Date.now()), first = report.since ? start(Date.parse(report.since)) : last;

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

// Stripes, as in the legend: what is estimated is told apart without colour.
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
	{ label: "cost, told", value: (b) => b.cost_nanodollars - b.estimated_cost_nanodollars, color: "cost" },
	{ label: "cost, estimated", value: (b) => b.estimated_cost_nanodollars, color: "estimated" },
	{ label: "saved", value: (b) => b.saved_total_nanodollars, color: "saved", stack: "saved" },
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

function paint() {
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

function makeCharts() {
	if (typeof Chart === "undefined") // the tables say it all
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

function showTime(report) {
	buckets = bucketsOf(report, view.unit);
	const signature = JSON.stringify([view.unit, buckets], (_, v) => (typeof v === "bigint" ? String(v) : v));
	if ($("money").made !== signature) {
		$("money").made = signature;
		const scale = { money: 1e9, tokens: 1 };
		for (const id of ["money", "tokens"]) {
			if (!charts)
				break;
			charts[id].data.labels = buckets.map((b) => b.name);
			charts[id].data.datasets.forEach((set, at) => (set.data = buckets.map((b) => Number(charts[id].sets[at].value(b)) / scale[id])));
		}
		paint();
		const most = (value) => buckets.reduce((top, b) => (value(b) > value(top) ? b : top), buckets[0]);
		const dearest = most((b) => b.cost_nanodollars), busiest = most((b) => tokensIn(b) + b.output);
		$("money").setAttribute("aria-label", `Cost and savings by ${view.unit}, ${buckets.length} bars. Highest cost ` +
			`${money(dearest.cost_nanodollars)}, ${dearest.name}. The table below has all figures.`);
		$("tokens").setAttribute("aria-label", `Tokens by ${view.unit}, ${buckets.length} bars. Most ` +
			`${short(tokensIn(busiest) + busiest.output)}, ${busiest.name}. The table below has all figures.`);
	}
	timeTable("money-table", [["requests", "Requests"], ["cost_nanodollars", "Cost"], ["estimated_cost_nanodollars", "Estimated"],
		["saved_total_nanodollars", "Saved"]]);
	timeTable("tokens-table", [["input", "Input"], ["cache_read", "Cache read"], ["cache_write", "Cache write"], ["output", "Output"]]);
}

// Newest first, and made only while it is open.
function timeTable(id, columns) {
	const details = $(id);
	if (!details.open)
		return;
	const rows = buckets.filter((b) => b.some).reverse();
	const place = details.querySelector(".scroll") ?? details.appendChild(el("div", { class: "scroll", tabindex: "0", role: "region",
		"aria-label": id === "money-table" ? "Cost and savings over time" : "Tokens over time" }));
	fill(place, view.unit + $("money").made, () => table(`By ${view.unit}, newest first`,
		[{ name: view.unit[0].toUpperCase() + view.unit.slice(1) }, ...columns.map(([, name]) => ({ name, class: "n" }))],
		rows.map((b) => [b.name, ...columns.map(([name]) => {
			const node = el("span", { "data-time": name });
			return name.endsWith("_nanodollars") ? moneyFigure(node, b[name]) : countFigure(node, b[name]);
		})]), true));
}

// ---- by model, route, project, client

const COLUMNS = [
	["requests", "Requests", (r) => big(r.requests)],
	["tokens", "Tokens", (r) => tokensIn(r) + big(r.output)],
	["cost", "Cost", (r) => big(r.cost_nanodollars)],
	["saved", "Saved", (r) => big(r.saved_total_nanodollars)],
];
const EMPTY_NAMES = { model: "no model named", route: "no route", project: "no project", client: "unknown client" };

function sortButton(name, label) {
	const button = el("button", { type: "button", "data-sort": name }, label);
	button.addEventListener("click", () => {
		const up = view.order?.name === name ? !view.order.up : false;
		view.order = { name, up };
		showGroups(reports.group);
		$("groups").querySelector(`[data-sort="${name}"]`).focus();
		announce(`Sorted by ${label.toLowerCase()}, ${up ? "lowest" : "highest"} first`);
	});
	return button;
}

function costCell(row) {
	const cost = big(row.cost_nanodollars), node = el("span", { "data-group": "cost" });
	if (!cost && big(row.unpriced_requests))
		return el("span", {}, figure(node, cost, "unpriced", `${count(big(row.unpriced_tokens))} tokens without a price`),
			el("span", { class: "flag" }));
	const marks = [[row.estimated_cost_nanodollars, "~", "partly estimated"], [row.unpriced_requests, "+", "and what is unpriced"]]
		.filter(([some]) => big(some));
	return el("span", {}, moneyFigure(node, cost), el("span", { class: "flag", "aria-hidden": "true" }, ...marks.map(([, sign]) => sign)),
		el("span", { class: "unseen" }, ...marks.map(([, , words]) => " " + words)));
}

function showGroups(report) {
	const by = report.by, order = view.order ?? { name: "cost", up: false };
	const value = COLUMNS.find(([name]) => name === order.name)[2];
	const total = big(report.totals.cost_nanodollars);
	let rows = report.rows;
	if (view.order) { // else as the server has it: most expensive first
		const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
		rows = [...rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
	}
	const more = rows.length - ROWS_SHOWN;
	if (!view.all && more > 1) // a button for one row would take its place
		rows = rows.slice(0, ROWS_SHOWN);

	const head = [{ name: by[0].toUpperCase() + by.slice(1) },
		...COLUMNS.map(([name, label]) => ({ name: label, class: "n", button: sortButton(name, label),
			sorted: order.name === name ? (order.up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	fill($("groups"), JSON.stringify([by, order, rows, String(total)]), () => table(`By ${by}`, head, rows.map((row) => {
		const [, tokens, cost, saved] = COLUMNS.map(([, , of]) => of(row));
		return [
			row[by] === "" ? el("span", { class: "dim" }, EMPTY_NAMES[by]) : el("span", { class: "name" }, row[by]),
			countFigure(el("span", { "data-group": "requests" }), big(row.requests)),
			figure(el("span", { "data-group": "tokens" }), tokens, short(tokens), count(tokens)),
			costCell(row),
			total > 0n ? el("span", { title: percent(cost, total) }, bar(fraction(cost, total), "cost"),
				el("span", { class: "unseen" }, percent(cost, total))) : "",
			moneyFigure(el("span", { "data-group": "saved", class: saved < 0n ? "loss" : null }), saved),
		];
	}), true));
	const button = $("groups-all");
	button.hidden = more <= 1;
	button.setAttribute("aria-expanded", String(view.all));
	put(button, view.all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}

// ---- the ledger: asked when it has changed, one question at a time

const reports = { group: null, time: null };
let asking = false, again = false, askedMs = 0, nextTimer = null, nextAt = 0, shownAt = null, wanted = 0, refusals = 0;

function ledgerState(state, text) {
	document.body.dataset.ledger = state;
	$("no-ledger").hidden = state !== "none";
	$("empty").hidden = state !== "empty";
	$("failed").hidden = !text;
	$("page").setAttribute("aria-busy", String(state === "loading"));
}

// `chosen`: by the person, so at once and with an announcement.
function refresh(chosen) {
	if (chosen)
		wanted++;
	clearTimeout(nextTimer);
	nextTimer = null;
	if (asking || document.hidden)
		again = true;
	else
		read(chosen);
}

function refreshSoon() {
	if (asking)
		again = true;
	else
		schedule(Math.max(askedMs, Date.now()));
}

function schedule(at) {
	if (nextTimer && nextAt <= at)
		return;
	clearTimeout(nextTimer);
	nextAt = at;
	nextTimer = setTimeout(() => refresh(false), at - Date.now());
}

async function read(chosen) {
	const began = Date.now(), mine = wanted, query = (by) => `savings?${new URLSearchParams({ since: view.period, by })}`;
	asking = true;
	again = false;
	try {
		const [group, time] = await Promise.all([query(view.by), query(UNITS[view.unit].ask)].map(
			async (path) => parse(await (await ask(path)).text())));
		if (mine === wanted) {
			Object.assign(reports, { group, time });
			shownAt = Date.now();
			refusals = 0;
			showLedger(chosen);
		}
	} catch (error) {
		if (!(error instanceof Locked))
			readFailed(error);
	}
	asking = false;
	// A ledger that takes long to read is asked less often.
	askedMs = Date.now() + Math.max(REFRESH_MS, 3 * (Date.now() - began));
	if (mine !== wanted)
		refresh(true);
	else if (again)
		refreshSoon();
}

function showLedger(chosen) {
	const { group, time } = reports, some = big(group.totals.requests) > 0n;
	put($("updated"), `Figures of ${clock(shownAt)}.`);
	showTotals(group, time);
	ledgerState(some ? "ok" : "empty");
	if (!some) {
		put($("empty-text"), view.period === "all" ?
			"Nothing is in the ledger yet. The first figures come when the first request has ended." :
			`No request ended ${PERIOD_NAMES[view.period]}.`);
		$("empty-all").hidden = view.period === "all";
	} else {
		// Both are made of days, so nothing has to be asked for. A bar that is too thin to be seen says nothing.
		if (view.period === "all" && view.unit === "day" && !view.unitGiven && Date.now() - Date.parse(time.rows[0].day) > WEEKS_AFTER_MS) {
			view.unit = "week";
			settle();
		}
		showTime(time);
		showGroups(group);
	}
	if (chosen)
		announce(some ? `By ${view.by}, ${PERIOD_NAMES[view.period]}: saved ${$("saved").textContent}, cost ${$("cost").textContent}` :
			$("empty-text").textContent);
	showTitle();
}

function showTitle() {
	const state = document.body.dataset.link === "lost" ? "Offline" : last && !last.ready ? "Not ready" : null;
	const saved = document.body.dataset.ledger === "ok" ? `${$("saved").textContent} saved` : null;
	document.title = [state, saved, "spoa-llm"].filter(Boolean).join(" \u00b7 ");
}

function readFailed(error) {
	if (last && !last.ledger) {
		ledgerState("none");
		return;
	}
	schedule(Date.now() + Math.min(FAILED_RETRY_MS[1], FAILED_RETRY_MS[0] * 2 ** refusals++));
	if (!error.status) // the connection: /events notices as well, and says it
		return;
	ledgerState(shownAt ? document.body.dataset.ledger : "failed", true);
	put($("failed-why"), error.message.replace(/\.?$/, "."));
	put($("failed-since"), shownAt ? `What is shown is from ${clock(shownAt)}.` : "");
}

// ---- now

let last = null, version = null, readiness = null;

function pill(node, level, text) {
	node.dataset.level = level;
	put(node, text);
}

function showReady(stats) {
	const warnings = stats.checks.filter((check) => !check.ok).length;
	const text = !stats.ready ? "Not ready" : warnings ? `Ready, ${warnings} warning${warnings > 1 ? "s" : ""}` : "Ready";
	pill($("ready"), !stats.ready ? "bad" : warnings ? "warn" : "good", text);
	if (readiness !== null && readiness !== text)
		announce(text);
	readiness = text;
	showTitle();
}

function showStats(stats) {
	last = stats;
	put($("version"), stats.version);
	showReady(stats);
	put($("rate"), perSecond(stats.now.requests_per_s));
	put($("refused-rate"), perSecond(stats.now.refused_per_s));
	put($("p50"), micros(stats.now.latency_us.p50));
	put($("p99"), micros(stats.now.latency_us.p99));
	fill($("checks"), JSON.stringify(stats.checks), () => stats.checks.map((check) => {
		const level = check.ok ? "good" : check.blocking ? "bad" : "warn";
		return el("li", { "data-check": check.part },
			el("span", { class: "mark", "data-level": level }, check.part.replaceAll("_", " "),
				el("span", { class: "unseen" }, level === "good" ? ": well" : level === "bad" ? ": failing" : ": warning")),
			el("span", { class: check.ok ? "detail dim" : "detail" }, check.detail || (check.ok ? "well" : "not well")));
	}));
	put($("process"), processText(stats));
	showSpark(stats.rate_history ?? []);
	showRefusals(stats);
	if (!stats.ledger)
		ledgerState("none");
	else if (version !== stats.ledger_version) // the first time too
		refreshSoon();
	version = stats.ledger_version;
}

function processText(stats) {
	const l = stats.ledger;
	return [`Up ${ago(stats.uptime_s)}`, stats.restarts ? plural(stats.restarts, "restart") + " after a crash" : null,
		plural(stats.connections ?? 0, "connection"), l ? `${plural(l.stored ?? 0, "record")} stored, ${count(big(l.queued))} queued` : null,
		l && big(l.dropped) ? `${count(big(l.dropped))} log lines dropped` : null,
		l ? `journal ${bytes(Number(l.journal_bytes ?? 0))}` : null,
	].filter(Boolean).join(" \u00b7 ");
}

function showSpark(points) {
	if (!charts)
		return;
	const { spark } = charts, peak = points.reduce((top, p) => Math.max(top, p.requests_per_s), 0);
	// Two minutes wide from the start on; now is at the right. Refusals are drawn where there are any.
	const before = new Array(Math.max(0, SPARK_POINTS - points.length)).fill(null);
	spark.data.labels = [...before, ...points].map((_, at) => at);
	spark.data.datasets[1].data = [...before, ...points.map((p) => p.requests_per_s)];
	spark.data.datasets[0].data = points.some((p) => p.refused_per_s > 0) ? [...before, ...points.map((p) => p.refused_per_s)] : [];
	spark.update();
	put($("spark-note"), `last 2 min, peak ${perSecond(peak)}`);
}

function showRefusals(stats) {
	const codes = Object.entries(stats.refusals_by_code ?? {}).filter(([, n]) => big(n)).sort((a, b) => Number(b[1]) - Number(a[1]));
	fill($("codes"), JSON.stringify(codes), () => codes.map(([code, n]) => el("li", {}, `${code} `, el("strong", {}, count(big(n))))));
	fill($("refusals"), JSON.stringify(stats.refusals), () => {
		if (!stats.refusals.length)
			return el("p", { class: "dim" }, "None. Each request since the start was let through.");
		return table("Last refusals, newest first",
			["Time", "Reason", "Model", "Route", "Why", "Request"].map((name) => ({ name })),
			stats.refusals.map((one) => {
				const at = new Date(one.time);
				return [el("time", { datetime: at.toISOString(), title: at.toISOString() },
					(Date.now() - at > DAY ? dayName(at) + ", " : "") + clock(at)),
					el("span", {}, el("strong", {}, String(one.status)), " ", one.code), one.model, one.route, one.problem,
					one.id ? el("span", { class: "id" }, one.id) : ""];
			}), true);
	});
}

// ---- the connection

let heardAt = null, failures = 0, controller = null, wake = () => {}, lostTimer = null, resting = false, restTimer = null;

function rest() {
	resting = true;
	controller?.abort();
}

function rise() {
	clearTimeout(restTimer);
	if (resting) {
		resting = false;
		wake();
	}
}

function looked() {
	if (document.hidden) {
		restTimer = setTimeout(rest, REST_AFTER_MS);
		return;
	}
	rise();
	if (again)
		refresh(false);
}

function live() {
	const back = failures > 0 && heardAt !== null;
	heardAt = Date.now();
	failures = 0;
	clearTimeout(lostTimer);
	lostTimer = null;
	if (document.body.dataset.link === "live")
		return;
	document.body.dataset.link = "live";
	pill($("link"), "good", "Live");
	if (!$("lost").hidden)
		announce("Connected again");
	$("lost").hidden = true;
	$("locked").hidden = true;
	$("forget").hidden = !token.get();
	for (const node of document.querySelectorAll(".as-of"))
		put(node, "");
	if (back)
		refreshSoon();
}

// `why`: the server's own words, where it is there and refuses.
function lost(why) {
	failures++;
	document.body.dataset.link = "lost";
	pill($("link"), "bad", heardAt ? "Offline" : "No connection");
	lostTimer ??= setTimeout(() => {
		if (document.body.dataset.link !== "lost")
			return;
		put($("lost-since"), (heardAt ? `since ${clock(heardAt)}` : "") + (why ? ` (${why})` : ""));
		$("lost").hidden = false;
		pill($("ready"), "none", "Unknown");
		for (const node of document.querySelectorAll(".as-of"))
			put(node, heardAt ? `as of ${clock(heardAt)}` : "");
		showTitle();
		announce("Connection lost. The figures are the last ones known.");
	}, LOST_AFTER_MS);
}

// Waits, with the time that is left in the notice. "Try now" ends it.
async function pause(ms) {
	const end = Date.now() + ms;
	let skip = false;
	wake = () => (skip = true);
	while (!skip && Date.now() < end) {
		put($("lost-next"), `Next try in ${Math.ceil((end - Date.now()) / 1000)} s.`);
		await new Promise((done) => setTimeout(done, 250));
	}
	put($("lost-next"), "Connecting\u2026");
}

function event(name, data) {
	live();
	if (name === "stats")
		showStats(parse(data));
	else if (name === "ledger" && last?.ledger)
		refreshSoon();
}

async function stream() {
	let timer;
	controller = new AbortController();
	const silence = () => {
		clearTimeout(timer);
		timer = setTimeout(() => controller.abort(), SILENCE_MS);
	};
	silence();
	try {
		const reader = (await ask("events", controller.signal)).body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ""; ; ) {
			const { value, done } = await reader.read();
			if (done)
				return;
			silence();
			const parts = (text + value).split(/\r?\n\r?\n/);
			text = parts.pop();
			for (const part of parts) {
				const lines = part.split(/\r?\n/);
				const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim() ?? "message";
				event(name, lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n"));
			}
		}
	} finally {
		clearTimeout(timer);
	}
}

async function follow() {
	for (;;) {
		let why = "";
		try {
			await stream();
		} catch (error) {
			if (error instanceof Locked) {
				await unlocked;
				continue;
			}
			why = error.status ? error.message : "";
		}
		if (resting) {
			await new Promise((done) => (wake = done));
			continue;
		}
		lost(why);
		await pause(Math.min(RETRY_MS[1], RETRY_MS[0] * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random()));
	}
}

// ---- begin

for (const name of Object.keys(CHOICES))
	$(name).addEventListener("change", (change) => choose(name, change.target.value));
$("token-form").addEventListener("submit", tokenGiven);
$("forget").addEventListener("click", () => {
	token.set(null);
	location.reload();
});
$("skip").addEventListener("click", (click) => {
	click.preventDefault(); // the hash is the view's
	$("main").focus();
});
$("lost-retry").addEventListener("click", () => wake());
$("failed-retry").addEventListener("click", () => refresh(true));
$("empty-all").addEventListener("click", () => choose("period", "all"));
$("groups-all").addEventListener("click", () => {
	view.all = !view.all;
	showGroups(reports.group);
});
for (const id of ["money-table", "tokens-table"])
	$(id).addEventListener("toggle", () => reports.time && showTime(reports.time));
window.addEventListener("hashchange", () => {
	readHash();
	refresh(true);
});
document.addEventListener("visibilitychange", looked);
// A page that is kept for the way back holds no connection either.
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", (show) => show.persisted && rise());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

makeCharts();
readHash();
follow();
// The first event says whether there is a ledger to be asked. Where events do not come through, it is asked all the same.
setTimeout(() => !last && refresh(false), SILENCE_MS / 2);
