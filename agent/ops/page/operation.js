// SPDX-License-Identifier: MIT
//
// For whoever is on call. What is true now comes from /events, the figures of the period from /operation.
import { $, ago, announce, bar, big, button, bytes, capital, choose, clock, count, counted, countFigure, cut, DAY, differs, el, fill, find, folding,
	fraction, joined, mark, micros, most, NOTHING, on, order, percent, perSecond, plural, put, set, table, unfold, UNITS, when, words } from "./figures.js";
import { makeReader } from "./connection.js";
import { address, change, filter, limits, missing, narrower, ofFleet, periodName, question } from "./filter.js";
import { bars, bucketName, bucketsOf, curve, legend, SERIES, showSpark, ticks, timeChart } from "./plots.js";
import { makeExplain } from "./request.js";

const UNHEARD_MS = 10000; // HAProxy's health check asks twice a second
const HOURS_UPTO = 2 * DAY; // a longer period is shown by days
const HOURS_KEPT = 40 * DAY; // the ledger has no older hours by all labels
const NOBODY = "Is HAProxy running with `llm.cfg`? Its server `agent` needs an address of `listen`, and HAProxy has to be allowed to open that socket: " +
	"`spoa-llm check` looks at both files. Without an agent HAProxy refuses every request: 503 gateway_unavailable.";

export const name = "operation", params = { every: ["", "hour", "day"], errors: ["status", "upstream"], sort: ["first_byte", "whole", "failed", "requests"] };

// ---- now

function haproxy({ haproxy: { heard_ms, connections } }) {
	if (heard_ms == null)
		return { level: "warn", text: "No HAProxy has asked yet", advice: NOBODY };
	const text = `HAProxy: last heard ${heard_ms < UNHEARD_MS ? `${(heard_ms / 1000).toFixed(1)} s` : ago(heard_ms / 1000)} ago`;
	return heard_ms < UNHEARD_MS ? { level: "good", text: `${text}, ${plural(connections, "connection")}` } : { level: "bad", text, advice: NOBODY };
}

const partName = (check) => check.part.replaceAll("_", " ");
const levelOf = (check) => (check.ok ? "good" : check.blocking ? "bad" : "warn");

function showWell(stats) {
	const { ledger, tap, fleet, members, budgets, alerts } = stats, heard = haproxy(stats), resting = members.filter((one) => one.rest_s).length;
	const found = [
		...alerts.map((one) => ({ ...one, level: one.severity === "page" ? "bad" : "warn", text: one.what })),
		...stats.checks.filter((check) => !check.ok).map((one) => ({ ...one, name: partName(one), check: one.part, level: levelOf(one), text: one.detail })),
		...(heard.advice ? [{ name: "HAProxy", ...heard }] : []),
	];
	// Alerts and a check of one reason are one thing to look at.
	const first = (one) => (one.check ? found.find(({ check }) => check === one.check) : one);
	const wrong = found.filter((one) => first(one) === one).map((one) => {
		const all = found.filter((other) => first(other) === one);
		return { ...one, level: all.some(({ level }) => level === "bad") ? "bad" : one.level, texts: [...new Set(all.map(({ text }) => text))] };
	});
	const worst = wrong.some((one) => one.level === "bad") ? "bad" : wrong.length ? "warn" : "good";
	const parts = [heard.text, members.length ? (resting ? `${plural(resting, "member")} of ${count(members.length)} rest` : "no member rests") : "",
		tap ? (tap.processes ? `tap: ${plural(tap.streams, "stream")}` : "tap: not heard") : "",
		fleet ? (fleet.state === "ok" ? "fleet: PostgreSQL has all" : `fleet: ${fleet.state || "not heard yet"}`) : "",
		ledger ? `ledger: ${ledger.state}` : "no ledger",
		budgets?.accounts.length && !alerts.some((one) => one.name.startsWith("SpoaLlmBudget")) ? "budgets: none near its end" : "",
		wrong.length ? "" : "no alert"].filter(Boolean);
	fill("well", [worst, wrong.length, parts], () => [
		mark(worst, el("strong", worst === "good" ? "All is well" : `${plural(wrong.length, "thing")} to look at`)), ...parts.map((text) => el("span", text))]);
	fill("wrong", wrong.map((one) => (one.name === "HAProxy" ? one.level : one)), () => wrong.map((one) => el("li", { "data-wrong": one.name },
		mark(one.level, one.name, el("span.unseen", one.level === "bad" ? ": urgent" : ": warning")),
		el("div.detail", ...one.texts.map((text, at) => el("p", text, one.since && !at ? el("span.dim", " since ", when(one.since)) : null)), one.advice ? el("p.dim", ...words(one.advice)) : null))));
	if (heard.advice)
		put(find("[data-wrong=HAProxy] p"), heard.text);
}

const showChecks = (checks) => fill("checks", checks, () => checks.map((check) => el("li", { "data-check": check.part },
	mark(levelOf(check), partName(check), el("span.unseen", { good: ": ok", bad: ": failing", warn: ": warning" }[levelOf(check)])),
	el("span", { class: check.ok ? "detail dim" : "detail" }, check.detail || (check.ok ? "ok" : "failing")))));

const processText = ({ uptime_s: up, restarts, ledger }) => joined([`Up ${ago(up)}`, restarts && `${plural(restarts, "restart")} after a crash`,
	...(ledger ? [`${count(ledger.queued)} records queued`, big(ledger.dropped) && `${count(ledger.dropped)} log lines dropped`,
		`journal ${bytes(Number(ledger.journal_bytes ?? 0))}`] : [])], " \u00b7 ");

// ---- the period

let last = null, report = null;

function unit() {
	const [from, to] = limits(), long = to - from;
	return filter.every === "day" || long > HOURS_KEPT ? "day" : filter.every || (long <= HOURS_UPTO ? "hour" : "day");
}

const reader = makeReader({
	async load(get) {
		const by = unit();
		const [operation, errors] = await Promise.all([get(question("operation", { unit: by })), filter.errors === "upstream" ? get(question("savings", { by, split: "backend" })) : null]);
		return { ...operation, errors };
	},
	show(data) {
		report = data;
		const some = big(data.totals.requests) > 0n;
		put("trend-title", `Requests ${periodName()}${ofFleet()}`);
		if (some) {
			showTrends(data);
			showUpstreams(data.upstreams);
		}
		put("apart", missing(data.whole_from > (data.period.since ?? "") && data.whole_from, data.not_told_apart));
		if (last)
			showRefusals(last, data.refusals);
		return some;
	},
	forget: () => (report = null),
});

export function start() {
	makeExplain();
	on("trend-table", "toggle", () => data && showTrends(data));
}

export function show() {
	const [from, to] = limits();
	choose("every", unit());
	choose("errors", filter.errors);
	find("#every [value=hour]").disabled = to - from > HOURS_KEPT;
	reader.refresh(true);
}

export function live(stats, changed) {
	const { now } = stats;
	last = stats;
	for (const [id, text] of Object.entries({ rate: perSecond(now.requests_per_s), "refused-rate": perSecond(now.refused_per_s), p50: micros(now.latency_us.p50),
		p99: micros(now.latency_us.p99), process: processText(stats) }))
		put(id, text);
	showWell(stats);
	showChecks(stats.checks);
	showSpark(stats.rate_history ?? []);
	showTap(stats.tap);
	showMembers(stats.members);
	showRefusals(stats, stats.ledger ? report?.refusals : null);
	if (changed)
		reader.soon();
}

export const { hide } = reader;

const SHOWN = 10;
const CLASSES = [["2xx", "good"], ["3xx", "input"], ["4xx", "write"], ["5xx", "refused"], ["none", "dim"]];
const CURVES = [["p50", "input", []], ["p95", "write", [6, 3]], ["p99", "refused", [2, 3]]];
const TIMES = { first_byte: ["first_byte_ms", "First byte p50, p95, p99"], whole: ["whole_ms", "Whole answer p50, p95, p99"] };

const duration = (ms) => (ms == null ? NOTHING : !ms ? "0" : micros(ms * 1000).replace(" ", "\u00a0"));
const durations = (ms) => CURVES.map(([name]) => duration(ms[name])).join(", ");
const timesCell = (ms) => el("span.times", { "data-ms": JSON.stringify(ms) }, durations(ms));
const counts = (one, names) => names.map((name) => counted(one[name]));

const word = (name) => (name === "none" ? "no status" : name);
let charts, data = null;

function figuresOf({ series, period, unit, unfinished }) {
	const there = new Map(series.map((one) => [Date.parse(one.time), one])), times = [...there.keys()];
	const first = Math.min(...times, ...(period.since ? [Date.parse(period.since)] : [])), end = Date.parse(period.until ?? "") || Date.now();
	return bucketsOf(unit, times, UNITS[unit].start(first), end, (at) => ({ open: at === Date.parse(unfinished ?? ""), ...there.get(at) }));
}

function byUpstream(savings, unit) {
	const sums = new Map(), of = new Map(), key = (time, label) => `${time} ${label}`;
	for (const row of savings.rows) {
		const label = row.split ?? "others", n = big(row.failed);
		sums.set(label, (sums.get(label) ?? 0n) + n);
		of.set(key(Date.parse(row[unit]), label), n);
	}
	return [...sums].filter(([, n]) => n).sort((a, b) => order(b[1], a[1])).map(([label], at) => ({ label: label || "no upstream", color: SERIES[at],
		value: (b) => of.get(key(b.at, label)) ?? 0n }));
}

const showTable = (buckets, unit, shown) => unfold("trend-table", "Requests and times", shown, () => table(`By ${unit}, newest first`,
	[capital(unit), "#Requests", "#Refused", "#Failed", ...CLASSES.map(([name]) => `#${word(name)}`), ...Object.values(TIMES).map(([, text]) => `#${text}`)],
	buckets.filter((one) => one.requests).reverse().map((one) => [bucketName(one), ...counts(one, ["requests", "refused", "failed"]),
		...counts(one.status, CLASSES.map(([name]) => name)), ...Object.values(TIMES).map(([of]) => timesCell(one[of]))]), true));

function showTrends(operation) {
	data = operation;
	charts ??= { classes: timeChart("classes", bars, ticks.whole, count), errors: timeChart("errors-chart", bars, ticks.whole, count),
		first_byte: timeChart("first-byte", curve, duration), whole: timeChart("whole", curve, duration) };
	const buckets = figuresOf(data), { totals, unit, errors } = data, shown = [buckets, errors?.rows];
	const sets = CLASSES.filter(([name]) => big(totals.status[name])).map(([name, color]) => ({ label: word(name), status: name, color, value: (b) => big(b.status?.[name]) }));
	const wrong = errors ? byUpstream(errors, unit) : sets.filter((set) => !["2xx", "3xx"].includes(set.status));
	for (const name of ["requests", "failed", "refused"])
		countFigure(`total-${name}`, totals[name]);
	for (const [pane, [of]] of Object.entries(TIMES))
		put(`total-${pane}`, durations(totals[of]));
	showTable(buckets, unit, shown);
	if (!differs("classes", shown))
		return;
	charts.classes(buckets, sets);
	charts.errors(buckets, wrong);
	for (const [id, of, open] of [["classes", sets, buckets.some((one) => one.open)], ["errors-chart", wrong, false]])
		legend(`${id}-legend`, of.map((set) => set.label), of.map(({ color, status, label }) => ({ color, text: status ? narrower("status", status, label) : label })), open);
	const say = (id, text) => set(id, "aria-label", `${text} The table below has all figures.`), busiest = most(buckets, (one) => Number(one.requests ?? 0));
	say("classes", `Requests by ${unit} and class of status. Most ${count(busiest.requests)}, ${busiest.name}.`);
	say("errors-chart", !wrong.length ? "No errors in this period." :
		`Errors by ${unit}. Most in ${most(buckets, (one) => wrong.reduce((sum, set) => sum + Number(set.value(one)), 0)).name}.`);
	for (const [pane, [of]] of Object.entries(TIMES)) {
		const slow = most(buckets, (one) => one[of]?.p95 ?? -1), id = pane.replace("_", "-");
		charts[pane](buckets, CURVES.map(([label, color, dash]) => ({ label, color, dash, value: (b) => b[of]?.[label] })));
		say(id, `Time to the ${pane === "whole" ? "end of the answer" : "first byte"} by ${unit}. Highest p95 ${duration(slow[of]?.p95)}, ${slow.name}.`);
	}
	put("errors-none", wrong.length ? "" : "None in this period.");
}

// ---- upstreams of the period

// With what the gateway answered in the upstream's place.
const failures = (one) => big(one.failed) + big(one.refused);

// What the table is sorted by, and the bar shows.
const SORTS = {
	requests: ["Requests", (one) => Number(one.requests)],
	failed: ["Failed", (one) => fraction(failures(one), big(one.requests))],
	first_byte: [TIMES.first_byte[1], (one) => one.first_byte_ms.p95 ?? -1],
	whole: [TIMES.whole[1], (one) => one.whole_ms.p95 ?? -1],
};

function sorter(key) {
	const [text] = SORTS[key];
	return { name: text, class: TIMES[key] ? "n span" : "n", sorted: filter.sort === key ? "descending" : null, button: button("", text, () => {
		change({ sort: key }, true);
		announce(`Sorted by ${text}, highest first`);
	}, { "data-sort": key }) };
}

function showUpstreams(upstreams) {
	const asked = upstreams.filter((one) => one.backend || one.route), [, by] = SORTS[filter.sort];
	const timeCell = (one, key) => {
		const [, value] = SORTS[key], ms = one[TIMES[key][0]], longest = Math.max(...asked.map(value));
		return el("div", timesCell(ms), ms.p95 == null ? null : bar(longest > 0 ? value(one) / longest : 0, "rate"));
	};
	$("upstreams-card").hidden = !asked.length;
	folding("upstreams", [filter.sort, asked], [...asked].sort((a, b) => by(b) - by(a)), SHOWN, (some) => table("Upstreams of the period",
		["Upstream", sorter("requests"), sorter("failed"), "#4xx", "#5xx", "#No status", sorter("first_byte"), sorter("whole"), "#Last request"],
		some.map((one) => {
			const failed = failures(one);
			return [el("div", narrower("route", one.route), one.member ? el("span", ", member ", narrower("member", one.member)) : null,
				el("span.id.dim", { title: one.backend }, cut(one.backend))),
			counted(one.requests), el("div", counted(failed), failed ? ` (${percent(failed, big(one.requests))})` : "", bar(SORTS.failed[1](one), "refused")),
			...counts(one.status, ["4xx", "5xx", "none"]), timeCell(one, "first_byte"), timeCell(one, "whole"), when(Date.parse(one.last))];
		}), true));
}

// ---- the tap and the members of pools, now

function showTap(tap) {
	$("tap-card").hidden = !tap;
	fill("tap", tap, () => !tap ? [] : [[tap.streams, "streams through the tap now"], [tap.streams_total, "since it started"],
		[tap.fallbacks, "went directly, so estimated"], [tap.cut_client, "ended by clients"], [tap.cut_upstream, "broken off by upstreams"], [tap.unreadable, "not readable, so estimated"],
		[tap.full, "times full"], [tap.reports_lost, "reports lost, so estimated"]].filter(([n], at) => at < 2 || big(n))
		.map(([n, text]) => el("li", el("strong", count(n)), ` ${text}`)));
}

function showMembers(members) {
	const stateOf = (one) => !one.usable ? ["bad", "no credential"] : one.rest_s ? ["warn", `rests for ${ago(one.rest_s)} after ${one.rest_status}`]
		: one.unreachable_ms ? ["bad", `not reached at ${clock(one.unreachable_ms)}`] : ["good", "ready"];
	const whys = (one) => Object.entries(one.declined).filter(([, n]) => big(n)).map(([why, n]) => `${why}: ${count(n)}`).join(", ");
	const classes = CLASSES.slice(0, 4).map(([name]) => name);
	$("members-card").hidden = !members.length;
	fill("members", members, () => !members.length ? [] : table("Members of pools, and what became of their requests since the start",
		["Pool", "Member", "Upstream", "State", ...classes.map((name) => `#${name}`), "#Broken off", "#No answer", "Went on to the next"],
		members.map((one) => [narrower("route", one.route), narrower("member", one.name), el("span.id", one.upstream ?? "none that is valid"),
			mark(...stateOf(one)), ...counts(one.answers, classes), ...counts(one, ["cut", "unanswered"]), whys(one)]), true));
}

// ---- refusals

// Refusals since the start: there is no ledger.
function sinceStart(stats) {
	const sums = new Map();
	for (const [code, n] of [...Object.entries(stats.refusals_by_code), ...Object.entries(stats.haproxy_refusals_by_code ?? {})])
		sums.set(code, (sums.get(code) ?? 0n) + big(n));
	return [...sums].filter(([, n]) => n).sort((a, b) => order(b[1], a[1])).map(([code, requests]) => ({ code, requests }));
}

const place = (one) => joined([one.backend, one.member && `member ${one.member}`]) + (one.backend ? ": " : "") + one.problem;
const reason = (status, code) => el("span", el("strong", String(status ?? "")), " ", code);

function showRefusals(stats, period) {
	const rows = period ?? sinceStart(stats), none = (text) => el("p.dim", text);
	folding("refusals", [!period, stats.refusals[0]], rows, SHOWN, (some) => !rows.length ? none(period ? "None in this period." : "None. No request was refused since the start.") :
		table("Refusals by reason", ["Reason", "#Requests", "Last", "What it means, and what to do"], some.map((one) => {
			const note = stats.refusals.find((two) => two.code === one.code), last = one.last ? Date.parse(one.last) : note?.time;
			return [reason(one.status ?? note?.status, narrower("code", one.code)), counted(one.requests), last ? when(last) : "",
				el("div", one.what ? el("p", one.what) : null, one.todo ? el("p.dim", ...words(one.todo)) : null,
					note ? el("p.dim", joined(["The newest", joined([note.model, note.route].map((name) => name && cut(name))), place(note)], ": ")) : null)];
		}), true));
	folding("lately", null, stats.refusals, SHOWN, (some) => !some.length ? none("None since the start.") :
		table("Last refusals, newest first", ["Time", "Reason", "Model", "Route", "Why", "Request"], some.map((one) => [when(one.time), reason(one.status, one.code),
			one.model, one.route, place(one), one.id ? el("a.id", { href: address({ view: "request", id: one.id }) }, one.id) : ""]), true));
}
