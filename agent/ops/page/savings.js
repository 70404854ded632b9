// SPDX-License-Identifier: MIT
//
// For a manager: what was spent and saved, how sure these figures are, and who spends.
import { showBudgets } from "./budgets.js";
import { download } from "./connection.js";
import { change, filter, limits, narrowed, narrower, ofFleet, periodName, question, WITHOUT } from "./filter.js";
import { showGateways } from "./gateways.js";
import { showGroups } from "./groups.js";
import { showTime, startTime, whose } from "./over_time.js";
import { makeReader } from "./reader.js";
import { $, abs, amount, announce, bar, big, capital, choose, clock, count, counted, countFigure, DAY, dayName, el, exactDollars, figure,
	FIGURES, fill, fraction, money, missing, moneyFigure, on, percent, plural, put, short, table, tokensIn, UNITS } from "./figures.js";

const WEEKS_AFTER_MS = 45 * DAY; // a longer history is shown by weeks unless a unit was chosen
const NAMES_SHOWN = 4; // names of models whose requests are in doubt

// ---- the view

export const name = "savings", params = {
	by: ["model", "route", "project", "client", "member", "gateway"],
	unit: ["", "hour", "day", "week", "month"], // "": as fits the period
	split: ["", "model", "route", "project", "client", "member", "status_class"],
	of: ["cost", "saved", "cached"], // what the bars of a split chart show
};

let unit = "day"; // of the bars

// The units that fit the period, the usual one first. Bars of days would be too thin in a long one.
function units() {
	const [from, to] = limits(), days = (to - from) / DAY;
	return days <= 1.5 ? ["hour"] : days <= 3 ? ["hour", "day"] : days <= 8 ? ["day", "hour"] : days <= 45 ? ["day", "hour", "week"] : ["day", "week", "month"];
}

function settle() {
	const fit = units(), { scope } = filter;
	unit = fit.includes(filter.unit) ? filter.unit : fit[0];
	$("by").querySelector("[value=gateway]").parentElement.hidden = scope !== "fleet";
	if (filter.by === "gateway" && scope !== "fleet")
		filter.by = "model";
	choose("by", filter.by);
	choose("unit", unit);
	for (const input of document.getElementsByName("unit"))
		input.parentElement.hidden = !fit.includes(input.value);
	$("split").value = filter.split;
	$("of").value = filter.of;
}

const reader = makeReader({
	async load(get) {
		settle();
		const ask = (by, more) => get(question("savings", { by, ...more }));
		const asks = [() => ask(filter.by, { compare: 1 }), () => ask(UNITS[unit].ask, filter.split && { split: filter.split })];
		if (filter.scope !== "fleet") {
			const [group, time] = await Promise.all(asks.map((one) => one()));
			return { group, time };
		}
		// For the fleet one after the other, as the shipper answers them, so that after a failure no question waits there.
		const [group, time, gateways] = [await asks[0](), await asks[1](), await ask("gateway")];
		return { group, time, gateways, list: (await get("gateways")).gateways };
	},
	show: showReports,
	forget() {
		for (const [id, text] of [["saved-title", "Saved"], ["saved", "\u2026"], ["saved-share", ""], ["fleet-note", ""]])
			put($(id), text);
	},
});

function showReports(read, chosen) {
	const { group, time } = read, some = big(group.totals.requests) > 0n, fleet = filter.scope === "fleet";
	showTotals(group, time);
	if (some) {
		// Weeks are made of the same days, so nothing has to be read again.
		if (filter.since === "all" && unit === "day" && !filter.unit && Date.now() - Date.parse(time.rows[0].day) > WEEKS_AFTER_MS)
			choose("unit", unit = "week");
		showTime(time, unit);
		showGroups(group);
		if (fleet)
			showGateways(read.gateways, read.list);
	} else {
		put($("empty-text"), narrowed() ? `No request ${periodName()} has all that the filter asks for.` : filter.since === "all" && !filter.until ? fleet ?
			"PostgreSQL has no request of any gateway yet." : "Nothing is in the ledger yet. The first figures appear when the first request has ended." :
			`There is no request ${periodName()}.`);
		put($("empty-all"), narrowed() ? "Without the filter" : "Show everything");
		$("empty-all").hidden = !narrowed() && filter.since === "all" && !filter.until;
	}
	if (chosen)
		announce(some ? `By ${filter.by}, ${periodName()}${ofFleet()}: saved ${$("saved").textContent}, cost ${$("cost").textContent}` :
			$("empty-text").textContent);
	return some;
}

export function start() {
	for (const name of ["by", "unit"])
		on(name, "change", (event) => change({ [name]: event.target.value }, true));
	for (const button of document.querySelectorAll("#view-savings [data-csv]"))
		button.addEventListener("click", () => {
			const time = button.dataset.csv === "time", by = time ? UNITS[unit].ask : filter.by;
			download(question("savings", { by, ...(time && filter.split && { split: filter.split }), format: "csv" }), `savings-by-${by}.csv`)
				.catch((error) => announce(`The file cannot be made: ${error.message}`));
		});
	on("print", "click", () => window.print());
	startTime();
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

export function hide() {
	reader.hide();
}

export const title = () => (document.body.dataset.ledger === "ok" ? `${$("saved").textContent} saved` : null);

// ---- totals

const KINDS = [
	["compression", "saved_compression_nanodollars", (t) => `${short(t.saved)} tokens removed from the input`],
	["routing", "saved_routing_nanodollars", () => "compared with each route's reference model"],
	["caching", "saved_cache_nanodollars", (t) => `${short(t.cache_read)} tokens read from caches; the extra cost of writing them is subtracted`],
];
// What is said of a figure beside that of the period before.
function compared(now, before) {
	if (before <= 0n)
		return `the period before: ${money(before)}`;
	const more = now - before;
	return `${more ? `${percent(abs(more), before)} ${more > 0n ? "more" : "less"} than` : "as in"} the period before: ${money(before)}`;
}

function showForecast({ forecast, whole_from: from }) {
	$("forecast-card").hidden = forecast === undefined; // the fleet has no forecast
	if (!forecast) {
		figure($("forecast"), "", "\u2013", "");
		put($("forecast-note"), from > `${new Date().toISOString().slice(0, 8)}01T00:00:00Z` ?
			"No forecast: the ledger has no sums by all labels of the month's first days." : "No forecast yet: it needs one whole day.");
		return;
	}
	const end = new Date(Date.parse(forecast.until) - 1);
	moneyFigure($("forecast"), forecast.cost_nanodollars);
	put($("forecast-title"), `Forecast for all of ${UNITS.month.name(end.getTime())}`);
	put($("forecast-note"), `${money(forecast.saved_gateway_nanodollars)} ${whose("saved by this gateway")}, if all goes on as in ${
		forecast.from_days > 1 ? `the last ${forecast.from_days} days` : "the last day"}`);
}

function showTotals(report, time) {
	const t = report.totals, cost = big(t.cost_nanodollars), saved = big(t.saved_total_nanodollars);
	const first = Date.parse(report.since ?? time.rows[0]?.[time.by]);

	put($("period-title"), capital(periodName()) + ofFleet());
	put($("saved-title"), `Saved ${periodName()}${filter.scope === "fleet" ? " by the fleet" : ""}`);
	moneyFigure($("saved"), saved).dataset.sign = saved < 0n ? "-" : "";
	const share = percent(saved, cost + saved);
	put($("saved-share"), !cost && !saved ? "" : saved < 0n ?
		`The requests cost more than they would have: ${money(cost)} instead of ${money(cost + saved)}.` :
		`${share} of the ${money(cost + saved)} that the requests would have cost, since ${dayName(first)} ${new Date(first).getUTCFullYear()}` +
			(report.since ? `, ${clock(first).slice(0, 5)}` : ""));

	for (const [id, name] of [["cost", "cost"], ["saved-gateway", "saved_gateway"], ["saved-cache", "saved_cache"]]) {
		const now = big(t[`${name}_nanodollars`]), estimated = big(t[`estimated_${name}_nanodollars`]);
		moneyFigure($(id), now);
		put($(`${id}-note`), estimated ? `${money(now - estimated)} without estimates` : "");
		put($(`${id}-before`), report.before ? compared(now, big(report.before.totals[`${name}_nanodollars`])) : report.before === null && report.since ? "the period before: not known with this filter" : "");
	}
	showForecast(report);
	put($("filter-note"), missing(report.requests_since ?? time.requests_since, report.not_told_apart));

	const values = KINDS.map(([, name]) => big(t[name])), most = (list) => list.reduce((top, v) => (v > top ? v : top), 0n);
	const gain = most(values), loss = most(values.map((v) => -v));
	const zero = fraction(loss, gain + loss);
	fill($("kinds"), [...values, t.saved, t.cache_read].join(), () => KINDS.map(([name, , why], at) => {
		const v = values[at], long = fraction(abs(v), gain + loss), drawn = bar(long, name, v < 0n ? zero - long : zero);
		if (loss) {
			const line = el("b");
			line.style.left = `calc(${zero * 100}% - 1px)`;
			drawn.append(line);
		}
		return el("li", { "data-kind": name }, el("span", capital(name)), drawn,
			amount(v, { class: v < 0n ? "amount loss" : "amount" }),
			el("span.why.dim", why(t)));
	}));

	countFigure($("requests"), t.requests);
	put($("requests-note"), `${count(t.refused)} refused, ${count(t.failed)} failed`);
	figure($("tokens-in"), tokensIn(t), short(tokensIn(t)), count(tokensIn(t)));
	put($("tokens-in-note"), tokensIn(t) ? `${percent(big(t.cache_read), tokensIn(t))} from caches` : "");
	figure($("tokens-out"), big(t.output), short(t.output), count(t.output));
	put($("tokens-out-note"), big(t.estimated_output) ? `${short(big(t.output) - big(t.estimated_output))} without estimates` : "");
	showTrust(report);

	fill($("exact").querySelector("tbody"), filter.scope + JSON.stringify(t), () => FIGURES.map(([name, label]) => {
		const isMoney = name.endsWith("_nanodollars"), value = big(t[name]);
		return el("tr", el("th", { scope: "row" }, whose(label)),
			figure(el("td.n", { "data-exact": name }), value, isMoney ? exactDollars(value) : count(value), ""));
	}));
}

// The first names of a list of models; a click narrows.
function namesOf(models) {
	const names = models.slice(0, NAMES_SHOWN).flatMap((one, at) => [at ? ", " : "", narrower("model", one.model)]);
	return el("span", " (", ...names, models.length > NAMES_SHOWN ? `, and ${models.length - NAMES_SHOWN} more)` : ")");
}

// Names the models and clients whose streams do not ask for their usage.
function showUntold(report) {
	const rows = [...report.untold_models.map((one) => ["model", one.model || "(no name)", one.requests]),
		...report.untold_clients.map((one) => ["client", one.client || WITHOUT.client, one.requests])];
	$("untold").hidden = !rows.length;
	fill($("untold-table"), JSON.stringify(rows), () => table("Streams without usage, by model and by client",
		["Name", "What", "#Streams"],
		rows.map(([what, name, n]) => [el("span.name", name), what, counted(n)])));
}

// What the upstreams reported, and what is estimated, partial, unknown or unpriced.
function showTrust(report) {
	const t = report.totals, without = report.without_estimates, parts = [];
	const cost = big(t.cost_nanodollars), estimated = big(t.estimated_cost_nanodollars);
	const add = (key, name, ...text) => parts.push(el("li", { "data-trust": key },
		el("i.key", { "data-key": key, "aria-hidden": "true" }), el("span", el("strong", name), ...text)));

	add("reported", "Without estimates", `: ${plural(without.requests, "request")}, ${money(without.cost_nanodollars)}`);
	if (big(t.estimated_requests))
		add("estimated", "Estimated", `: ${plural(t.estimated_requests, "request")}, ` +
			`${short(t.estimated_output)} tokens out, ${money(estimated)} of the cost, ${money(t.estimated_saved_total_nanodollars)} ` +
			"of what was saved: streams that did not report their usage");
	if (big(t.untold_requests))
		add("untold", "Without usage", `: ${plural(t.untold_requests, "stream")}, because the request did not ask for usage`, namesOf(report.untold_models));
	if (big(t.partial_requests))
		add("partial", "Partial", `: ${plural(t.partial_requests, "request")} whose output tokens are a lower bound`);
	if (big(t.unknown_requests))
		add("unknown", "Unknown", `: ${plural(t.unknown_requests, "request")} whose tokens nobody reported, so ` +
			"tokens, cost and savings are too low", namesOf(report.unknown_models));
	if (big(t.partly_priced_requests))
		add("partly", "Partly priced", `: ${plural(t.partly_priced_requests, "request")} whose cost is rough`, namesOf(report.partly_priced_models));
	if (big(t.unpriced_requests))
		add("unpriced", "Unpriced", `: ${plural(t.unpriced_requests, "request")}, ` +
			`${short(t.unpriced_tokens)} tokens, not part of any dollar figure`, namesOf(report.unpriced_models));
	$("price").hidden = !big(t.unpriced_requests) && !big(t.partly_priced_requests);
	fill($("trust-list"), parts.map((part) => part.textContent).join("\n"), () => parts);
	showUntold(report);
	fill($("trust-bar"), `${cost},${estimated}`, () => [["reported", cost - estimated], ["estimated", estimated]].filter(([, v]) => v > 0n)
		.map(([key, v]) => {
			const part = el("i", { "data-key": key });
			part.style.flex = `${fraction(v, cost)} 0 0`;
			return part;
		}));
}
