// SPDX-License-Identifier: MIT
//
// One request: what became of it and why, what it cost, and where each figure comes from.
import { $, amount, announce, big, button, capital, clock, copy, count, counted, cut, dayName, el, exactDollars, fill, moneyFigure, pill,
	put, table, words } from "./figures.js";
import { read as ask, Locked } from "./connection.js";
import { address, exactly, filter, scope, WITHOUT } from "./filter.js";
import { factsOf } from "./explain.js";
import { ledgerState } from "./reader.js";
import { levelOf, statusName, took } from "./requests.js";

export const name = "request", tab = "requests", params = { id: null };

const REFRESH_MS = 2000; // the shortest time between two readings

let stop = null, shownId = null, old = false, readAt = 0; // old: the ledger has changed since the last reading

export const title = () => `Request ${filter.id}`;

// ---- parts

const section = (heading, kind, ...content) => el("section", { class: kind }, el("h3", heading), ...content);
const facts = (...rows) => el("dl.told", ...rows.filter(([, value]) => value != null && value !== "").map(([term, value]) =>
	el("div", el("dt", term), el("dd", value))));
const coded = (text) => el("span", ...words(text));
const paragraph = (text) => el("p", text);

// A link to the list of all requests with this label.
const narrowed = (label, value) => el("a", { href: address({ view: "requests", find: "", [label]: exactly(value) }), "data-narrow": label, title: "Show all such requests" },
	el("bdi.name", { title: value }, value === "" ? WITHOUT[label] : cut(value)));

// What a member that did not serve said, as the ledger's `tried` has it.
const WHYS = { unreachable: "could not be connected to", resting: "rested, because it had declined another request", credential: "had no usable credential" };

function outcome(row, told) {
	const refused = told.refusal;
	if (row.code)
		return [refused ? refused.what : `The gateway refused it: ${row.code}.`, refused?.todo];
	if (row.status <= 0)
		return ["The client got no answer.", null];
	if (row.status === 401 || row.status === 403)
		return [`The upstream did not accept the credential (${row.status}).`, "Look at the route's credential: `spoa-llm check`. If the client's own credential went along, the client has to correct it."];
	if (row.status === 429 || row.status === 529)
		return [`The upstream declined it (${row.status}): it has too many requests, or the account is at its limit.`, "Raise the limit at the provider, or give the route a pool with more members."];
	if (row.status >= 500)
		return [`The upstream failed (${row.status}).`, "If this happens often, look at the provider's status page; Operation shows whether others failed too."];
	if (row.status >= 400)
		return [`The upstream refused it (${row.status}).`, "Look at what the client sent: the upstream's answer says why, and the gateway keeps no bodies."];
	return [row.termination && row.termination !== "--" ? "The answer did not come to its end." : "It was answered.", null];
}

function head(row, told) {
	const [what, todo] = outcome(row, told), at = Date.parse(row.time);
	const state = row.code ? `Refused: ${statusName(row)} ${row.code}` : row.status > 0 ? `Status ${row.status}` : "No answer";
	const copier = button(".quiet#request-copy", "Copy id", async () => {
		if (await copy(row.id, copier))
			return;
		getSelection().selectAllChildren($("request-id"));
		put(copier, "Selected: copy it");
	});
	const says = el("span.pill#request-state");
	pill(says, levelOf(row), state);
	return [el("p", says, " ",
		el("time", { datetime: row.time, title: row.time }, `${dayName(at)} ${new Date(at).getUTCFullYear()}, ${clock(at)}`)),
	el("p", el("span.id#request-id", row.id), " ", copier),
	el("p#request-what", el("strong", coded(what)), ` HAProxy says: ${told.termination}${row.termination ? ` (${row.termination})` : ""}.`),
	todo ? el("p#request-todo", "What to do: ", coded(todo)) : null];
}

// HAProxy's times as one bar.
function timings(row, told) {
	if (!told.timings?.length)
		return paragraph("HAProxy measured no times.");
	const all = told.timings.reduce((sum, part) => sum + Number(part.ms), 0), strip = el("div.parts.timings", { "aria-hidden": "true" });
	told.timings.forEach((part, at) => {
		const piece = el("i", { "data-part": at % 4, title: `${part.name}: ${count(part.ms)} ms` });
		piece.style.flex = `${all ? Number(part.ms) / all : 1} 0 0`;
		strip.append(piece);
	});
	return el("div", strip, el("ul.legend", ...told.timings.map((part, at) => el("li", el("i.key", { "data-part": at % 4, "aria-hidden": "true" }),
		`${part.name} `, el("strong", { "data-value": part.ms, title: `${count(part.ms)} ms` }, took(Number(part.ms)))))));
}

const known = (value) => (value == null ? "not known" : counted(value));

// What it cost, by the prices of today if they give the same, else in words.
function costs(row, told) {
	const cost = row.cost_nanodollars == null ? el("span#request-cost", row.price_from === "unpriced" ? "unpriced" : "not known") : moneyFigure(el("span#request-cost"), big(row.cost_nanodollars));
	const saved = [["compression", "compression"], ["routing", "routing"], ["cache", "providers’ caches"]].filter(([key]) => big(row[`saved_${key}_nanodollars`]))
		.map(([key, by]) => [`Saved by ${by}`, amount(row[`saved_${key}_nanodollars`])]);
	return [Array.isArray(told.cost) && told.cost.length ? table("What it cost", ["What", "#Number", "#A million", "#Cost"],
		told.cost.map((part) => [part.what, counted(part.tokens), amount(part.price_nanodollars_per_million), amount(part.amount_nanodollars, { "data-cost": "" })]), true) : null,
	facts(["Cost", cost], ["", typeof told.cost === "string" && told.cost !== told.price_from ? told.cost : null], ["Price", coded(told.price_from)], ["Not priced", row.price_missing], ...saved,
		["Also charged to the budget", big(row.charged_nanodollars) ? amount(row.charged_nanodollars) : null])];
}

function tokens(row, told) {
	return facts(["Uncached input", known(row.input)], ["Read from the cache", known(row.cache_read)], ["Written to the cache", known(row.cache_write)], ["Output", known(row.output)],
		["Taken out by compression", big(row.saved) ? counted(row.saved) : null], ["Where they come from", told.usage_from], ["The tap", told.tap],
		["Bytes in, out", el("span", known(row.bytes_in), ", ", known(row.bytes_out))]);
}

function who(row) {
	return facts(...["model", "route", "project", "client"].map((label) => [capital(label), narrowed(label, row[label])]),
		["Status", narrowed("status", statusName(row))], ["Refusal", row.code ? narrowed("code", row.code) : null], ["Backend", row.backend], ["Protocol", row.protocol], ["Operation", row.operation],
		["Stream", row.stream ? "yes" : "no"], ["Key", row.keyed ? "one of this gateway’s clients" : null], ["Gateway", row.gateway ? narrowed("gateway", row.gateway) : null],
		["Trace", row.traceparent]);
}

// The members of a pool that were asked, in their order.
function attempts(row) {
	if (!big(row.attempts))
		return null;
	const tried = row.tried.split(",").filter(Boolean).map((one) => {
		const at = one.lastIndexOf(":"), why = one.slice(at + 1);
		return [one.slice(0, at), WHYS[why] ?? `answered ${why}, so the next one was asked`];
	});
	return section("Members of the pool", null, el("ol.attempts", ...tried.map(([member, why]) => el("li", el("bdi.name", member), ` ${why}`)),
		row.member ? el("li", narrowed("member", row.member), row.status > 0 ? ` answered ${row.status}` : " gave no answer") : null));
}

// What the route would decide today.
function decided(route) {
	if (!route)
		return paragraph("What the routes would do with such a request is shown to those who have the admin_token. A viewer_token does not show it.");
	if (route.error)
		return paragraph(`What the routes would do cannot be found out: ${route.error}`);
	return [el("p.dim", "What today’s routes would do with a request for this model to this endpoint:"), facts(["Decision", route.code ? `Refused: ${route.status} ${route.code}` : `Goes to ${route.backend}`], ...factsOf(route))];
}

function exact(row) {
	return el("details#request-exact", el("summary", "Every column, exact"), table("Every column of the ledger", ["Column", "Value"],
		Object.entries(row).map(([column, value]) => [column.replace("_nanodollars", ""), el("bdi", { "data-column": column, class: "name" },
			value == null ? "not known" : column.endsWith("_nanodollars") ? exactDollars(value) : String(value))])));
}

function parts({ request: row, explained: told, route }) {
	return [el("div.whole", ...head(row, told).filter(Boolean)), section("Times", "times", timings(row, told)), section("Whose, and where to", null, who(row)), attempts(row), section("Tokens", null, tokens(row, told)),
		section("Cost", null, ...costs(row, told)), section("Why this route", "why", ...[decided(route)].flat()), exact(row)].flat().filter(Boolean);
}

// ---- the view

export function start() {
	$("view-request").append(el("section.card.wide.has-ledger", { "aria-labelledby": "request-title" },
		el("div.head", el("h2#request-title", { tabindex: "-1" }, "One request"), el("a#request-back", "All requests")),
		el("div.notice#request-failed", { "data-level": "bad", hidden: "" }, el("p")), el("div#request-body")));
}

// `again`: it is shown, and may have changed, because its usage can be told later than its end.
async function read(again) {
	stop?.abort();
	const mine = stop = new AbortController();
	try {
		const answer = await ask(`request?${new URLSearchParams({ id: filter.id, ...scope() })}`, mine.signal);
		if (mine !== stop)
			return;
		fill($("request-body"), JSON.stringify(answer), () => parts(answer));
		if (!again)
			announce($("request-state").textContent);
	} catch (error) {
		if (mine !== stop)
			return;
		stop = null;
		if (again || error instanceof Locked)
			return;
		fill($("request-body"), "", () => []);
		$("request-failed").hidden = false;
		put($("request-failed").querySelector("p"), error.status === 404 ? `The ledger has no request with the id ${filter.id}. It may have been pruned, or has not ended yet.` :
			`${error.status ? "The request cannot be read" : "The agent does not answer"}: ${error.message.replace(/\.?$/, ".")}`);
	}
	stop = null;
	readAt = Date.now();
}

export function show() {
	if (document.body.dataset.ledger === "none")
		return;
	ledgerState("ok");
	$("request-back").href = address({ view: "requests" });
	$("request-failed").hidden = true;
	if (shownId !== filter.id) {
		shownId = filter.id;
		fill($("request-body"), "", () => el("p.dim", "\u2026"));
		$("request-title").focus({ preventScroll: true });
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
	stop = null;
	shownId = null;
}
