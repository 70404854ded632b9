// SPDX-License-Identifier: MIT
//
// The view that was chosen, and the ledger's figures for it: totals, how sure they are, and by model, route, project, client or member of a pool.
import { $, abs, announce, bar, big, clock, count, countFigure, dayName, el, exactDollars, figure, FIGURES, fill,
	fraction, money, moneyFigure, percent, plural, put, short, table, tokensIn } from "./figures.js";

const ROWS_SHOWN = 10; // models, routes ...; a button shows the others
const NAMES_SHOWN = 4; // names of models whose requests are in doubt

// ---- the view: kept in the URL's hash

export const CHOICES = {
	period: ["24h", "7d", "30d", "all"],
	unit: ["hour", "day", "week", "month"],
	by: ["model", "route", "project", "client", "member", "gateway"],
	scope: ["gateway", "fleet"],
};
const UNITS_OF = { "24h": ["hour"], "7d": ["hour", "day"], "30d": ["hour", "day", "week"], all: ["day", "week", "month"] };
const DEFAULT_UNIT = { "24h": "hour", "7d": "day", "30d": "day", all: "day" };
export const PERIOD_NAMES = { "24h": "in the last 24 hours", "7d": "in the last 7 days", "30d": "in the last 30 days", all: "to date" };
export const view = { period: "all", unit: "day", by: "model", scope: "gateway", unitGiven: false, order: null, all: false };

export function readHash() {
	const said = new URLSearchParams(location.hash.slice(1));
	for (const [name, values] of Object.entries(CHOICES))
		if (values.includes(said.get(name)))
			view[name] = said.get(name);
	view.unitGiven = said.has("unit");
	if (!said.has("scope"))
		view.scope = "gateway";
	settle();
}

// Sets the controls to the view. A unit that the period does not allow is replaced by the default.
export function settle() {
	if (!UNITS_OF[view.period].includes(view.unit)) {
		view.unit = DEFAULT_UNIT[view.period];
		view.unitGiven = false;
	}
	$("by-gateway").hidden = view.scope !== "fleet";
	if (view.by === "gateway" && view.scope !== "fleet")
		view.by = "model";
	for (const name of Object.keys(CHOICES))
		for (const input of document.getElementsByName(name)) {
			input.checked = input.value === view[name];
			if (name === "unit")
				input.disabled = !UNITS_OF[view.period].includes(input.value);
		}
}

// What the page writes to the address: `scope` only if it is not the usual one.
export function hash() {
	const { period, unit, by, scope } = view;
	return "#" + new URLSearchParams({ period, unit, by, ...(scope === "fleet" && { scope }) });
}

// The text for one gateway, or in the plural if the figures are of the fleet.
export const whose = (text) => (view.scope === "fleet" ? text.replace("this gateway", "the gateways") : text);

// The reports from which the page is made. Of the fleet alone: `gateways`, the sums by gateway, and `list`, the gateways.
export const reports = { group: null, time: null, gateways: null, list: null };

// ---- totals

const KINDS = [
	["compression", "saved_compression_nanodollars", (t) => `${short(big(t.saved))} tokens removed from the input`],
	["routing", "saved_routing_nanodollars", () => "compared with each route's reference model"],
	["caching", "saved_cache_nanodollars", (t) => `${short(big(t.cache_read))} tokens read from caches; the extra cost of writing them is subtracted`],
];
// Who saved it: compression and routing are this gateway's doing, caching is the providers'.
const WHO = ["gateway", "cache"];

export function showTotals(report, time) {
	const t = report.totals, cost = big(t.cost_nanodollars), saved = big(t.saved_total_nanodollars);
	const first = Date.parse(report.since ?? time.rows[0]?.[time.by]);

	put($("saved-title"), `Saved ${PERIOD_NAMES[view.period]}${view.scope === "fleet" ? " by the fleet" : ""}`);
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

	fill($("exact").querySelector("tbody"), view.scope + JSON.stringify(t), () => FIGURES.map(([name, label]) => {
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
		...report.untold_clients.map((one) => ["client", one.client || EMPTY_NAMES.client, one.requests])];
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
const EMPTY_NAMES = { model: "no model named", route: "no route", project: "no project", client: "unknown client", member: "no pool" };

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
	if (!cost && big(row.unknown_requests) && !tokensIn(row) && !big(row.output))
		return el("span", {}, figure(node, cost, "unknown", `${count(big(row.unknown_requests))} requests whose tokens nobody told`),
			el("span", { class: "flag" }));
	const marks = [[big(row.estimated_cost_nanodollars) || big(row.partly_priced_requests), "~", "partly estimated, or partly priced"],
		[big(row.unpriced_requests) || big(row.unknown_requests), "+", "too low: some tokens have no price, or are not known"]]
		.filter(([some]) => some);
	return el("span", {}, moneyFigure(node, cost), el("span", { class: "flag", "aria-hidden": "true" }, ...marks.map(([, sign]) => sign)),
		el("span", { class: "unseen" }, ...marks.map(([, , words]) => " " + words)));
}

export function showGroups(report) {
	const by = report.by, order = view.order ?? { name: "cost", up: false };
	const value = COLUMNS.find(([name]) => name === order.name)[2];
	const total = big(report.totals.cost_nanodollars);
	let rows = report.rows;
	if (view.order) { // else in the order of the server: most expensive first
		const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
		rows = [...rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
	}
	const more = rows.length - ROWS_SHOWN;
	if (!view.all && more > 1) // one row needs no more room than the button
		rows = rows.slice(0, ROWS_SHOWN);

	const head = [{ name: by[0].toUpperCase() + by.slice(1) },
		...COLUMNS.map(([name, text]) => [name, whose(text)]).map(([name, label]) => ({ name: label, class: "n", button: sortButton(name, label),
			sorted: order.name === name ? (order.up ? "ascending" : "descending") : null }))];
	head.splice(4, 0, { name: "Share", class: "share" });
	fill($("groups"), JSON.stringify([view.scope, by, order, rows, String(total)]), () => table(`By ${by}`, head, rows.map((row) => {
		const [, tokens, cost, ...savings] = COLUMNS.map(([, , of]) => of(row));
		return [
			row[by] === "" ? el("span", { class: "dim" }, EMPTY_NAMES[by]) : el("span", { class: "name" }, row[by]),
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
	button.setAttribute("aria-expanded", String(view.all));
	put(button, view.all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}
