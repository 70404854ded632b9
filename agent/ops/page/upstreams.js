// SPDX-License-Identifier: MIT
//
// Tables of who serves, and of what was refused: upstreams, members of pools, refusals by their reason.
import { $, ago, announce, bar, big, button, clock, count, counted, cut, el, fill, folding, fraction, micros, order, percent, table, when,
	words } from "./figures.js";
import { address, change, filter, narrower } from "./filter.js";

const SHOWN = 10; // rows, until more are asked for
const CLASSES = ["2xx", "3xx", "4xx", "5xx"];

const counts = (one, names) => names.map((name) => counted(one[name]));
export const duration = (ms) => (ms == null ? "\u2013" : !ms ? "0" : micros(ms * 1000).replace(" ", "\u00a0"));

// ---- upstreams of the period

// What the table can be sorted by, and how long the bar in its cell is.
const SORTS = {
	requests: ["Requests", (one) => Number(one.requests)],
	failed: ["Failed", (one) => fraction(failures(one), big(one.requests))],
	first_byte: ["First byte p50, p95, p99", (one) => one.first_byte_ms.p95 ?? -1],
	whole: ["Whole answer p50, p95, p99", (one) => one.whole_ms.p95 ?? -1],
};

// Requests that got no good answer: an error status, or none, or an answer that broke off; also those that the gateway answered in the
// upstream's place.
const failures = (one) => big(one.failed) + big(one.refused);

function times(ms, value, most) {
	const node = el("span.times", { "data-ms": JSON.stringify(ms) }, [ms.p50, ms.p95, ms.p99].map(duration).join(", "));
	return el("div", node, ms.p95 == null ? null : bar(most > 0 ? value / most : 0, "rate"));
}

function sorter(key) {
	const [text] = SORTS[key];
	return { name: text, class: /p50/.test(text) ? "n span" : "n", sorted: filter.sort === key ? "descending" : null, button: button("", text, () => {
		change({ sort: key }, true);
		announce(`Sorted by ${text}, highest first`);
	}, { "data-sort": key }) };
}

export function showUpstreams(upstreams) {
	const asked = upstreams.filter((one) => one.backend || one.route), [, by] = SORTS[filter.sort];
	const most = (key) => Math.max(...asked.map(SORTS[key][1]));
	$("upstreams-card").hidden = !asked.length;
	folding("upstreams", [...asked].sort((a, b) => by(b) - by(a)), SHOWN, (some) => fill($("upstreams"), JSON.stringify([filter.sort, some, asked]), () => table("Upstreams of the period",
		["Upstream", sorter("requests"), sorter("failed"), "#4xx", "#5xx", "#No status", sorter("first_byte"), sorter("whole"), "#Last request"],
		some.map((one) => {
			const failed = failures(one);
			return [el("div", narrower("route", one.route), one.member ? el("span", ", member ", narrower("member", one.member)) : null, el("span.id.dim", { title: one.backend }, cut(one.backend))),
				...counts(one, ["requests"]), el("div", counted(failed), failed ? ` (${percent(failed, big(one.requests))})` : "", bar(SORTS.failed[1](one), "refused")),
				...counts(one.status, ["4xx", "5xx", "none"]), times(one.first_byte_ms, SORTS.first_byte[1](one), most("first_byte")), times(one.whole_ms, SORTS.whole[1](one), most("whole")),
				when(Date.parse(one.last))];
		}), true)));
}

// ---- the tap and the members of pools, now

export function showTap(tap) {
	$("tap-card").hidden = !tap;
	fill($("tap"), JSON.stringify(tap), () => !tap ? [] : [[tap.streams, "streams through the tap now"], [tap.streams_total, "since it started"],
		[tap.fallbacks, "went directly, so estimated"], [tap.cut_client, "ended by clients"], [tap.cut_upstream, "broken off by upstreams"], [tap.unreadable, "not readable, so estimated"],
		[tap.full, "times full"], [tap.reports_lost, "reports lost, so estimated"]].filter(([n], at) => at < 2 || big(n))
		.map(([n, text]) => el("li", el("strong", count(n)), ` ${text}`)));
}

export function showMembers(members) {
	const state = (one) => !one.usable ? ["bad", "no credential"] : one.rest_s ? ["warn", `rests for ${ago(one.rest_s)} after ${one.rest_status}`]
		: one.unreachable_ms ? ["bad", `not reached at ${clock(one.unreachable_ms)}`] : ["good", "ready"];
	const whys = (one) => Object.entries(one.declined).filter(([, n]) => big(n)).map(([why, n]) => `${why}: ${count(n)}`).join(", ");
	$("members-card").hidden = !members.length;
	fill($("members"), JSON.stringify(members), () => !members.length ? [] :
		table("Members of pools, and what became of their requests since the start", ["Pool", "Member", "Upstream", "State",
			...CLASSES.map((name) => `#${name}`), "#Broken off", "#No answer", "Went on to the next"],
		members.map((one) => [narrower("route", one.route), narrower("member", one.name), el("span.id", one.upstream ?? "none that is valid"),
			el("span.mark", { "data-level": state(one)[0] }, state(one)[1]), ...counts(one.answers, CLASSES), ...counts(one, ["cut", "unanswered"]), whys(one)]), true));
}

// ---- refusals

// Without a ledger: as counted since the start, the agent's own and those of which it knows by HAProxy's log lines only.
function sinceStart(stats) {
	const sums = new Map();
	for (const [code, n] of [...Object.entries(stats.refusals_by_code), ...Object.entries(stats.haproxy_refusals_by_code ?? {})])
		sums.set(code, (sums.get(code) ?? 0n) + big(n));
	return [...sums].filter(([, n]) => n).sort((a, b) => order(b[1], a[1])).map(([code, requests]) => ({ code, requests: String(requests) }));
}

const place = (one) => [one.backend, one.member && `member ${one.member}`].filter(Boolean).join(", ") + (one.backend ? ": " : "") + one.problem;

// `period`: of /operation; without it, since the start.
export function showRefusals(stats, period) {
	const rows = period ?? sinceStart(stats), newest = (code) => stats.refusals.find((one) => one.code === code);
	folding("refusals", rows, SHOWN, (some) => fill($("refusals"), JSON.stringify([!period, some, stats.refusals[0]]), () => !rows.length ? el("p.dim", period ? "None in this period." : "None. No request was refused since the start.") :
		table("Refusals by reason", ["Reason", "#Requests", "Last", "What it means, and what to do"], some.map((one) => {
			const note = newest(one.code), last = one.last ? Date.parse(one.last) : note?.time;
			return [el("span", el("strong", String(one.status ?? note?.status ?? "")), " ", narrower("code", one.code)), ...counts(one, ["requests"]), last ? when(last) : "",
				el("div", one.what ? el("p", one.what) : null, one.todo ? el("p.dim", ...words(one.todo)) : null,
					note ? el("p.dim", `The newest: ${[note.model, note.route].filter(Boolean).map((name) => cut(name)).join(", ")}: ${place(note)}`) : null)];
		}), true)));
	folding("lately", stats.refusals, SHOWN, (some) => fill($("lately"), JSON.stringify(some), () => !some.length ? el("p.dim", "None since the start.") :
		table("Last refusals, newest first", ["Time", "Reason", "Model", "Route", "Why", "Request"],
			some.map((one) => [when(one.time), el("span", el("strong", String(one.status)), " ", one.code), one.model, one.route, place(one),
				one.id ? el("a.id", { href: address({ view: "request", id: one.id }) }, one.id) : ""]), true)));
}
