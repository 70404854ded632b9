// SPDX-License-Identifier: MIT
//
// For who is on call: what happens now, how the upstreams are, and what was refused.
import { $, ago, big, bytes, clock, count, countFigure, DAY, dayName, el, fill, micros, perSecond, plural, put, table } from "./figures.js";
import { ask } from "./connection.js";
import { makeExplain } from "./explain.js";
import { showSpark } from "./plots.js";

export const name = "operation", params = {};

function processText(stats) {
	const l = stats.ledger;
	return [`Up ${ago(stats.uptime_s)}`, stats.restarts ? plural(stats.restarts, "restart") + " after a crash" : null,
		plural(stats.connections ?? 0, "connection"), l ? `${plural(l.stored ?? 0, "record")} stored, ${count(big(l.queued))} queued` : null,
		l && big(l.dropped) ? `${count(big(l.dropped))} log lines dropped` : null,
		l ? `journal ${bytes(Number(l.journal_bytes ?? 0))}` : null,
	].filter(Boolean).join(" \u00b7 ");
}

// What `spoa-llm upstreams` has of a period, here since the agent started; and how the tap and the members of pools are.
function showUpstreams(stats) {
	const { upstreams, tap, members } = stats;
	$("upstreams-card").hidden = !upstreams.length && !tap && !members.length;
	showMembers(members);
	fill($("tap"), JSON.stringify(tap), () => !tap ? [] : [[tap.streams, "streams through the tap now"], [tap.streams_total, "since it started"],
		[tap.fallbacks, "went directly, so estimated"], [tap.cut_client, "ended by clients"], [tap.cut_upstream, "broken off by upstreams"], [tap.unreadable, "not readable, so estimated"],
		[tap.full, "times full"], [tap.reports_lost, "reports lost, so estimated"]].filter(([n], at) => at < 2 || big(n))
		.map(([n, text]) => el("li", {}, el("strong", {}, count(big(n))), ` ${text}`)));
	fill($("upstreams"), JSON.stringify(upstreams), () => !upstreams.length ? el("p", { class: "dim" }, "No upstream was asked yet.") :
		table("Answers of upstreams since the start", [{ name: "Route" }, { name: "Backend" },
			...["2xx", "3xx", "4xx", "5xx", "Broken off", "No answer", "First byte p50, p95", "Whole answer p50, p95"].map((name) => ({ name, class: "n" }))],
		upstreams.map((one) => [el("span", { class: "name" }, one.route || "no route"), el("span", { class: "id" }, one.backend),
			...["2xx", "3xx", "4xx", "5xx"].map((name) => countFigure(el("span"), big(one.answers[name]))),
			countFigure(el("span"), big(one.cut)), countFigure(el("span"), big(one.unanswered)),
			...[one.first_byte_ms, one.whole_ms].map(({ p50, p95 }) => p50 == null ? "" : [p50, p95].map((ms) => micros(ms * 1000).replace(" ", "\u00a0")).join(", "))]), true));
}

function showMembers(members) {
	const state = (one) => !one.usable ? ["bad", "no credential"] : one.rest_s ? ["warn", `rests for ${ago(one.rest_s)} after ${one.rest_status}`]
		: one.unreachable_ms ? ["bad", `not reached at ${clock(one.unreachable_ms)}`] : ["good", "ready"];
	const whys = (one) => Object.entries(one.declined).filter(([, n]) => big(n)).map(([why, n]) => `${why}: ${count(big(n))}`).join(", ");
	fill($("members"), JSON.stringify(members), () => !members.length ? [] : [el("h3", {}, "Members of pools"),
		table("Members of pools, and what became of their requests since the start", [{ name: "Pool" }, { name: "Member" }, { name: "Upstream" }, { name: "State" },
			...["2xx", "3xx", "4xx", "5xx", "Broken off", "No answer"].map((name) => ({ name, class: "n" })), { name: "Went on to the next" }],
		members.map((one) => [el("span", { class: "name" }, one.route), el("span", { class: "name" }, one.name), el("span", { class: "id" }, one.upstream ?? "none that is valid"),
			el("span", { class: "mark", "data-level": state(one)[0] }, state(one)[1]),
			...["2xx", "3xx", "4xx", "5xx"].map((name) => countFigure(el("span"), big(one.answers[name]))),
			...[one.cut, one.unanswered].map((n) => countFigure(el("span"), big(n))), whys(one)]), true)]);
}

function showRefusals(stats) {
	// The agent's own, and those of which it knows by HAProxy's log lines only.
	const counts = { ...stats.refusals_by_code };
	for (const [code, n] of Object.entries(stats.haproxy_refusals_by_code ?? {}))
		counts[code] = Number(counts[code] ?? 0) + Number(n);
	const codes = Object.entries(counts).filter(([, n]) => big(n)).sort((a, b) => Number(b[1]) - Number(a[1]));
	fill($("codes"), JSON.stringify(codes), () => codes.map(([code, n]) => el("li", {}, `${code} `, el("strong", {}, count(big(n))))));
	fill($("refusals"), JSON.stringify(stats.refusals), () => {
		if (!stats.refusals.length)
			return el("p", { class: "dim" }, "None. No request was refused since the start.");
		return table("Last refusals, newest first",
			["Time", "Reason", "Model", "Route", "Why", "Request"].map((name) => ({ name })),
			stats.refusals.map((one) => {
				const at = new Date(one.time);
				return [el("time", { datetime: at.toISOString(), title: at.toISOString() },
					(Date.now() - at > DAY ? dayName(at) + ", " : "") + clock(at)),
					el("span", {}, el("strong", {}, String(one.status)), " ", one.code), one.model, one.route, [one.backend, one.member && `member ${one.member}`].filter(Boolean).join(", ") + (one.backend ? ": " : "") + one.problem,
					one.id ? el("span", { class: "id" }, one.id) : ""];
			}), true);
	});
}

export function start() {
	makeExplain(ask);
}

export function show() {}

export function live(stats) {
	put($("rate"), perSecond(stats.now.requests_per_s));
	put($("refused-rate"), perSecond(stats.now.refused_per_s));
	put($("p50"), micros(stats.now.latency_us.p50));
	put($("p99"), micros(stats.now.latency_us.p99));
	fill($("checks"), JSON.stringify(stats.checks), () => stats.checks.map((check) => {
		const level = check.ok ? "good" : check.blocking ? "bad" : "warn";
		return el("li", { "data-check": check.part },
			el("span", { class: "mark", "data-level": level }, check.part.replaceAll("_", " "),
				el("span", { class: "unseen" }, level === "good" ? ": ok" : level === "bad" ? ": failing" : ": warning")),
			el("span", { class: check.ok ? "detail dim" : "detail" }, check.detail || (check.ok ? "ok" : "failing")));
	}));
	put($("process"), processText(stats));
	showSpark(stats.rate_history ?? []);
	showUpstreams(stats);
	showRefusals(stats);
}

export function hide() {}
