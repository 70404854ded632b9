// SPDX-License-Identifier: MIT
//
// The dashboard. The figures of the ledger come from /savings, what happens now from /events (server-sent events).
import { $, ago, announce, big, bytes, clock, count, countFigure, DAY, dayName, el, fill, micros, parse, perSecond, pill, plural,
	put, table, UNITS } from "./figures.js";
import { showBudgets } from "./budgets.js";
import { makeExplain } from "./explain.js";
import { showGateways } from "./gateways.js";
import { CHOICES, hash, PERIOD_NAMES, readHash, reports, settle, showGroups, showTotals, view } from "./report.js";
import { makeCharts, paint, showSpark, showTime } from "./plots.js";

const SILENCE_MS = 5000;      // the server sends an event every second; after so long without one the connection is given up
const RETRY_MS = [500, 15000]; // first and longest wait before /events is opened again
const LOST_AFTER_MS = 1500;   // shorter interruptions (a worker process that is replaced) show no notice
const REFRESH_MS = 1000;      // the shortest time between two reads of the ledger's figures
const FLEET_REFRESH_MS = 10000; // between two reads of the fleet's figures, which the events of this gateway say nothing about
const FAILED_RETRY_MS = [1000, 16000]; // first and longest wait before /savings is read again after an error
const REST_AFTER_MS = 10000;  // a hidden tab closes its connection, because a browser opens only six to a server for all tabs
const WEEKS_AFTER_MS = 45 * DAY; // a longer history is shown by weeks unless a unit was chosen

// ---- choosing the view

function choose(name, value) {
	view[name] = value;
	view.all = false;
	view.unitGiven ||= name === "unit";
	settle();
	history.replaceState(null, "", hash());
	refresh(true);
}

// The switch is there if the agent has somebody to ask for the fleet's figures.
function showScope(stats) {
	const there = Boolean(stats.fleet?.figures);
	$("scope").hidden = !there;
	if (there || view.scope === "gateway")
		return;
	view.scope = "gateway";
	settle();
	refresh(true);
}

// ---- requests to the server

class Locked extends Error {}

const token = {
	get: () => sessionStorage.getItem("spoa-llm-token"),
	set: (value) => (value ? sessionStorage.setItem("spoa-llm-token", value) : sessionStorage.removeItem("spoa-llm-token")),
};
let unlocked = Promise.resolve(), unlock = () => {};

// /events is read by fetch() too, because EventSource cannot send a token.
// `question`: the body of a POST.
async function ask(path, signal, question) {
	const key = token.get();
	const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", signal,
		headers: { ...(key && { authorization: "Bearer " + key }), ...(question && { "x-requested-with": "spoa-llm" }) },
		...(question && { method: "POST", body: JSON.stringify(question) }) });
	if (answer.status === 401) {
		lock(key);
		throw new Locked();
	}
	if (!answer.ok) {
		const text = await answer.text();
		let why = text.slice(0, 300);
		try {
			const said = JSON.parse(text).error;
			why = said?.message ?? said ?? why;
		} catch { /* not JSON: shown as it is */ }
		throw Object.assign(new Error(String(why) || `status ${answer.status}`), { status: answer.status });
	}
	return answer;
}

function lock(tried) {
	if (document.body.dataset.link !== "locked") {
		unlocked = new Promise((resolve) => (unlock = resolve));
		document.body.dataset.link = "locked";
		pill($("link"), "warn", "Locked");
		pill($("ready"), "none", "Unknown");
		$("locked").hidden = false;
		$("forget").hidden = true;
		$("lost").hidden = true;
		$("token").focus();
	}
	if (tried && tried === token.get()) {
		token.set(null);
		put($("token-error"), "That token was not accepted.");
	}
}

function tokenGiven(event) {
	event.preventDefault();
	token.set($("token").value.trim());
	$("token").value = "";
	put($("token-error"), "");
	document.body.dataset.link = "connecting";
	unlock();
}

// ---- the ledger: read when it has changed, once at a time

let reading = false, again = false; // again: read once more when this reading has ended, or the tab is shown
let notBefore = 0, nextTimer = null, nextAt = 0; // times of readings, in milliseconds since 1970
let shownAt = null;    // when the figures on the page were read
let shownScope = "gateway"; // of whom they are
let choices = 0;       // counts what the person asked for; an answer to an earlier choice is thrown away
let failedReadings = 0;
let stopReading = () => {}; // what was chosen before may take long

// `failed`: shows the notice that the ledger cannot be read.
function ledgerState(state, failed) {
	document.body.dataset.ledger = state;
	$("no-ledger").hidden = state !== "none";
	$("empty").hidden = state !== "empty";
	$("failed").hidden = !failed;
	$("page").setAttribute("aria-busy", String(state === "loading"));
}

// `chosen`: the person asked for it, so it happens at once and is announced to screen readers.
function refresh(chosen) {
	if (chosen) {
		choices++;
		stopReading();
	}
	clearTimeout(nextTimer);
	nextTimer = null;
	if (reading || document.hidden)
		again = true;
	else
		read(chosen);
}

function refreshSoon() {
	if (reading)
		again = true;
	else
		schedule(Math.max(notBefore, Date.now()));
}

function schedule(at) {
	if (nextTimer && nextAt <= at)
		return;
	clearTimeout(nextTimer);
	nextAt = at;
	nextTimer = setTimeout(() => refresh(false), at - Date.now());
}

async function read(chosen) {
	const began = Date.now(), choice = choices, fleet = view.scope === "fleet";
	const query = (by) => `savings?${new URLSearchParams({ since: view.period, by, ...(fleet && { scope: "fleet" }) })}`;
	const stop = new AbortController();
	stopReading = () => stop.abort();
	reading = true;
	again = false;
	if (shownScope !== view.scope) { // what is shown is of others
		shownAt = null;
		ledgerState("loading");
	}
	try {
		const one = async (path) => parse(await (await ask(path, stop.signal)).text());
		// Of the fleet one after the other, because the shipper answers so: after a failure nothing waits there.
		const [group, time, gateways, list] = fleet ? [await one(query(view.by)), await one(query(UNITS[view.unit].ask)), await one(query("gateway")),
			await one("gateways")] : await Promise.all([query(view.by), query(UNITS[view.unit].ask)].map(one));
		if (choice === choices) {
			Object.assign(reports, { group, time, gateways, list: list?.gateways });
			showScopeOf(view.scope);
			shownAt = Date.now();
			failedReadings = 0;
			showLedger(chosen);
		}
	} catch (error) {
		if (!(error instanceof Locked) && choice === choices)
			readFailed(error);
	}
	reading = false;
	// Read a slow ledger less often.
	notBefore = Date.now() + Math.max(fleet ? FLEET_REFRESH_MS : REFRESH_MS, 3 * (Date.now() - began));
	if (choice !== choices)
		refresh(true);
	else if (again || fleet)
		refreshSoon();
}

function showScopeOf(scope) {
	shownScope = scope;
	document.body.dataset.scope = scope;
}

function showLedger(chosen) {
	const { group, time } = reports, some = big(group.totals.requests) > 0n;
	put($("updated"), `Figures as of ${clock(shownAt)}.`);
	showTotals(group, time);
	ledgerState(some ? "ok" : "empty");
	if (!some) {
		put($("empty-text"), view.period === "all" ? view.scope === "fleet" ? "PostgreSQL has no request of any gateway yet." :
			"Nothing is in the ledger yet. The first figures appear when the first request has ended." :
			`No request ended ${PERIOD_NAMES[view.period]}.`);
		$("empty-all").hidden = view.period === "all";
	} else {
		// Bars of days would be too thin to be seen. Weeks are made of the same days, so nothing has to be read again.
		if (view.period === "all" && view.unit === "day" && !view.unitGiven && Date.now() - Date.parse(time.rows[0].day) > WEEKS_AFTER_MS) {
			view.unit = "week";
			settle();
		}
		showTime(time);
		showGroups(group);
		if (view.scope === "fleet")
			showGateways(reports.gateways, reports.list);
	}
	if (chosen)
		announce(some ? `By ${view.by}, ${PERIOD_NAMES[view.period]}${view.scope === "fleet" ? ", of the fleet" : ""}: saved ${$("saved").textContent}, cost ${$("cost").textContent}` :
			$("empty-text").textContent);
	showTitle();
}

function showTitle() {
	const state = document.body.dataset.link === "lost" ? "Offline" : last && !last.ready ? "Not ready" : null;
	const saved = document.body.dataset.ledger === "ok" ? `${$("saved").textContent} saved` : null;
	document.title = [state, saved, "spoa-llm"].filter(Boolean).join(" \u00b7 ");
}

function readFailed(error) {
	if (last && !last.ledger) {
		ledgerState("none");
		return;
	}
	schedule(Date.now() + Math.min(FAILED_RETRY_MS[1], FAILED_RETRY_MS[0] * 2 ** failedReadings++));
	if (!error.status) // no answer at all: the notice about /events says so
		return;
	if (!shownAt) { // else the figures of the other scope would stand there
		showScopeOf(view.scope);
		for (const [id, text] of [["saved-title", "Saved"], ["saved", "\u2026"], ["saved-share", ""], ["fleet-note", ""]])
			put($(id), text);
	}
	ledgerState(shownAt ? document.body.dataset.ledger : "failed", true);
	put($("failed-why"), error.message.replace(/\.?$/, "."));
	put($("failed-since"), shownAt ? `The figures shown are from ${clock(shownAt)}.` : "");
}

// ---- now

let last = null, version = null, readiness = null;

function showReady(stats) {
	const warnings = stats.checks.filter((check) => !check.ok).length;
	const text = !stats.ready ? "Not ready" : warnings ? `Ready, ${warnings} warning${warnings > 1 ? "s" : ""}` : "Ready";
	pill($("ready"), !stats.ready ? "bad" : warnings ? "warn" : "good", text);
	if (readiness !== null && readiness !== text)
		announce(text);
	readiness = text;
	showTitle();
}

function showStats(stats) {
	last = stats;
	put($("version"), stats.version);
	showReady(stats);
	showScope(stats);
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
	showBudgets(stats.budgets);
	showUpstreams(stats);
	showRefusals(stats);
	if (!stats.ledger)
		ledgerState("none");
	else if (version !== stats.ledger_version) // also true for the first event
		refreshSoon();
	version = stats.ledger_version;
}

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

// ---- the connection

let heardAt = null, failures = 0, controller = null, wake = () => {}, lostTimer = null, resting = false, restTimer = null;

function rest() {
	resting = true;
	controller?.abort();
}

function rise() {
	clearTimeout(restTimer);
	if (resting) {
		resting = false;
		wake();
	}
}

function shownOrHidden() {
	if (document.hidden) {
		restTimer = setTimeout(rest, REST_AFTER_MS);
		return;
	}
	rise();
	if (again)
		refresh(false);
}

function live() {
	const back = failures > 0 && heardAt !== null;
	heardAt = Date.now();
	failures = 0;
	clearTimeout(lostTimer);
	lostTimer = null;
	if (document.body.dataset.link === "live")
		return;
	document.body.dataset.link = "live";
	pill($("link"), "good", "Live");
	if (!$("lost").hidden)
		announce("Connected again");
	$("lost").hidden = true;
	$("locked").hidden = true;
	$("forget").hidden = !token.get();
	for (const node of document.querySelectorAll(".as-of"))
		put(node, "");
	if (back)
		refreshSoon();
}

// `why`: what the server said, if it answered and refused.
function lost(why) {
	failures++;
	document.body.dataset.link = "lost";
	pill($("link"), "bad", heardAt ? "Offline" : "No connection");
	lostTimer ??= setTimeout(() => {
		if (document.body.dataset.link !== "lost")
			return;
		put($("lost-since"), (heardAt ? `since ${clock(heardAt)}` : "") + (why ? ` (${why})` : ""));
		$("lost").hidden = false;
		pill($("ready"), "none", "Unknown");
		for (const node of document.querySelectorAll(".as-of"))
			put(node, heardAt ? `as of ${clock(heardAt)}` : "");
		showTitle();
		announce("Connection lost. The figures are the last ones known.");
	}, LOST_AFTER_MS);
}

// Waits and shows the time that is left. "Try now" ends the wait.
async function pause(ms) {
	const end = Date.now() + ms;
	let skip = false;
	wake = () => (skip = true);
	while (!skip && Date.now() < end) {
		put($("lost-next"), `Next try in ${Math.ceil((end - Date.now()) / 1000)} s.`);
		await new Promise((done) => setTimeout(done, 250));
	}
	put($("lost-next"), "Connecting\u2026");
}

function event(name, data) {
	live();
	if (name === "stats")
		showStats(parse(data));
	else if (name === "ledger" && last?.ledger)
		refreshSoon();
}

async function stream() {
	let timer;
	controller = new AbortController();
	const silence = () => {
		clearTimeout(timer);
		timer = setTimeout(() => controller.abort(), SILENCE_MS);
	};
	silence();
	try {
		const reader = (await ask("events", controller.signal)).body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ""; ; ) {
			const { value, done } = await reader.read();
			if (done)
				return;
			silence();
			const parts = (text + value).split(/\r?\n\r?\n/);
			text = parts.pop();
			for (const part of parts) {
				const lines = part.split(/\r?\n/);
				const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim() ?? "message";
				event(name, lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n"));
			}
		}
	} finally {
		clearTimeout(timer);
	}
}

async function follow() {
	for (;;) {
		let why = "";
		try {
			await stream();
		} catch (error) {
			if (error instanceof Locked) {
				await unlocked;
				continue;
			}
			why = error.status ? error.message : "";
		}
		if (resting) {
			await new Promise((done) => (wake = done));
			continue;
		}
		lost(why);
		await pause(Math.min(RETRY_MS[1], RETRY_MS[0] * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random()));
	}
}

// ---- start

for (const name of Object.keys(CHOICES))
	$(name).addEventListener("change", (change) => choose(name, change.target.value));
$("token-form").addEventListener("submit", tokenGiven);
$("forget").addEventListener("click", () => {
	token.set(null);
	location.reload();
});
$("skip").addEventListener("click", (click) => {
	click.preventDefault(); // the hash belongs to the view
	$("main").focus();
});
$("lost-retry").addEventListener("click", () => wake());
$("failed-retry").addEventListener("click", () => refresh(true));
$("empty-all").addEventListener("click", () => choose("period", "all"));
$("groups-all").addEventListener("click", () => {
	view.all = !view.all;
	showGroups(reports.group);
});
for (const id of ["money-table", "tokens-table"])
	$(id).addEventListener("toggle", () => reports.time && showTime(reports.time));
window.addEventListener("hashchange", () => {
	readHash();
	refresh(true);
});
document.addEventListener("visibilitychange", shownOrHidden);
// A page that the browser keeps for its back button must not hold a connection either.
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", (show) => show.persisted && rise());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

makeCharts();
makeExplain(ask);
readHash();
follow();
// The first event says whether there is a ledger. If no event comes, try to read the ledger all the same.
setTimeout(() => !last && refresh(false), SILENCE_MS / 2);
