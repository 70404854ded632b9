// SPDX-License-Identifier: MIT
//
// The gateways of the fleet: what each cost and saved in the period, and how far PostgreSQL has its requests.
import { $, ago, amount, big, clock, counted, el, fill, folding, order, plural, put, table, when } from "./figures.js";

const ROWS_SHOWN = 20; // a button shows the others
const QUIET_MS = 60000; // a shipper says every ten seconds that it is there
const HEAD = ["Gateway", "#Requests", "#Cost", "#Saved", "In PostgreSQL", "#Last seen", "Routes and clients", "Version"];

const quiet = (one) => one.quiet_ms > QUIET_MS;

function stateOf(one) {
	if (one.role == null)
		return ["none", "retired"];
	if (quiet(one))
		return ["bad", `not heard of for ${ago(one.quiet_ms / 1000)}`];
	return big(one.behind) ? ["warn", `lacks ${plural(one.behind, "change")}, for ${ago(one.lag_ms / 1000)}`] : ["good", "all requests"];
}

function configurationCell(one) {
	const differ = ["routes", "clients"].filter((part) => one[`${part}_differ_since`]);
	if (differ.length)
		return el("span.mark", { "data-level": "warn" }, differ.map((part) =>
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
	note(gateways);
	const of = new Map(sums.rows.map((row) => [row.gateway, row])), cost = (one) => big(of.get(one.name)?.cost_nanodollars);
	const sorted = [...gateways].sort((a, b) => order(cost(b), cost(a))); // else by name, as they come
	folding("gateways", sorted, ROWS_SHOWN, (rows) => fill($("gateways"), JSON.stringify([rows, sums.rows, clock(Date.now()).slice(0, 5)]), () =>
		table("Gateways of the fleet, those with the highest cost first", HEAD, rows.map((one) => {
			const row = of.get(one.name), [level, words] = stateOf(one);
			return [el("span.name", one.name),
				counted(row?.requests, { "data-gateway": "requests" }),
				amount(row?.cost_nanodollars, { "data-gateway": "cost" }),
				amount(row?.saved_total_nanodollars, { "data-gateway": "saved" }),
				el("span.mark", { "data-level": level }, words), when(Date.parse(one.last_seen)), configurationCell(one), one.version];
		}), true)));
}
