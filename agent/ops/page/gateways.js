// SPDX-License-Identifier: MIT
//
// The gateways of the fleet: what each cost and saved in the period, and how far PostgreSQL has its requests.
import { $, ago, big, clock, count, countFigure, DAY, dayName, el, fill, moneyFigure, plural, put, table } from "./figures.js";

const ROWS_SHOWN = 20; // a button shows the others
const QUIET_MS = 60000; // a shipper says every ten seconds that it is there
const HEAD = [{ name: "Gateway" }, { name: "Requests", class: "n" }, { name: "Cost", class: "n" }, { name: "Saved", class: "n" }, { name: "In PostgreSQL" },
	{ name: "Last seen", class: "n" }, { name: "Routes and clients" }, { name: "Version" }];

let all = false, shown = null;

const quiet = (one) => one.quiet_ms > QUIET_MS;

function stateOf(one) {
	if (one.role == null)
		return ["none", "retired"];
	if (quiet(one))
		return ["bad", `not heard of for ${ago(one.quiet_ms / 1000)}`];
	return big(one.behind) ? ["warn", `lacks ${plural(one.behind, "change")}, for ${ago(one.lag_ms / 1000)}`] : ["good", "all requests"];
}

function seenCell(one) {
	const at = Date.parse(one.last_seen);
	return el("time", { datetime: one.last_seen, title: one.last_seen }, (Date.now() - at > DAY ? dayName(at) + ", " : "") + clock(at));
}

function configurationCell(one) {
	const differ = ["routes", "clients"].filter((part) => one[`${part}_differ_since`]);
	if (differ.length)
		return el("span", { class: "mark", "data-level": "warn" }, differ.map((part) =>
			`other ${part} for ${ago((Date.now() - Date.parse(one[`${part}_differ_since`])) / 1000)}`).join(", "));
	return one.role == null || !one.routes_hash ? "" : "as most";
}

// Says what the figures lack.
function note(gateways) {
	const there = gateways.filter((one) => one.role != null), behind = there.filter((one) => !quiet(one) && big(one.behind)), gone = there.filter(quiet);
	const names = (list) => list.map((one) => one.name).join(", ");
	put($("fleet-note"), [`Of ${plural(gateways.length, "gateway")}`, behind.length ? `newest requests are still to come from ${names(behind)}` : null,
		gone.length ? `nothing is heard of ${names(gone)}, whose newest requests are missing` : null].filter(Boolean).join("; ") + ".");
}

// `sums`: /savings by gateway; `gateways`: /gateways.
export function showGateways(sums, gateways) {
	shown = [sums, gateways];
	note(gateways);
	const of = new Map(sums.rows.map((row) => [row.gateway, row])), cost = (one) => big(of.get(one.name)?.cost_nanodollars);
	const sorted = [...gateways].sort((a, b) => (cost(a) < cost(b) ? 1 : cost(a) > cost(b) ? -1 : 0)); // else by name, as they come
	const more = sorted.length - ROWS_SHOWN, rows = !all && more > 1 ? sorted.slice(0, ROWS_SHOWN) : sorted; // one row needs no more room than the button
	fill($("gateways"), JSON.stringify([rows, sums.rows, clock(Date.now()).slice(0, 5)]), () => table("Gateways of the fleet, those with the highest cost first", HEAD, rows.map((one) => {
		const row = of.get(one.name), [level, words] = stateOf(one);
		return [el("span", { class: "name" }, one.name),
			countFigure(el("span", { "data-gateway": "requests" }), big(row?.requests)),
			moneyFigure(el("span", { "data-gateway": "cost" }), big(row?.cost_nanodollars)),
			moneyFigure(el("span", { "data-gateway": "saved" }), big(row?.saved_total_nanodollars)),
			el("span", { class: "mark", "data-level": level }, words), seenCell(one), configurationCell(one), one.version];
	}), true));
	const button = $("gateways-all");
	button.hidden = more <= 1;
	button.setAttribute("aria-expanded", String(all));
	put(button, all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}

$("gateways-all").addEventListener("click", () => {
	all = !all;
	showGateways(...shown);
});
