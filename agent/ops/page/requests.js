// SPDX-License-Identifier: MIT
//
// The list of requests asks for those that are seen. New ones are counted, and shown when asked for.
import { $, all, announce, big, button, clock, count, cut, dayName, el, exactDollars, figure, find, focus, mark, money, NOTHING, on, onSubmit, plural, put, set, short, state,
	tokensIn } from "./figures.js";
import { download, failure, ledgerState, Locked, read } from "./connection.js";
import { address, always, change, everything, filter, narrowed, narrower, nothingFound, question, scope } from "./filter.js";
import { makeScroller } from "./scroller.js";

const ID = "Id of a request, or its beginning";
const ASKED = 100;
const BESIDE = 10; // rows asked for beside those seen
const KEPT = 4000; // rows kept around those seen
const AT_ONCE = 2;
const CALM_MS = 70; // without scrolling, before asking
const REFRESH_MS = 2000; // between two looks for new requests, at least
const AGAIN_MS = 5000; // after an error
const EXPORTED = 10000; // rows, at most
const NAMES = { model: 26, route: 16, project: 16, client: 16 };

// Name, class, and the parameter `sort`, if it can be sorted by.
const COLUMNS = [["Time", "time", "time"], ["Status", "status n"], ["Model", "model"], ["Route", "route"], ["Project", "project"], ["Client", "client"],
	["Tokens", "tokens n", "tokens"], ["Cost", "cost n", "cost"], ["First byte", "first n", "first_byte_ms"], ["Whole", "whole n", "whole_ms"]];
export const name = "requests";
export const params = { sort: ["time", "tokens", "cost", "first_byte_ms", "whole_ms"], order: ["desc", "asc"], find: null };

export const took = (ms) => (ms == null ? "" : ms < 1000 ? `${count(ms)} ms` : `${count(Math.floor(ms / 1000))}.${Math.floor(ms % 1000 / 100)} s`);
export const statusName = (row) => (row.status > 0 ? String(row.status) : "none");
export const levelOf = (row) => (row.status >= 500 || row.status <= 0 ? "bad" : row.status >= 400 ? "warn" : "good");

const timed = (ms) => el("span", { title: ms == null ? "not known" : `${count(ms)} ms`, "data-value": ms }, took(ms) || NOTHING);

function costCell({ cost_nanodollars: cost, price_from: price, usage_from: usage }) {
	if (cost == null)
		return price === "unpriced" ? price : usage === "unknown" ? "not known" : NOTHING;
	const rough = ["estimated", "partial"].includes(usage) || price === "partial";
	return figure(el("span"), cost, (rough ? "~" : "") + money(cost), exactDollars(cost) + (rough ? ", partly estimated or partly priced" : ""));
}

function tokensCell(row) {
	if (row.input == null)
		return el("span", { title: "Nobody reported how many" }, "not known");
	const all = tokensIn(row), out = big(row.output);
	return el("span", { title: `${count(all)} in, ${count(out)} out`, "data-value": all + out }, `${short(all)} + ${short(out)}`);
}

function cells(row) {
	const at = Date.parse(row.time), refused = row.code && "tokens n";
	const of = { time: el("a", { href: address({ view: "request", id: row.id }), title: `${row.time}, ${row.id}` }, `${dayName(at)}, ${clock(at)}`),
		status: mark(levelOf(row), narrower("status", statusName(row))), tokens: refused ? narrower("code", row.code) : tokensCell(row), cost: costCell(row),
		first: timed(row.ttfb_ms), whole: timed(row.total_ms) };
	return COLUMNS.filter(([name]) => !refused || name !== "Cost").map(([, kind]) => {
		const name = kind.split(" ")[0], cell = el("div", { role: "gridcell", "aria-colspan": kind === refused ? 2 : null, class: kind === refused ? "tokens refused" : kind },
			of[name] ?? narrower(name, row[name], row[name] && cut(row[name], NAMES[name])));
		all("a, button", cell).forEach((part) => set(part, "tabindex", -1));
		return cell;
	});
}

// ---- the rows that are known

let list = null;
let asked = null;
let total = null; // as far as is known
let ofLast = null; // so many of the newest are sorted; null: all
let least = false, stopped = false; // least: total may be more; stopped: not all was read
let shift = 0; // new rows in front of the first one shown
let told = 0, latest = 0; // how many there were, at first and at last
let round = 0; // an answer to an earlier one is thrown away
const known = new Map(); // rows by place
const flights = new Map(); // by first place: cancels the question
let calm = null, seenAt = [0, 0], shown = false, failed = null, retry = null, jump = false; // jump: one id was asked for
let old = false, lookAt = 0, looking = null; // old: the ledger has changed since

const length = () => Math.max(0, Math.min(total ?? 0, ofLast ?? Infinity) - shift);
const down = () => filter.order === "desc";

const rowsQuestion = (offset, limit = ASKED) => `${asked}&limit=${limit}&offset=${offset}`;
const rowsOf = (place, signal) => read(rowsQuestion(place + shift), signal);

function keep(place, rows) {
	rows.forEach((row, i) => place + i >= 0 && known.set(place + i, row));
	if (known.size <= KEPT)
		return;
	const [first, end] = list.seen;
	for (const at of known.keys())
		if (at < first - KEPT / 4 || at > end + KEPT / 4)
			known.delete(at);
}

function stopAll() {
	round++;
	for (const flight of flights.values())
		flight.abort();
	flights.clear();
	clearTimeout(calm);
	clearTimeout(retry);
	looking?.abort();
	calm = retry = looking = null;
}

function moved(place, answer) {
	if (answer.total != null && answer.total !== total)
		return true;
	const ids = new Map([...known].map(([at, row]) => [row.id, at]));
	return answer.rows.some((row, i) => ids.has(row.id) && ids.get(row.id) !== place + i);
}

// The rows that are seen stay, and the others follow the nearest of them.
function realign(place, answer) {
	const [first, end] = list.seen, more = (answer.total ?? total) - total, where = place + shift;
	const stay = [...known].filter(([at]) => at >= first - BESIDE && at < end + BESIDE).sort(([a], [b]) => a - b);
	const near = place + ASKED / 2 > (first + end) / 2 ? [...stay].reverse() : stay, ids = new Map(answer.rows.map((row, i) => [row.id, i]));
	const anchor = near.find(([, row]) => ids.has(row.id));
	stopAll();
	shift = anchor ? where + ids.get(anchor[1].id) - anchor[0] : shift + (down() && filter.sort === "time" ? Math.max(more, 0) : 0);
	total = answer.total ?? total;
	const back = Math.min(shift, 0); // nothing stands before the list's beginning
	shift -= back;
	known.clear();
	keep(where - shift, answer.rows);
	stay.forEach(([at, row]) => known.set(at - back, row));
	list.resize(length(), list.at - back, list.active - back);
}

// `looked`: only to see what is new.
function take(place, answer, looked) {
	failed = null;
	latest = answer.total ?? latest;
	const end = place + shift + answer.rows.length, more = answer.total == null && answer.rows.length === ASKED;
	({ stopped } = answer);
	least = more || stopped;
	if (total === null) {
		total = told = latest = answer.total ?? (more ? end + ASKED : end);
		ofLast = answer.of_last;
		keep(place, answer.rows);
		list.resize(length());
		opened();
		return;
	}
	if (answer.total == null) {
		if (more ? end >= total : end !== total)
			total = more ? end + ASKED : end;
		keep(place, answer.rows);
		list.resize(length());
	} else if (looked && moved(place, answer)) {
		const ids = new Map(answer.rows.map((row) => [row.id, row]));
		for (const [at, row] of known)
			known.set(at, ids.get(row.id) ?? row);
		list.paint();
	} else if (moved(place, answer)) {
		realign(place, answer);
	} else {
		keep(place, answer.rows);
		list.paint();
	}
	showState();
}

// ---- asking

function want(first, end) {
	seenAt = [first, end];
	place();
	clearTimeout(calm);
	calm = setTimeout(fetchSeen, CALM_MS);
}

function fetchSeen() {
	if (!shown || total === null || failed)
		return;
	const [first, end] = seenAt, wanted = new Set();
	for (let at = Math.max(0, first - BESIDE); at < Math.min(end + BESIDE, length()); at++)
		if (!known.has(at))
			wanted.add(at - at % ASKED);
	for (const [start, flight] of flights)
		if (!wanted.has(start)) {
			flight.abort();
			flights.delete(start);
		}
	for (const start of wanted)
		if (!flights.has(start) && flights.size < AT_ONCE)
			fetchRows(start);
}

async function fetchRows(start) {
	const stop = new AbortController(), of = round;
	flights.set(start, stop);
	let answer, error = null;
	try {
		answer = await rowsOf(start, stop.signal);
	} catch (thrown) {
		error = thrown;
	}
	if (of !== round || flights.get(start) !== stop)
		return;
	flights.delete(start);
	if (error) {
		fail(error);
	} else {
		take(start, answer);
		fetchSeen();
	}
}

function fail(error) {
	if (error instanceof Locked || error.name === "AbortError")
		return;
	failed = error;
	showState();
	if (error.status !== 400) // asking again would not help
		retry = setTimeout(again, AGAIN_MS);
}

function again() {
	clearTimeout(retry);
	failed = null;
	if (total === null)
		fetchRows(0);
	else
		fetchSeen();
}

async function look() {
	const start = Math.max(0, list.seen[0] - list.seen[0] % ASKED), of = round, began = Date.now();
	looking = new AbortController();
	let answer = null;
	try {
		answer = await rowsOf(start, looking.signal);
	} catch { // the next look may succeed
		old = true;
	}
	if (of === round) {
		looking = null;
		if (answer)
			take(start, answer, true);
	}
	lookAt = Date.now() + Math.max(REFRESH_MS, 3 * (Date.now() - began));
}

// ---- what stands around the list

function place() {
	const rows = length(), [first, end] = seenAt;
	put("requests-place", rows ? `${count(first + 1)}\u2013${count(end)} of ${ofLast && ofLast < total ? `the last ${count(ofLast)} of ` : ""}${count(ofLast ? total : rows)}${least ? " or more" : ""}` : "");
}

function part() {
	const text = stopped ? "Only a part of the requests could be looked at" : ofLast && total > ofLast && `Only the last ${count(ofLast)} requests are sorted`;
	return text && `${text}. A filter, a shorter period or more of the id brings others in.`;
}

const emptyText = () => (stopped ? part() : filter.find ? `No request has an id that ${filter.find.endsWith("*") ? "begins with" : "is"} ${filter.find.replace(/\*$/, "")}.` : nothingFound());

function showState() {
	const empty = total === 0, more = latest - told;
	$("requests-failed").hidden = !failed;
	if (failed)
		put(find("#requests-failed span"), failure(failed, "This filter cannot be used", "The requests cannot be read"));
	$("requests-empty").hidden = !empty;
	$("requests-list").hidden = empty || (total === null && failed !== null);
	$("requests-csv").disabled = !total;
	if (empty)
		put(find("#requests-empty p"), emptyText());
	$("requests-wide").hidden = !narrowed() && always() && !filter.find;
	put("requests-hint", part() || (filter.find ? "All times are searched." : ""));
	$("requests-new").hidden = !(down() && more > 0);
	put("requests-new", `${count(more)} new: show`);
	place();
}

function opened() {
	ledgerState("ok");
	showState();
	announce(total ? plural(total, "request") : emptyText());
	// The only one that an id finds is shown.
	if (filter.find && total === 1 && jump) {
		jump = false;
		filter.find = "";
		change({ view: "request", id: known.get(0).id }, true);
	}
}

const names = () => el("div.row", { role: "row", "aria-rowindex": 1 }, ...COLUMNS.map(([name, kind, sort]) =>
	el("div", { role: "columnheader", class: kind, "data-sort": sort },
		sort ? button("", name, () => change({ sort, order: filter.sort === sort && down() ? "asc" : "desc" })) : name)));

function draw(node, at) {
	const row = known.get(at);
	if (node.row === row && node.childNodes.length)
		return;
	node.row = row;
	node.classList.toggle("unknown", !row);
	node.replaceChildren(...(row ? cells(row) : [el("div", { role: "gridcell" }, "\u2026")]));
}

function open(at) {
	if (known.has(at))
		change({ view: "request", id: known.get(at).id });
}

const csv = () => download(rowsQuestion(shift, EXPORTED) + "&format=csv", "requests.csv").catch(fail);

function questionOf() {
	const sorting = { sort: filter.sort, order: filter.order };
	return filter.find ? `requests?${new URLSearchParams({ since: "all", id: filter.find, ...sorting, ...scope() })}` : question("requests", sorting);
}

function begin() {
	stopAll();
	known.clear();
	asked = questionOf();
	total = ofLast = failed = null;
	least = stopped = false;
	shift = told = 0;
	for (const cell of all("#requests-list [data-sort]"))
		set(cell, "aria-sort", cell.dataset.sort !== filter.sort ? null : down() ? "descending" : "ascending");
	list.resize(0, 0, 0);
	showState();
	fetchRows(0);
}

export function start() {
	const box = el("div.list#requests-list", { role: "grid", tabindex: "0", "aria-label": "Requests. Arrow keys choose one, Enter opens it." });
	const search = el("form.field#requests-search", { role: "search" },
		el("input#requests-id", { maxlength: "64", placeholder: ID, "aria-label": ID }),
		el("button", { type: "submit" }, "Find"));
	$("view-requests").append(el("section.card",
		el("div.head", el("h2", "Requests"), search,
			el("div.tools", el("span.dim#requests-place"), button(".quiet#requests-csv", "CSV", csv))),
		el("p.dim#requests-hint"),
		el("div.notice#requests-failed", { "data-level": "bad", hidden: "" }, el("p", el("span")), button("#requests-again", "Try again", again)),
		el("div.notice#requests-empty", { hidden: "" }, el("p"),
			button("#requests-wide", "Show all requests", () => change({ find: "", ...everything() }))),
		el("div.around", button(".new#requests-new", "", () => {
			begin();
			focus("requests-list");
		}, { hidden: "" }), box)));
	list = makeScroller(box, { head: names(), draw, seen: want, open });
	on(box, "click", (click) => {
		const node = click.target.closest(".row[aria-rowindex]"), at = Number(node?.getAttribute("aria-rowindex")) - 2;
		if (!node || at < 0 || click.target.closest("a, button") || String(getSelection()))
			return;
		list.activate(at);
		open(at);
	});
	onSubmit("requests-search", () => {
		const id = $("requests-id").value.trim();
		jump = true;
		change({ find: id && !id.endsWith("*") ? id + "*" : id });
		if (jump && asked !== null && total === 1)
			opened();
	});
}

export const title = () => "Requests";

// A list shown again is as it was.
export function show() {
	if (state.ledger === "none")
		return;
	ledgerState("ok");
	shown = true;
	$("requests-id").value = filter.find.replace(/\*$/, "");
	if (asked !== questionOf()) {
		begin();
		return;
	}
	showState();
	list.resize(length());
	focus("requests-list");
	again();
}

export function live(stats, changed) {
	old ||= changed;
	if (!shown || !old || Date.now() < lookAt || total === null || looking || flights.size || failed)
		return;
	old = false;
	look();
}

export function hide() {
	shown = false;
	stopAll();
}
