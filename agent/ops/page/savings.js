// SPDX-License-Identifier: MIT
//
// For a manager: what was spent and saved, over time and by whom, and how sure that is.
import { $, abs, ago, all, amount, announce, bar, big, button, capital, choose, count, counted, countFigure, cut, dateName, DAY, dayName, differs,
	el, exactDollars, figure, FIGURES, fill, find, folding, fraction, joined, key, mark, minute, money, moneyFigure, most, NOTHING, on, order, percent,
	plural, put, set, short, shortFigure, state, table, tokensIn, unfold, UNITS, when } from "./figures.js";
import { download, makeReader } from "./connection.js";
import { filter, fleet, limits, missing, narrower, nothingFound, ofFleet, periodName, question, WITHOUT } from "./filter.js";
import { bars, bucketName, bucketsOf, legend, pick, SERIES, ticks, timeChart } from "./plots.js";

const WEEKS_AFTER_MS = 45 * DAY; // a longer history is shown by weeks
const NAMES_SHOWN = 4; // of models in doubt

export const name = "savings", params = {
	by: ["model", "route", "project", "client", "member", "gateway"],
	unit: ["", "hour", "day", "week", "month"],
	split: ["", "model", "route", "project", "client", "member", "status_class"],
	of: ["cost", "saved", "cached"],
};

let unit = "day";

// The usual one first.
function units() {
	const [from, to] = limits(), days = (to - from) / DAY;
	return days <= 1.5 ? ["hour"] : days <= 3 ? ["hour", "day"] : days <= 8 ? ["day", "hour"] : days <= 45 ? ["day", "hour", "week"] : ["day", "week", "month"];
}

function settle() {
	const fit = units();
	unit = fit.includes(filter.unit) ? filter.unit : fit[0];
	find("#by [value=gateway]").parentElement.hidden = !fleet();
	if (filter.by === "gateway" && !fleet())
		filter.by = "model";
	choose("by", filter.by);
	choose("unit", unit);
	for (const input of all("[name=unit]"))
		input.parentElement.hidden = !fit.includes(input.value);
	$("split").value = filter.split;
	$("of").value = filter.of;
}

const timeQuestion = (more) => question("savings", { by: UNITS[unit].ask, ...(filter.split && { split: filter.split }), ...more });
const groupQuestion = (more) => question("savings", { by: filter.by, ...more });

const reader = makeReader({
	async load(get) {
		settle();
		const asks = [groupQuestion({ compare: 1 }), timeQuestion()];
		if (!fleet()) {
			const [group, time] = await Promise.all(asks.map(get));
			return { group, time };
		}
		// One after the other, as the shipper answers them: after a failure no question waits there.
		return { group: await get(asks[0]), time: await get(asks[1]), gateways: await get(question("savings", { by: "gateway" })), list: (await get("gateways")).gateways };
	},
	show({ group, time, gateways, list }, chosen) {
		const some = big(group.totals.requests) > 0n;
		showTotals(group, time);
		if (some) {
			// Weeks are made of the same days.
			if (filter.since === "all" && unit === "day" && !filter.unit && Date.now() - Date.parse(time.rows[0].day) > WEEKS_AFTER_MS)
				choose("unit", unit = "week");
			showTime(time, unit);
			showGroups(group);
			if (fleet())
				showGateways(gateways, list);
		}
		if (chosen)
			announce(some ? `By ${filter.by}, ${periodName()}${ofFleet()}: saved ${$("saved").textContent}, cost ${$("cost").textContent}` : nothingFound());
		return some;
	},
	forget() {
		for (const [id, text] of [["saved-title", "Saved"], ["saved", "\u2026"], ["saved-share", ""], ["fleet-note", ""]])
			put(id, text);
	},
});

export function start() {
	for (const button of all("[data-csv]"))
		on(button, "click", () => {
			const time = button.dataset.csv === "time", path = (time ? timeQuestion : groupQuestion)({ format: "csv" });
			download(path, `savings-by-${time ? UNITS[unit].ask : filter.by}.csv`).catch((error) => announce(`The file cannot be made: ${error.message}`));
		});
	on("print", "click", () => window.print());
	for (const id of ["money-table", "tokens-table"])
		on(id, "toggle", () => shown && showTime(...shown));
}

export function show() {
	settle();
	reader.refresh(true);
}

export function live(stats, changed) {
	showBudgets(stats.budgets);
	if (changed && stats.ledger)
		reader.soon();
}

export const { hide } = reader;
export const title = () => (state.ledger === "ok" ? `${$("saved").textContent} saved` : null);

// ---- totals

const KINDS = [
	["compression", "saved_compression_nanodollars", (t) => `${short(t.saved)} tokens removed from the input`],
	["routing", "saved_routing_nanodollars", () => "compared with each route's reference model"],
	["caching", "saved_cache_nanodollars", (t) => `${short(t.cache_read)} tokens read from caches; the extra cost of writing them is subtracted`],
];

function compared(now, before) {
	const more = now - before;
	return before <= 0n ? `the period before: ${money(before)}` :
		`${more ? `${percent(abs(more), before)} ${more > 0n ? "more" : "less"} than` : "as in"} the period before: ${money(before)}`;
}

function showForecast({ forecast, whole_from: from }) {
	$("forecast-card").hidden = forecast === undefined;
	if (!forecast) {
		figure("forecast", "", NOTHING, "");
		put("forecast-note", Date.parse(from) > UNITS.month.start(Date.now()) ? "No forecast: the ledger has no sums by all labels of the month's first days." :
			"No forecast yet: it needs one whole day.");
		return;
	}
	moneyFigure("forecast", forecast.cost_nanodollars);
	put("forecast-title", `Forecast for all of ${UNITS.month.name(Date.parse(forecast.until) - 1)}`);
	put("forecast-note", `${money(forecast.saved_gateway_nanodollars)} ${whose("saved by this gateway")}, if all goes on as in ${
		forecast.from_days > 1 ? `the last ${forecast.from_days} days` : "the last day"}`);
}

function showKinds(t) {
	const values = KINDS.map(([, name]) => big(t[name])), size = (sign) => most([0n, ...values.map((v) => v * sign)], (v) => v);
	const gain = size(1n), loss = size(-1n), zero = fraction(loss, gain + loss);
	fill("kinds", [values, t.saved, t.cache_read], () => KINDS.map(([name, , why], at) => {
		const v = values[at], long = fraction(abs(v), gain + loss), drawn = bar(long, name, v < 0n ? zero - long : zero);
		if (loss) {
			const line = el("b");
			line.style.left = `calc(${zero * 100}% - 1px)`;
			drawn.append(line);
		}
		return el("li", { "data-kind": name }, el("span", capital(name)), drawn, amount(v, { class: v < 0n ? "amount loss" : "amount" }), el("span.why.dim", why(t)));
	}));
}

function showTotals(report, time) {
	const t = report.totals, cost = big(t.cost_nanodollars), saved = big(t.saved_total_nanodollars), tokens = tokensIn(t), estimated = big(t.estimated_output);
	const first = Date.parse(report.since ?? time.rows[0]?.[time.by]);

	put("period-title", capital(periodName()) + ofFleet());
	put("saved-title", `Saved ${periodName()}${fleet() ? " by the fleet" : ""}`);
	moneyFigure("saved", saved).dataset.sign = saved < 0n ? "-" : "";
	put("saved-share", !cost && !saved ? "" : saved < 0n ? `The requests cost more than they would have: ${money(cost)} instead of ${money(cost + saved)}.` :
		`${percent(saved, cost + saved)} of the ${money(cost + saved)} that the requests would have cost, since ${dateName(first)}${report.since ? `, ${minute(first)}` : ""}`);
	put("saved-gateway-title", whose("Saved by this gateway"));
	for (const id of ["cost", "saved-gateway", "saved-cache"]) {
		const name = `${id.replace("-", "_")}_nanodollars`, now = big(t[name]), rough = big(t[`estimated_${name}`]);
		moneyFigure(id, now);
		put(`${id}-note`, rough ? `${money(now - rough)} without estimates` : "");
		put(`${id}-before`, report.before ? compared(now, big(report.before.totals[name])) :
			report.before === null && report.since ? "the period before: not known with this filter" : "");
	}
	showForecast(report);
	put("filter-note", missing(report.requests_since ?? time.requests_since, report.not_told_apart));
	showKinds(t);
	countFigure("requests", t.requests);
	put("requests-note", `${count(t.refused)} refused, ${count(t.failed)} failed`);
	shortFigure("tokens-in", tokens);
	put("tokens-in-note", tokens ? `${percent(big(t.cache_read), tokens)} from caches` : "");
	shortFigure("tokens-out", t.output);
	put("tokens-out-note", estimated ? `${short(big(t.output) - estimated)} without estimates` : "");
	showTrust(report);
	fill("exact-table", [filter.scope, t], () => table("Every figure of the period, exact", ["Figure", "#Exact"], FIGURES.map(([name, label]) =>
		[whose(label), figure(el("span", { "data-exact": name }), big(t[name]), (name.endsWith("_nanodollars") ? exactDollars : count)(t[name]), "")])));
}

// Figures in doubt: a pattern, a name, what is counted, and why.
const DOUBTS = {
	estimated: ["estimated", "Estimated", "request", (t) => `, ${short(t.estimated_output)} tokens out, ${money(t.estimated_cost_nanodollars)} of the cost, ${
		money(t.estimated_saved_total_nanodollars)} of what was saved: streams that did not report their usage`],
	untold: ["untold", "Without usage", "stream", () => ", because the request did not ask for usage"],
	partial: ["partial", "Partial", "request", () => " whose output tokens are a lower bound"],
	unknown: ["unknown", "Unknown", "request", () => " whose tokens nobody reported, so tokens, cost and savings are too low"],
	partly_priced: ["partly", "Partly priced", "request", () => " whose cost is rough"],
	unpriced: ["unpriced", "Unpriced", "request", (t) => `, ${short(t.unpriced_tokens)} tokens, not part of any dollar figure`],
};

function namesOf(models) {
	const names = models.slice(0, NAMES_SHOWN).flatMap((one, at) => [at ? ", " : "", narrower("model", one.model)]);
	return el("span", " (", ...names, models.length > NAMES_SHOWN ? `, and ${models.length - NAMES_SHOWN} more)` : ")");
}

function showTrust(report) {
	const { totals: t, without_estimates: sure } = report, cost = big(t.cost_nanodollars), estimated = big(t.estimated_cost_nanodollars);
	const doubt = (id, name, text, models) => el("li", { "data-trust": id }, key(id), el("span", el("strong", name), `: ${text}`, models && namesOf(models)));
	const doubts = Object.entries(DOUBTS).filter(([name]) => big(t[`${name}_requests`])), models = doubts.map(([name]) => report[`${name}_models`]);
	const streams = [...report.untold_models.map((one) => ["model", one.model || "(no name)", one.requests]),
		...report.untold_clients.map((one) => ["client", one.client || WITHOUT.client, one.requests])];

	fill("trust-list", [t, sure, models], () => [
		doubt("reported", "Without estimates", `${plural(sure.requests, "request")}, ${money(sure.cost_nanodollars)}`),
		...doubts.map(([name, [id, text, what, why]], at) =>
			doubt(id, text, plural(t[`${name}_requests`], what) + why(t), models[at]))]);
	$("price").hidden = !doubts.some(([name]) => name.endsWith("priced"));
	$("untold").hidden = !streams.length;
	fill("untold-table", streams, () => table("Streams without usage, by model and by client", ["Name", "What", "#Streams"],
		streams.map(([what, name, n]) => [el("span.name", name), what, counted(n)])));
	fill("trust-bar", [cost, estimated], () => [["reported", cost - estimated], ["estimated", estimated]].filter(([, v]) => v > 0n).map(([name, v]) => {
		const part = el("i", { "data-key": name });
		part.style.flex = `${fraction(v, cost)} 0 0`;
		return part;
	}));
}

const OTHERS = "\u0000"; // in place of a label

const MONEY = [
	{ label: "cost, reported", value: (b) => b.cost_nanodollars - b.estimated_cost_nanodollars, color: "cost", text: "cost" },
	{ label: "cost, estimated", value: (b) => b.estimated_cost_nanodollars, color: "cost", pattern: "estimated", text: "of which estimated" },
	{ label: "saved by this gateway", value: (b) => b.saved_gateway_nanodollars, color: "saved", stack: "saved" },
	{ label: "saved by providers’ caches", value: (b) => b.saved_cache_nanodollars, color: "caching", stack: "saved" },
];
const TOKENS = [["uncached input", "input", "input"], ["cache read", "cache_read", "read"], ["cache write", "cache_write", "write"],
	["output", "output", "output"]].map(([label, name, color]) => ({ label, name, value: (b) => b[name], color }));
const MONEY_COLUMNS = [["requests", "Requests"], ["cost_nanodollars", "Cost"], ["estimated_cost_nanodollars", "Estimated"],
	["saved_gateway_nanodollars", "Saved by this gateway"], ["saved_cache_nanodollars", "Saved by caches"]];
const TOKEN_COLUMNS = TOKENS.map(({ name, label }) => [name, capital(label)]);
// What a split chart shows.
const OF = { cost: { label: "cost", value: (b) => b.cost_nanodollars }, saved: MONEY[2], cached: MONEY[3] };
const tokens = (b) => tokensIn(b) + big(b.output);

const whose = (text) => (ofFleet() ? text.replace("this gateway", "the gateways") : text);

const classOf = (digit) => (digit === "0" ? "none" : `${digit}xx`);

let charts, shown = null;

const nothing = () => Object.fromEntries(FIGURES.map(([name]) => [name, 0n]));

function add(into, row) {
	for (const [name] of FIGURES)
		into[name] += big(row[name]);
}

// `of`: the sums of each label, without a prototype, because a label may be "constructor".
function sumsOf(report, unit) {
	const { ask: by, start } = UNITS[unit], sums = new Map(), now = Date.now();
	let last = start(Math.min(now, Date.parse(report.until ?? "") - 1 || Infinity)), first = report.since ? start(Date.parse(report.since)) : last;
	const make = (at, end) => ({ ...nothing(), open: at <= now && now < end, of: { __proto__: null }, ...sums.get(at) });
	for (const row of report.rows) {
		const at = start(Date.parse(row[by])), label = row.split == null ? OTHERS : report.split === "status_class" ? classOf(row.split) : row.split;
		if (!sums.has(at))
			sums.set(at, { ...nothing(), some: true, of: { __proto__: null } });
		add(sums.get(at), row);
		if (report.split)
			add(sums.get(at).of[label] ??= nothing(), row);
		first = Math.min(first, at);
		last = Math.max(last, at);
	}
	return bucketsOf(unit, [...sums.keys()], first, last + 1, make);
}

// The most expensive first: a label has one colour in all charts.
function labelsOf(buckets) {
	const sums = new Map();
	for (const bucket of buckets)
		for (const [label, sum] of Object.entries(bucket.of))
			sums.set(label, (sums.get(label) ?? 0n) + sum.cost_nanodollars);
	return [...sums.keys()].sort((a, b) => order(a === OTHERS, b === OTHERS) || order(sums.get(b), sums.get(a)));
}

function timeTable(id, name, unit, buckets, columns, data) {
	unfold(id, name, data, () => table(`By ${unit}, newest first`, [capital(unit), ...columns.map(([, name]) => `#${name}`)],
		buckets.filter((b) => b.some).reverse().map((b) => [button(".narrow", bucketName(b), () => pick(b), { title: "Show only this time" }),
			...columns.map(([name, , value]) => (name.endsWith("_nanodollars") ? amount : counted)(value ? value(b) : b[name], { "data-time": name }))]), true));
}

function showTime(report, unit) {
	shown = [report, unit];
	charts ??= { money: timeChart("money", bars, ticks.dollars, money), tokens: timeChart("tokens", bars, ticks.whole, count) };
	const buckets = sumsOf(report, unit), { split } = report, { label: what, value } = OF[filter.of] ?? OF.cost, labels = labelsOf(buckets);
	const data = [filter.scope, unit, split, filter.of, buckets], narrowing = split === "status_class" ? "status" : split;
	const heading = split ? `${capital(whose(what))}, US dollars` : "Cost and savings, US dollars";
	const sets = (by, plain, scale) => (split ? labels.map((label, at) => ({ label: label === OTHERS ? "others" : cut(label) || WITHOUT[split], name: label, scale,
		value: (b) => (b.of[label] ? by(b.of[label]) : 0n), color: SERIES[at] })) : plain.map((set) => ({ ...set, label: whose(set.label), scale })));
	const moneySets = sets(value, MONEY, 1e9), tokenSets = sets(tokens, TOKENS, 1);
	put("money-title", heading);
	$("of").hidden = !split;
	if (differs("money", data)) {
		const dearest = most(buckets, value), busiest = most(buckets, tokens);
		for (const [name, parts] of [["money", moneySets], ["tokens", tokenSets]]) {
			charts[name](buckets, parts);
			legend(`${name}-legend`, [filter.scope, split, labels], parts.map(({ label, name, color, pattern, text = label }) =>
				({ pattern, color: pattern ? null : color, text: !split || name === OTHERS ? text : narrower(narrowing, name) })), buckets.some((b) => b.open));
		}
		set("money", "aria-label", `${heading} by ${unit}, ${buckets.length} bars. Highest ${split ? what : "cost"} ` +
			`${money(value(dearest))}, ${dearest.name}. The table below has all figures.`);
		set("tokens", "aria-label", `Tokens by ${unit}, ${buckets.length} bars. Most ${short(tokens(busiest))}, ${busiest.name}. The table below has all figures.`);
	}
	const columns = (parts, plain, unitOf) => (split ? parts.map((set) => [set.name + unitOf, set.label, set.value]) : plain.map(([name, text]) => [name, whose(text)]));
	timeTable("money-table", "Cost and savings", unit, buckets, columns(moneySets, MONEY_COLUMNS, "_nanodollars"), data);
	timeTable("tokens-table", "Tokens", unit, buckets, columns(tokenSets, TOKEN_COLUMNS, ""), data);
}

const GROUPS_SHOWN = 10, ROWS_SHOWN = 20;
const QUIET_MS = 60000; // a shipper speaks every ten seconds

// ---- who spends, who saves

const COLUMNS = [
	["requests", "Requests", (r) => big(r.requests)],
	["tokens", "Tokens", tokens],
	["cost", "Cost", (r) => big(r.cost_nanodollars)],
	["gateway", "Saved by this gateway", (r) => big(r.saved_gateway_nanodollars)],
	["saved", "Saved", (r) => big(r.saved_total_nanodollars)],
];

let sorted = null, groups = null;

const sortButton = (name, label) => button("", label, () => {
	const up = sorted?.name === name ? !sorted.up : false;
	sorted = { name, up };
	showGroups(groups);
	announce(`Sorted by ${label.toLowerCase()}, ${up ? "lowest" : "highest"} first`);
}, { "data-sort": name });

const unpriced = (row) => !big(row.cost_nanodollars) && big(row.unpriced_requests) > 0n;
const unknown = (row) => !big(row.cost_nanodollars) && big(row.unknown_requests) > 0n && !tokens(row);

function costCell(row) {
	const cost = big(row.cost_nanodollars), node = el("span");
	if (unpriced(row))
		return el("span", figure(node, cost, "unpriced", `${count(row.unpriced_tokens)} tokens without a price`), el("span.flag"));
	if (unknown(row))
		return el("span", figure(node, cost, "unknown", `${count(row.unknown_requests)} requests whose tokens nobody reported`), el("span.flag"));
	const marks = [[big(row.estimated_cost_nanodollars) || big(row.partly_priced_requests), "~", "partly estimated, or partly priced"],
		[big(row.unpriced_requests) || big(row.unknown_requests), "+", "too low: some tokens are unknown or have no price"]].filter(([some]) => some);
	return el("span", moneyFigure(node, cost), el("span.flag", { "aria-hidden": "true" }, ...marks.map(([, one]) => one)),
		el("span.unseen", ...marks.map(([, , words]) => " " + words)));
}

// Not known is not $0.00.
function savedCell(row, saved) {
	const node = el(saved < 0n ? "span.loss" : "span");
	return unpriced(row) || unknown(row) ? figure(node, saved, NOTHING, "not known") : moneyFigure(node, saved);
}

function cells(row, first, total) {
	const [, tokens, cost, gateway, saved] = COLUMNS.map(([, , of]) => of(row));
	return [first, counted(row.requests), shortFigure(el("span"), tokens), costCell(row),
		total > 0n && !unpriced(row) ? el("span", el("span.part", percent(cost, total)), bar(fraction(cost, total), "cost")) : "",
		savedCell(row, gateway), savedCell(row, saved)];
}

function showGroups(report) {
	groups = report;
	const { by, totals, rows: all } = report, { name, up } = sorted ?? { name: "cost", up: false }, total = big(totals.cost_nanodollars);
	const [, , value] = COLUMNS.find(([column]) => column === name);
	const ordered = sorted ? [...all].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1)) : all;
	const head = [{ name: capital(by) }, ...COLUMNS.map(([column, text]) => ({ name: whose(text), class: "n", button: sortButton(column, whose(text)),
		sorted: column === name ? (up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	folding("groups", [filter.scope, by, name, up, totals], ordered, GROUPS_SHOWN, (rows) => table(`By ${by}`, head,
		rows.map((row) => cells(row, narrower(by, row[by]), total)), true, all.length > 1 ? cells(totals, "All", total) : null));
}

// ---- budgets

const LEVELS = [[1, "bad", "used up"], [0.8, "warn", "nearly used up"], [-Infinity, "rate", ""]];

function nameCell(one) {
	const what = one.kind === "project" ? "project" : one.project ? `of project ${one.project}` : "";
	return el("span", el("span.name", one.name), ...[what, one.enabled ? "" : "disabled"].filter(Boolean).map((words) => el("span.dim", ` ${words}`)));
}

const spentCell = (one) => el("span", amount(one.spent_nano, { "data-budget": "spent" }),
	...[["charged", " charged"], ["elsewhere", " on other gateways"]].filter(([what]) => big(one[`${what}_nano`])).map(([what, words]) =>
		el("span.dim.line", "and ", amount(one[`${what}_nano`], { "data-budget": what }), words)));

// Behind what is spent and charged, striped, what is reserved.
function budgetCell(one) {
	const tokens = one.tokens_per_minute ? el("span.dim.line", `${count(one.tokens_per_minute)} tokens a minute`) : null;
	if (one.budget_nano == null)
		return el("span", el("span.dim", "no budget; spent in this month"), tokens);
	const budget = big(one.budget_nano), used = big(one.spent_nano) + big(one.charged_nano) + big(one.elsewhere_nano), from = Math.min(1, fraction(used, budget));
	const [, level, words] = one.enabled ? LEVELS.find(([from]) => one.used_ratio >= from) : [0, "cost", ""];
	const drawn = bar(budget ? fraction(used, budget) : 1, level), reserved = el("i.reserved");
	Object.assign(reserved.style, { left: `${from * 100}%`, width: `${Math.min(1 - from, fraction(big(one.reserved_nano), budget)) * 100}%` });
	reserved.hidden = !big(one.reserved_nano);
	drawn.append(reserved);
	return el("span", drawn, el("span.line", el("strong", budget ? percent(used, budget) : "100.0%"), " of ",
		amount(budget, { "data-budget": "budget" }), ` a ${one.per}`, words ? el("span.unseen", `, ${words}`) : null),
	big(one.withheld_nano) ? el("span.dim.line", amount(one.withheld_nano, { "data-budget": "withheld" }),
		" withheld, because what other gateways spend is not known") : null, tokens);
}

function forecastCell(one) {
	if (!one.forecast)
		return el("span.dim", { title: "one hundredth of the period has to be over" }, "too early");
	const forecast = big(one.exact()), over = one.budget_nano != null && forecast > big(one.budget_nano);
	return el("span", figure(el("span", { "data-budget": "forecast", class: over ? "loss" : null }), forecast, one.forecast,
		`${exactDollars(forecast)} at ${dayName(one.period_end)}, ${minute(one.period_end)}, if all goes on as in this period`), over ? el("span.dim.line", "over the budget") : null);
}

function showBudgets(budgets) {
	$("budgets-card").hidden = !budgets?.accounts.length;
	if (!budgets?.accounts.length)
		return;
	put("budgets-of", budgets.of > budgets.shown ? `the ${count(budgets.shown)} that have used most, of ${count(budgets.of)}` : "");
	// The exact forecast moves all the time: the table is made again when its text changes.
	const rows = budgets.accounts.map(({ forecast_nano: exact, ...one }) => ({ ...one, forecast: exact == null ? null : money(exact), exact: () => exact }));
	folding("budgets", null, rows, ROWS_SHOWN, (rows) => table("Budgets of clients and projects in this period, the most used first",
		["Client or project", "#Spent", { name: "Of the budget", class: "budget" }, "#Reserved", "#Forecast", "Last refusal"],
		rows.map((one) => [nameCell(one), spentCell(one), budgetCell(one), amount(one.reserved_nano, { "data-budget": "reserved" }), forecastCell(one),
			one.last_refusal ? el("span", when(one.last_refusal.at), " ", el("span.code", one.last_refusal.error)) : ""]), true));
}

// ---- gateways of the fleet

const quiet = (one) => one.quiet_ms > QUIET_MS;

const stateCell = (one) => (one.role == null ? mark("none", "retired") : quiet(one) ? mark("bad", `not heard of for ${ago(one.quiet_ms / 1000)}`) :
	big(one.behind) ? mark("warn", `lacks ${plural(one.behind, "change")}, for ${ago(one.lag_ms / 1000)}`) : mark("good", "all requests"));

function configurationCell(one) {
	const since = (part) => one[`${part}_differ_since`], differ = ["routes", "clients"].filter(since);
	return differ.length ? mark("warn", differ.map((part) => `other ${part} for ${ago((Date.now() - Date.parse(since(part))) / 1000)}`).join(", ")) :
		one.role == null || !one.routes_hash ? "" : "as most";
}

function showGateways(sums, gateways) {
	const there = gateways.filter((one) => one.role != null), names = (list) => list.map((one) => one.name).join(", ");
	const behind = names(there.filter((one) => !quiet(one) && big(one.behind))), gone = names(there.filter(quiet));
	put("fleet-note", joined([`Of ${plural(gateways.length, "gateway")}`, behind && `newest requests are still to come from ${behind}`,
		gone && `nothing is heard of ${gone}, whose newest requests are missing`], "; ") + ".");
	const of = new Map(sums.rows.map((row) => [row.gateway, row])), cost = (one) => big(of.get(one.name)?.cost_nanodollars);
	const ordered = [...gateways].sort((a, b) => order(cost(b), cost(a)));
	folding("gateways", [sums.rows, minute(Date.now())], ordered, ROWS_SHOWN, (rows) => table("Gateways of the fleet, those with the highest cost first",
		["Gateway", "#Requests", "#Cost", "#Saved", "In PostgreSQL", "#Last seen", "Routes and clients", "Version"], rows.map((one) => {
			const row = of.get(one.name);
			return [el("span.name", one.name), counted(row?.requests), amount(row?.cost_nanodollars), amount(row?.saved_total_nanodollars),
				stateCell(one), when(Date.parse(one.last_seen)), configurationCell(one), one.version];
		}), true));
}
