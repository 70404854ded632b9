// SPDX-License-Identifier: MIT
//
// One request; and the form that asks what would become of one: a client's key goes into the question's body and nowhere else.
import { $, amount, announce, big, button, capital, clock, copy, count, counted, cut, dateName, el, exactDollars, fill, find, focus, joined, key, moneyFigure, onSubmit, on,
	pill, put, state, table, words } from "./figures.js";
import { ask, failure, ledgerState, Locked, read as readAnswer } from "./connection.js";
import { address, exactly, filter, scope, WITHOUT } from "./filter.js";
import { levelOf, statusName, took } from "./requests.js";

export const name = "request", tab = "requests", params = { id: null };

const REFRESH_MS = 2000; // between two readings, at least
const COLORS = ["read", "input", "caching", "output"];

// ---- what the routes decide

const OUTPUT_FROM = { request: "as the request says", "recent answers": "as recent answers of the model took", assumed: "assumed, because nothing is known of the model’s answers" };

const usd = (text) => amount(BigInt(text.replace(".", ""))); // of nine decimals

function budgetWords(budget) {
	const parts = ["spent", "charged", "reserved", "elsewhere", "withheld", "left"].filter((name) => budget[`${name}_usd`] != null);
	return el("span", usd(budget.usd), ` a ${budget.per}`, ...parts.flatMap((name) =>
		[name === "spent" ? ": " : ", ", usd(budget[`${name}_usd`]), name === "elsewhere" ? " spent elsewhere" : ` ${name}`]));
}

const limitWords = (limits, left) => joined([[limits.requests_per_minute, "requests a minute"], [limits.parallel, "in parallel"], [limits.tokens_per_minute, "tokens a minute"],
	[limits.tokens_per_minute == null ? null : left, "tokens left of this minute"]].map(([n, words]) => n != null && `${count(n)} ${words}`));

const facts = (...rows) => el("dl.told", ...rows.filter(([, value]) => value != null && value !== "").map(([term, value]) => el("div", el("dt", term), el("dd", value))));

function factsOf(told) {
	const { limits, reserves } = told;
	const limited = (whose, of) => (of ? [[`Limits${whose}`, limitWords(of, limits.tokens_left)], [`Budget${whose}`, of.budget && budgetWords(of.budget)]] : []);
	return [
		["The client is told", told.message],
		["Because", told.problem],
		["Client", told.client && (told.project ? `${told.client}, of project ${told.project}` : told.client)],
		...limited("", limits?.client), ...limited(" of the project", limits?.project),
		["Would reserve", reserves && el("span", reserves.usd == null ? "no money, because the model has no price" : usd(reserves.usd),
			`, for tokens: ${count(reserves.input_tokens)} in and ${count(reserves.output_tokens)} out, ${OUTPUT_FROM[reserves.output_from]}`)],
		["Model", told.model && `${told.model}, from the ${told.model_from}`],
		["Endpoint", told.endpoint],
		["Route", told.route ? `${told.route}: ${told.chosen}` : told.chosen],
		["Upstream", told.upstream],
		["Credential", told.auth === "replace" ? Object.entries(told.set).map(([name, value]) => `${name}: ${value}`).join(", ") || "the member’s own" :
			told.auth && "the client’s own goes along"],
	];
}

const goesTo = (told) => (told.code != null ? `Refused: ${told.status} ${told.code}` : told.answer != null ? "Answered by the gateway itself" : `Goes to ${told.backend}`);

function questionOf() {
	const value = (name) => $(`explain-${name}`).value.trim(), asked = {}, headers = value("headers").split("\n").map((line) => line.trim()).filter(Boolean);
	for (const name of ["model", "path", "method", "body", "key"])
		if (value(name))
			asked[name] = value(name);
	if (headers.length)
		asked.headers = headers;
	$("explain-key").value = "";
	return asked;
}

export function makeExplain() {
	onSubmit("explain-form", async () => {
		put("explain-error", "");
		$("explained").hidden = true;
		try {
			const told = JSON.parse(await (await ask("explain", null, questionOf())).text());
			pill("verdict", told.code != null ? "bad" : "good", goesTo(told));
			$("explained-facts").replaceChildren(facts(...factsOf(told)));
			put("explained-json", JSON.stringify(told, null, 2));
			$("explained").hidden = false;
			announce(goesTo(told));
		} catch (error) {
			put("explain-error", error.status ? error.message : state.link === "locked" ? "The agent asked for its token: ask again." : "The agent does not answer.");
		}
	});
	// A page that is kept for the back button must not keep a key.
	on(window, "pagehide", () => ($("explain-key").value = ""));
}

const section = (heading, kind, ...content) => el("section", { class: kind }, el("h3", heading), ...content);
const coded = (text) => el("span", ...words(text));

const narrowed = (label, value) => el("a", { href: address({ view: "requests", find: "", [label]: exactly(value) }), "data-narrow": label, title: "Show all such requests" },
	el("bdi.name", { title: value }, value === "" ? WITHOUT[label] : cut(value)));

function head(row, told) {
	const at = Date.parse(row.time), says = el("span.pill#request-state");
	const copier = button(".quiet#request-copy", "Copy id", async () => {
		if (await copy(row.id, copier))
			return;
		getSelection().selectAllChildren($("request-id"));
		put(copier, "Selected: copy it");
	});
	pill(says, levelOf(row), row.code ? `Refused: ${statusName(row)} ${row.code}` : row.status > 0 ? `Status ${row.status}` : "No answer");
	return [el("p", says, " ", el("time", { datetime: row.time, title: row.time }, `${dateName(at)}, ${clock(at)}`)),
		el("p", el("span.id#request-id", row.id), " ", copier),
		el("p#request-what", el("strong", coded(told.what)), ` HAProxy says: ${told.termination}${row.termination ? ` (${row.termination})` : ""}.`),
		told.todo ? el("p#request-todo", "What to do: ", coded(told.todo)) : null];
}

function timings({ timings: times }) {
	if (!times?.length)
		return el("p", "HAProxy measured no times.");
	const all = times.reduce((sum, part) => sum + Number(part.ms), 0);
	return el("div", el("div.parts.timings", { "aria-hidden": "true" }, ...times.map((part, at) => {
		const piece = el("i", { title: `${part.name}: ${count(part.ms)} ms` });
		Object.assign(piece.style, { flex: `${all ? Number(part.ms) / all : 1} 0 0`, background: `var(--${COLORS[at % 4]})` });
		return piece;
	})), el("ul.legend", ...times.map((part, at) => el("li", key(null, COLORS[at % 4]),
		`${part.name} `, el("strong", { "data-value": part.ms, title: `${count(part.ms)} ms` }, took(Number(part.ms)))))));
}

const known = (value) => (value == null ? "not known" : counted(value));
const some = (value, of) => (big(value) ? of(value) : null);

// By today's prices if they give the same, else in words.
function costs(row, { cost, price_from: from }) {
	return [cost?.length && typeof cost !== "string" ? table("What it cost", ["What", "#Number", "#A million", "#Cost"],
		cost.map((part) => [part.what, counted(part.tokens), amount(part.price_nanodollars_per_million), amount(part.amount_nanodollars, { "data-cost": "" })]), true) : null,
	facts(["Cost", row.cost_nanodollars == null ? el("span#request-cost", row.price_from === "unpriced" ? "unpriced" : "not known") :
		moneyFigure(el("span#request-cost"), row.cost_nanodollars)],
	["", typeof cost === "string" && cost !== from ? cost : null], ["Price", coded(from)], ["Not priced", row.price_missing],
	...[["compression", "compression"], ["routing", "routing"], ["cache", "providers’ caches"]].map(([key, by]) => [`Saved by ${by}`, some(row[`saved_${key}_nanodollars`], amount)]),
	["Also charged to the budget", some(row.charged_nanodollars, amount)])];
}

const tokens = (row, told) => facts(["Uncached input", known(row.input)], ["Read from the cache", known(row.cache_read)], ["Written to the cache", known(row.cache_write)],
	["Output", known(row.output)], ["Taken out by compression", some(row.saved, counted)], ["Where they come from", told.usage_from], ["The tap", told.tap],
	["Bytes in, out", el("span", known(row.bytes_in), ", ", known(row.bytes_out))]);

const who = (row) => facts(...["model", "route", "project", "client"].map((label) => [capital(label), narrowed(label, row[label])]),
	["Status", narrowed("status", statusName(row))], ["Refusal", row.code ? narrowed("code", row.code) : null], ["Backend", row.backend], ["Protocol", row.protocol],
	["Operation", row.operation], ["Stream", row.stream ? "yes" : "no"], ["Key", row.keyed ? "one of this gateway’s clients" : null],
	["Gateway", row.gateway ? narrowed("gateway", row.gateway) : null], ["Trace", row.traceparent]);

const attempts = (row, { tried }) => (!big(row.attempts) ? null : section("Members of the pool", null, el("ol.attempts",
	...tried.map(({ member, why }) => el("li", el("bdi.name", member), ` ${why}`)),
	row.member ? el("li", narrowed("member", row.member), row.status > 0 ? ` answered ${row.status}` : " gave no answer") : null)));

const decided = (route) => (!route ? [el("p", "The admin_token shows what the routes would do with such a request; a viewer_token does not.")] :
	route.error ? [el("p", `What the routes would do cannot be found out: ${route.error}`)] :
	[el("p.dim", "What today’s routes would do with a request for this model to this endpoint:"), facts(["Decision", goesTo(route)], ...factsOf(route))]);

const exact = (row) => el("details#request-exact", el("summary", "Every column, exact"), table("Every column of the ledger", ["Column", "Value"],
	Object.entries(row).map(([column, value]) => [column.replace("_nanodollars", ""), el("bdi", { "data-column": column, class: "name" },
		value == null ? "not known" : column.endsWith("_nanodollars") ? exactDollars(value) : String(value))])));

const parts = ({ request: row, explained: told, route }) => [el("div.whole", ...head(row, told)), section("Times", "times", timings(told)),
	section("Whose, and where to", null, who(row)), attempts(row, told), section("Tokens", null, tokens(row, told)), section("Cost", null, ...costs(row, told)),
	section("Why this route", "why", ...decided(route)), exact(row)].filter(Boolean);

// ---- the view

let stop = null, shownId = null, old = false, readAt = 0; // old: the ledger has changed since

export const title = () => `Request ${filter.id}`;

export function start() {
	$("view-request").append(el("section.card.has-ledger",
		el("div.head", el("h2#request-title", { tabindex: "-1" }, "One request"), el("a#request-back", "All requests")),
		el("div.notice#request-failed", { "data-level": "bad", hidden: "" }, el("p")), el("div#request-body")));
}

// `again`: because usage can be told after a request's end.
async function read(again) {
	stop?.abort();
	const mine = stop = new AbortController();
	try {
		const answer = await readAnswer(`request?${new URLSearchParams({ id: filter.id, ...scope() })}`, mine.signal);
		if (mine !== stop)
			return;
		$("request-failed").hidden = true;
		fill("request-body", answer, () => parts(answer));
		if (!again)
			announce($("request-state").textContent);
	} catch (error) {
		if (mine !== stop)
			return;
		stop = null;
		if (again || error instanceof Locked)
			return;
		fill("request-body", "none", () => []);
		$("request-failed").hidden = false;
		put(find("#request-failed p"), failure(error, "The request cannot be read"));
	}
	stop = null;
	readAt = Date.now();
}

export function show() {
	if (state.ledger === "none")
		return;
	ledgerState("ok");
	$("request-back").href = address({ view: "requests" });
	$("request-failed").hidden = true;
	if (shownId !== filter.id) {
		shownId = filter.id;
		fill("request-body", "", () => el("p.dim", "\u2026"));
		focus("request-title");
	}
	read(false);
}

export function live(stats, changed) {
	old ||= changed;
	if (!old || stop || Date.now() < readAt + REFRESH_MS)
		return;
	old = false;
	read(true);
}

export function hide() {
	stop?.abort();
	stop = shownId = null;
}
