// SPDX-License-Identifier: MIT
//
// For whoever is on call: is all well, and if not, what to do; how upstreams do, and what was refused. What is true now comes from /events,
// the figures of the period from /operation.
import { $, ago, big, bytes, choose, count, DAY, el, fill, micros, missing, on, perSecond, plural, put, when, words } from "./figures.js";
import { ask } from "./connection.js";
import { makeExplain } from "./explain.js";
import { change, filter, limits, narrowed, ofFleet, periodName, question } from "./filter.js";
import { showSpark } from "./plots.js";
import { makeReader } from "./reader.js";
import { showTrends, startTrends } from "./trends.js";
import { showMembers, showRefusals, showTap, showUpstreams } from "./upstreams.js";

const UNHEARD_MS = 10000;  // HAProxy's health check asks the agent twice a second
const HOURS_UPTO = 2 * DAY; // of a period that is shown by hours unless days are chosen
const HOURS_KEPT = 40 * DAY; // for so long the ledger has figures of hours with all labels
const NOBODY = "Is HAProxy running with `llm.cfg`? Its server `agent` has to have an address of `listen`, and HAProxy has to be allowed to open that socket: " +
	"`spoa-llm check` looks at both files. Until HAProxy reaches an agent it refuses every request with 503 gateway_unavailable.";

export const name = "operation", params = { every: ["", "hour", "day"], errors: ["status", "upstream"], sort: ["first_byte", "whole", "failed", "requests"] };

// ---- now

function haproxy({ haproxy: { heard_ms, connections } }) {
	if (heard_ms == null)
		return { level: "warn", text: "No HAProxy has asked yet", advice: NOBODY };
	const text = `HAProxy: last heard ${heard_ms < UNHEARD_MS ? `${(heard_ms / 1000).toFixed(1)} s` : ago(heard_ms / 1000)} ago`;
	return heard_ms < UNHEARD_MS ? { level: "good", text: `${text}, ${plural(connections, "connection")}` } : { level: "bad", text, advice: NOBODY };
}

// One line of what is well, and an entry for each thing that is not.
function showWell(stats) {
	const { ledger: l, tap, fleet, members, budgets } = stats, heard = haproxy(stats), failing = stats.checks.filter((check) => !check.ok);
	const resting = members.filter((one) => one.rest_s).length, spent = stats.alerts.some((one) => one.name.startsWith("SpoaLlmBudget"));
	const found = [
		...stats.alerts.map((one) => ({ ...one, level: one.severity === "page" ? "bad" : "warn", alert: true, text: one.what })),
		...failing.map((one) => ({ ...one, name: one.part.replaceAll("_", " "), check: one.part, level: one.blocking ? "bad" : "warn", text: one.detail })),
		heard.advice && { name: "HAProxy", ...heard },
	].filter(Boolean);
	// Alerts that fire, and a check that fails, for one reason are one thing to look at.
	const first = (one) => (one.check ? found.find(({ check }) => check === one.check) : one);
	const wrong = found.filter((one) => first(one) === one).map((one) => {
		const all = found.filter((other) => first(other) === one);
		return { ...one, level: all.some(({ level }) => level === "bad") ? "bad" : one.level, texts: [...new Set(all.map(({ text }) => text))] };
	});
	const worst = wrong.some((one) => one.level === "bad") ? "bad" : wrong.length ? "warn" : "good";
	const parts = [heard.text, members.length ? (resting ? `${plural(resting, "member")} of ${count(members.length)} rest` : "no member rests") : null,
		tap ? (tap.processes ? `tap: ${plural(tap.streams, "stream")}` : "tap: not heard") : null,
		fleet ? (fleet.state === "ok" ? "fleet: PostgreSQL has all" : `fleet: ${fleet.state || "not heard yet"}`) : null,
		l ? `ledger: ${l.state}` : "no ledger",
		budgets?.accounts.length && !spent ? "budgets: none near its end" : null, wrong.length ? null : "no alert"].filter(Boolean);
	fill($("well"), worst + wrong.length + parts.join(), () => [
		el("span.mark", { "data-level": worst }, el("strong", worst === "good" ? "All is well" : `${plural(wrong.length, "thing")} to look at`)),
		...parts.map((text) => el("span", text))]);
	fill($("wrong"), JSON.stringify(wrong.map((one) => ({ ...one, ...(one.name === "HAProxy" && { text: "", texts: [] }) }))), () => wrong.map((one) => el("li", { "data-wrong": one.name, "data-alert": one.alert ? "" : null },
		el("span.mark", { "data-level": one.level }, one.name, el("span.unseen", one.level === "bad" ? ": urgent" : ": warning")),
		el("div.detail", ...one.texts.map((text, at) => el("p", text, one.since && !at ? el("span.dim", " since ", when(one.since)) : null)),
			one.advice ? el("p.dim", ...words(one.advice)) : null))));
	if (heard.advice) // its time grows each second
		put($("wrong").querySelector("[data-wrong=HAProxy] p"), heard.text);
}

function processText(stats) {
	const l = stats.ledger;
	return [`Up ${ago(stats.uptime_s)}`, stats.restarts ? plural(stats.restarts, "restart") + " after a crash" : null,
		l ? `${count(l.queued)} records queued` : null, l && big(l.dropped) ? `${count(l.dropped)} log lines dropped` : null,
		l ? `journal ${bytes(Number(l.journal_bytes ?? 0))}` : null].filter(Boolean).join(" \u00b7 ");
}

// ---- the period

let last = null, report = null; // of /events, of /operation

function unit() {
	const [from, to] = limits();
	return filter.every === "day" || to - from > HOURS_KEPT ? "day" : filter.every || (to - from <= HOURS_UPTO ? "hour" : "day");
}

const reader = makeReader({
	load: async (get) => {
		const by = unit();
		const [operation, errors] = await Promise.all([get(question("operation", { unit: by })), filter.errors === "upstream" ? get(question("savings", { by, split: "backend" })) : null]);
		return { ...operation, errors };
	},
	show(data) {
		report = data;
		const some = big(data.totals.requests) > 0n;
		put($("trend-title"), `Requests ${periodName()}${ofFleet()}`);
		if (some) {
			showTrends(data);
			showUpstreams(data.upstreams);
		} else {
			put($("empty-text"), `There is no request ${periodName()}${narrowed() ? " with these labels" : ""}.`);
			$("empty-all").hidden = filter.since === "all" && !narrowed();
		}
		put($("apart"), missing(data.whole_from > (data.since ?? "") && data.whole_from, data.not_told_apart));
		if (last)
			showRefusals(last, data.refusals);
		return some;
	},
	forget: () => (report = null),
});

// ---- the view

export function start() {
	makeExplain(ask);
	startTrends();
	for (const id of ["every", "errors"])
		on(id, "change", (event) => change({ [id]: event.target.value }, true));
}

export function show() {
	const [from, to] = limits();
	choose("every", unit());
	choose("errors", filter.errors);
	$("every").querySelector("[value=hour]").disabled = to - from > HOURS_KEPT;
	reader.refresh(true);
}

export function live(stats, changed) {
	last = stats;
	put($("rate"), perSecond(stats.now.requests_per_s));
	put($("refused-rate"), perSecond(stats.now.refused_per_s));
	put($("p50"), micros(stats.now.latency_us.p50));
	put($("p99"), micros(stats.now.latency_us.p99));
	showWell(stats);
	fill($("checks"), JSON.stringify(stats.checks), () => stats.checks.map((check) => {
		const level = check.ok ? "good" : check.blocking ? "bad" : "warn";
		return el("li", { "data-check": check.part },
			el("span.mark", { "data-level": level }, check.part.replaceAll("_", " "),
				el("span.unseen", level === "good" ? ": ok" : level === "bad" ? ": failing" : ": warning")),
			el("span", { class: check.ok ? "detail dim" : "detail" }, check.detail || (check.ok ? "ok" : "failing")));
	}));
	put($("process"), processText(stats));
	showSpark(stats.rate_history ?? []);
	showTap(stats.tap);
	showMembers(stats.members);
	showRefusals(stats, stats.ledger ? report?.refusals : null);
	if (changed)
		reader.soon();
}

export function hide() {
	reader.hide();
}
