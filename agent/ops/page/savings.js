// SPDX-License-Identifier: MIT
//
// For a manager: what was spent and saved, how sure these figures are, and who spends.
import { showBudgets } from "./budgets.js";
import { change, filter, limits, narrowed, narrower, periodName, question, WITHOUT } from "./filter.js";
import { showGateways } from "./gateways.js";
import { showTime } from "./plots.js";
import { makeReader } from "./reader.js";
import { $, abs, announce, bar, big, clock, count, countFigure, DAY, dayName, el, exactDollars, figure, FIGURES, fill,
	fraction, money, moneyFigure, percent, plural, put, short, table, tokensIn, UNITS } from "./figures.js";

const ROWS_SHOWN = 10; // models, routes ...; a button shows the others
const WEEKS_AFTER_MS = 45 * DAY; // a longer history is shown by weeks unless a unit was chosen
const NAMES_SHOWN = 4; // names of models whose requests are in doubt

// ---- the view

export const name = "savings", params = {
	by: ["model", "route", "project", "client", "member", "gateway"],
	unit: ["", "hour", "day", "week", "month"], // "": as fits the period
};

let order = null, all = false; // of the table: { name, up }; all rows are shown
let reports = null;            // { group, time, gateways, list }: what is shown
export let unit = "day";       // of the bars

// The units that fit the period, the usual one first. Bars of days would be too thin in a long one.
function units() {
	const [from, to] = limits(), days = (to - from) / DAY;
	return days <= 1.5 ? ["hour"] : days <= 3 ? ["hour", "day"] : days <= 8 ? ["day", "hour"] : days <= 45 ? ["day", "hour", "week"] : ["day", "week", "month"];
}

function settle() {
	const fit = units(), { scope } = filter;
	unit = fit.includes(filter.unit) ? filter.unit : fit[0];
	$("by-gateway").hidden = scope !== "fleet";
	if (filter.by === "gateway" && scope !== "fleet")
		filter.by = "model";
	for (const [name, value] of [["unit", unit], ["by", filter.by]])
		for (const input of document.getElementsByName(name)) {
			input.checked = input.value === value;
			if (name === "unit")
				input.disabled = !fit.includes(input.value);
		}
}

// The text for one gateway, or in the plural if the figures are of the fleet.
export const whose = (text) => (filter.scope === "fleet" ? text.replace("this gateway", "the gateways") : text);

const reader = makeReader({
	async load(get) {
		settle();
		const ask = (by) => get(question("savings", { by }));
		const asks = [() => ask(filter.by), () => ask(UNITS[unit].ask)];
		if (filter.scope !== "fleet") {
			const [group, time] = await Promise.all(asks.map((one) => one()));
			return { group, time };
		}
		// Of the fleet one after the other, because the shipper answers so: after a failure nothing waits there.
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
	reports = read;
	const { group, time } = read, some = big(group.totals.requests) > 0n, fleet = filter.scope === "fleet";
	showTotals(group, time);
	if (some) {
		// Weeks are made of the same days, so nothing has to be read again.
		if (filter.since === "all" && unit === "day" && !filter.unit && Date.now() - Date.parse(time.rows[0].day) > WEEKS_AFTER_MS)
			for (const input of document.getElementsByName("unit"))
				input.checked = input.value === (unit = "week");
		showTime(time);
		showGroups(group);
		if (fleet)
			showGateways(read.gateways, read.list);
	} else {
		put($("empty-text"), narrowed() ? `No request ${periodName()} has all that the filter asks for.` : filter.since === "all" && !filter.until ? fleet ?
			"PostgreSQL has no request of any gateway yet." : "Nothing is in the ledger yet. The first figures appear when the first request has ended." :
			`No request ended ${periodName()}.`);
		put($("empty-all"), narrowed() ? "Without the filter" : "Show everything");
		$("empty-all").hidden = !narrowed() && filter.since === "all" && !filter.until;
	}
	if (chosen)
		announce(some ? `By ${filter.by}, ${periodName()}${fleet ? ", of the fleet" : ""}: saved ${$("saved").textContent}, cost ${$("cost").textContent}` :
			$("empty-text").textContent);
	return some;
}

export function start() {
	for (const name of ["by", "unit"])
		$(name).addEventListener("change", (event) => {
			all = false;
			change({ [name]: event.target.value }, true);
		});
	$("groups-all").addEventListener("click", () => {
		all = !all;
		showGroups(reports.group);
	});
	for (const id of ["money-table", "tokens-table"])
		$(id).addEventListener("toggle", () => reports && showTime(reports.time));
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
	["compression", "saved_compression_nanodollars", (t) => `${short(big(t.saved))} tokens removed from the input`],
	["routing", "saved_routing_nanodollars", () => "compared with each route's reference model"],
	["caching", "saved_cache_nanodollars", (t) => `${short(big(t.cache_read))} tokens read from caches; the extra cost of writing them is subtracted`],
];
// Who saved it: compression and routing are this gateway's doing, caching is the providers'.
const WHO = ["gateway", "cache"];

function showTotals(report, time) {
	const t = report.totals, cost = big(t.cost_nanodollars), saved = big(t.saved_total_nanodollars);
	const first = Date.parse(report.since ?? time.rows[0]?.[time.by]);

	put($("saved-title"), `Saved ${periodName()}${filter.scope === "fleet" ? " by the fleet" : ""}`);
	moneyFigure($("saved"), saved).dataset.sign = saved < 0n ? "-" : "";
	const share = percent(saved, cost + saved);
	put($("saved-share"), !cost && !saved ? "" : saved < 0n ?
		`The requests cost more than they would have: ${money(cost)} instead of ${money(cost + saved)}.` :
		`${share} of the ${money(cost + saved)} that the requests would have cost, since ${dayName(first)} ${new Date(first).getUTCFullYear()}` +
			(report.since ? `, ${clock(first).slice(0, 5)}` : ""));

	for (const who of WHO) {
		const all = big(t[`saved_${who}_nanodollars`]), estimated = big(t[`estimated_saved_${who}_nanodollars`]);
		moneyFigure($(`saved-${who}`), all);
		put($(`saved-${who}-note`), estimated ? `${money(all - estimated)} without estimates` : "");
	}

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

	fill($("exact").querySelector("tbody"), filter.scope + JSON.stringify(t), () => FIGURES.map(([name, label]) => {
		const isMoney = name.endsWith("_nanodollars"), value = big(t[name]);
		return el("tr", {}, el("th", { scope: "row" }, whose(label)),
			figure(el("td", { class: "n", "data-exact": name }), value, isMoney ? exactDollars(value) : count(value), ""));
	}));
}

// The first names of a list of models.
function namesOf(models) {
	const names = models.slice(0, NAMES_SHOWN).map((one) => one.model || "(no name)");
	if (models.length > NAMES_SHOWN)
		names.push(`and ${models.length - NAMES_SHOWN} more`);
	return `(${names.join(", ")})`;
}

// Names the models and clients whose streams do not ask for their usage.
function showUntold(report) {
	const rows = [...report.untold_models.map((one) => ["model", one.model || "(no name)", one.requests]),
		...report.untold_clients.map((one) => ["client", one.client || WITHOUT.client, one.requests])];
	$("untold").hidden = !rows.length;
	fill($("untold-table"), JSON.stringify(rows), () => table("Streams that told no usage, by model and by client",
		[{ name: "Name" }, { name: "What" }, { name: "Streams", class: "n" }],
		rows.map(([what, name, n]) => [el("span", { class: "name" }, name), what, countFigure(el("span"), big(n))])));
}

// What the upstreams reported, and what is estimated, partial, unknown or unpriced.
function showTrust(report) {
	const t = report.totals, without = report.without_estimates, parts = [];
	const cost = big(t.cost_nanodollars), estimated = big(t.estimated_cost_nanodollars);
	const add = (key, name, text) => parts.push(el("li", { "data-trust": key },
		el("i", { class: "key", "data-key": key, "aria-hidden": "true" }), el("span", {}, el("strong", {}, name), text)));

	add("reported", "Without estimates", `: ${plural(without.requests, "request")}, ${money(big(without.cost_nanodollars))}`);
	if (big(t.estimated_requests))
		add("estimated", "Estimated", `: ${plural(t.estimated_requests, "request")}, ` +
			`${short(big(t.estimated_output))} tokens out, ${money(estimated)} of the cost, ${money(big(t.estimated_saved_total_nanodollars))} ` +
			"of what was saved: streams that did not report their usage");
	if (big(t.untold_requests))
		add("untold", "Told no usage", `: ${plural(t.untold_requests, "stream")}, because the request did not ask for it ${namesOf(report.untold_models)}`);
	if (big(t.partial_requests))
		add("partial", "Partial", `: ${plural(t.partial_requests, "request")}, whose output tokens are a lower bound`);
	if (big(t.unknown_requests))
		add("unknown", "Unknown", `: ${plural(t.unknown_requests, "request")}, whose tokens nobody told: ` +
			`tokens, cost and saved are too low by them ${namesOf(report.unknown_models)}`);
	if (big(t.partly_priced_requests))
		add("partly", "Partly priced", `: ${plural(t.partly_priced_requests, "request")}, whose cost is rough ${namesOf(report.partly_priced_models)}`);
	if (big(t.unpriced_requests))
		add("unpriced", "Unpriced", `: ${plural(t.unpriced_requests, "request")}, ` +
			`${short(big(t.unpriced_tokens))} tokens, not part of any dollar figure ${namesOf(report.unpriced_models)}`);
	fill($("trust-list"), parts.map((part) => part.textContent).join("\n"), () => parts);
	showUntold(report);
	fill($("trust-bar"), `${cost},${estimated}`, () => [["reported", cost - estimated], ["estimated", estimated]].filter(([, v]) => v > 0n)
		.map(([key, v]) => {
			const part = el("i", { "data-key": key });
			part.style.flex = `${fraction(v, cost)} 0 0`;
			return part;
		}));
}

// ---- by model, route, project, client, member

const COLUMNS = [
	["requests", "Requests", (r) => big(r.requests)],
	["tokens", "Tokens", (r) => tokensIn(r) + big(r.output)],
	["cost", "Cost", (r) => big(r.cost_nanodollars)],
	["gateway", "Saved by this gateway", (r) => big(r.saved_gateway_nanodollars)],
	["saved", "Saved", (r) => big(r.saved_total_nanodollars)],
];

function sortButton(name, label) {
	const button = el("button", { type: "button", "data-sort": name }, label);
	button.addEventListener("click", () => {
		const up = order?.name === name ? !order.up : false;
		order = { name, up };
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
	if (!cost && big(row.unknown_requests) && !tokensIn(row) && !big(row.output))
		return el("span", {}, figure(node, cost, "unknown", `${count(big(row.unknown_requests))} requests whose tokens nobody told`),
			el("span", { class: "flag" }));
	const marks = [[big(row.estimated_cost_nanodollars) || big(row.partly_priced_requests), "~", "partly estimated, or partly priced"],
		[big(row.unpriced_requests) || big(row.unknown_requests), "+", "too low: some tokens have no price, or are not known"]]
		.filter(([some]) => some);
	return el("span", {}, moneyFigure(node, cost), el("span", { class: "flag", "aria-hidden": "true" }, ...marks.map(([, sign]) => sign)),
		el("span", { class: "unseen" }, ...marks.map(([, , words]) => " " + words)));
}

function showGroups(report) {
	const by = report.by, sorted = order ?? { name: "cost", up: false };
	const value = COLUMNS.find(([name]) => name === sorted.name)[2];
	const total = big(report.totals.cost_nanodollars);
	let rows = report.rows;
	if (order) { // else in the order of the server: most expensive first
		const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
		rows = [...rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
	}
	const more = rows.length - ROWS_SHOWN;
	if (!all && more > 1) // one row needs no more room than the button
		rows = rows.slice(0, ROWS_SHOWN);

	const head = [{ name: by[0].toUpperCase() + by.slice(1) },
		...COLUMNS.map(([name, text]) => [name, whose(text)]).map(([name, label]) => ({ name: label, class: "n", button: sortButton(name, label),
			sorted: sorted.name === name ? (sorted.up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	fill($("groups"), JSON.stringify([filter.scope, by, sorted, rows, String(total)]), () => table(`By ${by}`, head, rows.map((row) => {
		const [, tokens, cost, ...savings] = COLUMNS.map(([, , of]) => of(row));
		return [
			narrower(by, row[by]),
			countFigure(el("span", { "data-group": "requests" }), big(row.requests)),
			figure(el("span", { "data-group": "tokens" }), tokens, short(tokens), count(tokens)),
			costCell(row),
			total > 0n ? el("span", { title: percent(cost, total) }, bar(fraction(cost, total), "cost"),
				el("span", { class: "unseen" }, percent(cost, total))) : "",
			...savings.map((saved, at) => moneyFigure(el("span", { "data-group": at ? "saved" : "gateway", class: saved < 0n ? "loss" : null }), saved)),
		];
	}), true));
	const button = $("groups-all");
	button.hidden = more <= 1;
	button.setAttribute("aria-expanded", String(all));
	put(button, all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}
