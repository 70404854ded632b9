// SPDX-License-Identifier: MIT
//
// The list of requests, however many there are: it asks for those that are seen, a hundred at a time. A new request does not move the rows
// under the reader's eyes: the list says how many there are, and shows them when asked.
import { $, announce, big, button, clock, count, cut, dayName, el, exactDollars, figure, money, onSubmit, plural, put, short,
	tokensIn } from "./figures.js";
import { download, Locked, read } from "./connection.js";
import { address, change, everything, filter, narrowed, narrower, periodName, question, scope } from "./filter.js";
import { ledgerState } from "./reader.js";
import { makeScroller } from "./scroller.js";

const ASKED = 100;       // rows in one question
const BESIDE = 10;       // rows that are asked for beside those that are seen
const KEPT = 4000;       // rows that are kept around those that are seen
const AT_ONCE = 2;       // questions
const CALM_MS = 70;      // without scrolling, before rows are asked for
const REFRESH_MS = 2000; // the shortest time between two looks for new requests
const AGAIN_MS = 5000;   // after an error
const EXPORTED = 10000;  // rows in a file, at most
const NAMES = { model: 26, route: 16, project: 16, client: 16 }; // letters that are shown

// What the list can be sorted by: a column's name, the parameter `sort`, and the class of its cells.
const COLUMNS = [["Time", "time", "time"], ["Status", null, "status n"], ["Model", null, "model"], ["Route", null, "route"], ["Project", null, "project"], ["Client", null, "client"],
	["Tokens", "tokens", "tokens n"], ["Cost", "cost", "cost n"], ["First byte", "first_byte_ms", "first n"], ["Whole", "whole_ms", "whole n"]];
export const name = "requests";
export const params = { sort: ["time", ...COLUMNS.map(([, sort]) => sort).filter((sort) => sort && sort !== "time")], order: ["desc", "asc"], find: null };

// ---- a row

export function took(ms) {
	return ms == null ? "" : ms < 1000 ? `${count(ms)} ms` : `${count(Math.floor(ms / 1000))}.${Math.floor(ms % 1000 / 100)} s`;
}

export const statusName = (row) => (row.status > 0 ? String(row.status) : "none");
export const levelOf = (row) => (row.status >= 500 || row.status <= 0 ? "bad" : row.status >= 400 ? "warn" : "good");
const rough = (row) => ["estimated", "partial"].includes(row.usage_from) || row.price_from === "partial";

export function costText(row) {
	return row.cost_nanodollars != null ? (rough(row) ? "~" : "") + money(row.cost_nanodollars) : row.price_from === "unpriced" ? "unpriced" : row.usage_from === "unknown" ? "not known" : "";
}

const timed = (ms) => el("span", { title: ms == null ? "not known" : `${count(ms)} ms`, "data-value": ms }, took(ms) || "\u2013");

function costCell(row) {
	const node = el("span", costText(row) || "\u2013");
	return row.cost_nanodollars == null ? node : figure(node, row.cost_nanodollars, costText(row), exactDollars(row.cost_nanodollars) + (rough(row) ? ", partly estimated or partly priced" : ""));
}

function tokensCell(row) {
	if (row.input == null)
		return el("span", { title: "Nobody reported how many" }, "not known");
	const all = tokensIn(row), out = big(row.output);
	return el("span", { title: `${count(all)} in, ${count(out)} out`, "data-value": all + out }, `${short(all)} + ${short(out)}`);
}

function cells(row) {
	const at = Date.parse(row.time);
	const of = { time: el("a", { href: address({ view: "request", id: row.id }), tabindex: "-1", title: `${row.time}, ${row.id}` }, `${dayName(at)}, ${clock(at)}`),
		status: el("span.mark", { "data-level": levelOf(row) }, narrower("status", statusName(row))),
		tokens: row.code ? narrower("code", row.code) : tokensCell(row), cost: costCell(row), first: timed(row.ttfb_ms), whole: timed(row.total_ms) };
	return COLUMNS.map(([, , kind]) => {
		const name = kind.split(" ")[0], cell = el("div", { role: "gridcell", "aria-colspan": row.code && name === "tokens" ? 2 : null, class: row.code && name === "tokens" ? "tokens refused" : kind });
		cell.append(of[name] ?? narrower(name, row[name], row[name] && cut(row[name], NAMES[name])));
		cell.querySelector("button")?.setAttribute("tabindex", "-1");
		return cell;
	}).filter((cell) => !(row.code && cell.classList.contains("cost")));
}

// ---- the rows that are known

let list = null;            // the scroller
let asked = null;           // the question whose rows are shown, without its page
let total = null;           // how many there are, as far as is known
let ofLast = null;          // only so many of the newest requests are sorted; null: all of them
let shift = 0;              // rows of the agent's list in front of the first one shown, because they are new
let told = 0, latest = 0;   // how many there were when the list was begun, and at last
let round = 0;              // an answer to an earlier round is thrown away
const known = new Map();    // rows by their place in the list
const flights = new Map();  // by first place: what cancels the question
let calm = null, seenAt = [0, 0], shown = false, failed = null, retry = null;
let old = false, lookAt = 0, looking = null; // old: the ledger has changed since the last look

const length = () => Math.max(0, Math.min(total ?? 0, ofLast ?? Infinity) - shift);
const down = () => filter.order === "desc";

function rowsQuestion(offset, limit = ASKED) {
	return `${asked}&limit=${limit}&offset=${offset}`;
}

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

// A row that stands at another place than before says that the agent's list has moved.
function moved(place, answer) {
	if (answer.total != null && answer.total !== total)
		return true;
	const ids = new Map([...known].map(([at, row]) => [row.id, at]));
	return answer.rows.some((row, i) => ids.has(row.id) && ids.get(row.id) !== place + i);
}

// Takes an answer of a list that has moved. The rows that are seen stay where they are, and the others follow the one of them that is nearest.
function realign(place, answer) {
	const [first, end] = list.seen, more = (answer.total ?? total) - total, where = place + shift;
	const stay = [...known].filter(([at]) => at >= first - BESIDE && at < end + BESIDE).sort(([a], [b]) => a - b);
	const near = place + ASKED / 2 > (first + end) / 2 ? [...stay].reverse() : stay, ids = new Map(answer.rows.map((row, i) => [row.id, i]));
	const anchor = near.find(([, row]) => ids.has(row.id));
	stopAll();
	shift = anchor ? where + ids.get(anchor[1].id) - anchor[0] : shift + (down() && filter.sort === "time" ? Math.max(more, 0) : 0);
	total = answer.total ?? total;
	const back = Math.min(shift, 0); // the list is shorter in front: nothing can stand before its beginning
	shift -= back;
	known.clear();
	keep(where - shift, answer.rows);
	stay.forEach(([at, row]) => known.set(at - back, row));
	list.resize(length(), list.at - back, list.active - back);
}

// Takes the rows of an answer that was asked for from `place`; `looked`: to see what is new.
function take(place, answer, looked) {
	failed = null;
	latest = answer.total ?? latest;
	if (total === null) {
		total = told = latest = answer.total ?? answer.rows.length;
		ofLast = answer.of_last;
		keep(place, answer.rows);
		list.resize(length());
		opened();
		return;
	}
	if (answer.total == null) { // nobody counted: there are at least as many as were seen, and perhaps more
		const least = place + shift + answer.rows.length;
		if (answer.rows.length === ASKED ? least >= total : least !== total)
			total = answer.rows.length === ASKED ? least + ASKED : least;
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
	state();
}

// ---- asking

// Asks for what is seen and not known, once the list stands still.
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
	state();
	if (error.status !== 400) // asking again would not fix the question
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

// Looks whether there are new requests, and whether those that are seen have changed.
async function look() {
	const start = Math.max(0, list.seen[0] - list.seen[0] % ASKED), of = round, began = Date.now();
	looking = new AbortController();
	let answer = null;
	try {
		answer = await rowsOf(start, looking.signal);
	} catch { // what is shown stays, and the next look may succeed
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

function news() {
	const more = latest - told;
	$("requests-new").hidden = !(down() && more > 0);
	put($("requests-new"), `${count(more)} new: show`);
}

// Which rows are seen.
function place() {
	const rows = length(), [first, end] = seenAt;
	put($("requests-place"), rows ? `${count(first + 1)}\u2013${count(end)} of ${ofLast && ofLast < total ? `the last ${count(ofLast)} of ` : ""}${count(ofLast ? total : rows)}` : "");
}

function emptyText() {
	return filter.find ? `No request has an id that ${filter.find.endsWith("*") ? "begins with" : "is"} ${filter.find.replace(/\*$/, "")}.` :
		narrowed() ? `No request ${periodName()} is of this kind.` : filter.since === "all" && !filter.until ? "Nothing is in the ledger yet. The first request appears when it has ended." : `There is no request ${periodName()}.`;
}

function state() {
	const empty = total === 0;
	$("requests-failed").hidden = !failed;
	if (failed)
		put($("requests-failed").querySelector("span"), `${failed.status === 400 ? "This filter cannot be used" : failed.status ? "The requests cannot be read" : "The agent does not answer"}: ${failed.message.replace(/\.?$/, ".")}`);
	$("requests-empty").hidden = !empty;
	$("requests-list").hidden = empty || (total === null && failed !== null);
	$("requests-csv").disabled = !total;
	if (empty)
		put($("requests-empty").querySelector("p"), emptyText());
	$("requests-wide").hidden = !(narrowed() || filter.since !== "all" || filter.until || filter.find);
	put($("requests-note"), ofLast && total > ofLast ? `Only the last ${count(ofLast)} requests are sorted. A filter or a shorter period brings others in.` : filter.find ? "All times are searched." : "");
	news();
	place();
}

// The first answer to a question has come.
function opened() {
	ledgerState("ok");
	state();
	announce(total ? plural(total, "request") : emptyText());
	// Who asks for one request by its whole id, or by a beginning that no other has, wants to see it.
	if (filter.find && total === 1 && jump) {
		jump = false;
		filter.find = ""; // it is found
		change({ view: "request", id: known.get(0).id }, true);
	}
}

let jump = false;

function names() {
	const head = el("div.row", { role: "row", "aria-rowindex": 1 });
	for (const [name, sort, kind] of COLUMNS) {
		const cell = el("div", { role: "columnheader", class: kind, "data-sort": sort });
		cell.append(sort ? button("", name, () => change({ sort, order: filter.sort === sort && down() ? "asc" : "desc" })) : name);
		head.append(cell);
	}
	return head;
}

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

async function csv() {
	try {
		await download(rowsQuestion(shift, EXPORTED) + "&format=csv", "requests.csv");
	} catch (error) {
		fail(error);
	}
}

// What is asked for: by an id in all times, because nobody knows when it was.
function questionOf() {
	const sorting = { sort: filter.sort, order: filter.order };
	return filter.find ? `requests?${new URLSearchParams({ since: "all", id: filter.find, ...sorting, ...scope() })}` : question("requests", sorting);
}

// Begins at the beginning.
function begin(focus) {
	stopAll();
	known.clear();
	asked = questionOf();
	total = ofLast = failed = null;
	shift = told = 0;
	for (const cell of $("requests-list").querySelectorAll("[data-sort]"))
		if (cell.dataset.sort === filter.sort)
			cell.setAttribute("aria-sort", down() ? "descending" : "ascending");
		else
			cell.removeAttribute("aria-sort");
	list.resize(0, 0, 0);
	state();
	fetchRows(0);
	if (focus)
		$("requests-list").focus({ preventScroll: true });
}

export function start() {
	const box = el("div.list#requests-list", { role: "grid", tabindex: "0", "aria-label": "Requests. Arrow keys choose one, Enter opens it." });
	const search = el("form.field#requests-search", { role: "search" },
		el("label", { for: "requests-id", class: "unseen" }, "Id of a request, or its beginning"),
		el("input#requests-id", { autocomplete: "off", spellcheck: "false", maxlength: "64", placeholder: "Id of a request, or its beginning" }),
		el("button", { type: "submit" }, "Find"));
	$("view-requests").append(el("section.card.wide", { "aria-labelledby": "requests-title" },
		el("div.head", el("h2#requests-title", "Requests"), search,
			el("div.tools", el("span.dim#requests-place"), button(".quiet#requests-csv", "CSV", csv))),
		el("p.dim#requests-note"),
		el("div.notice#requests-failed", { "data-level": "bad", hidden: "" }, el("p", el("span")), button("#requests-again", "Try again", again)),
		el("div.notice#requests-empty", { hidden: "" }, el("p"),
			button("#requests-wide", "Show all requests", () => change({ find: "", ...everything() }))),
		el("div.around", button(".new#requests-new", "", () => begin(true)), box)));
	$("requests-new").hidden = true;
	list = makeScroller(box, { head: names(), draw, seen: want, open });
	box.addEventListener("click", (click) => {
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

// Shows what the filter says. Whoever comes back to the same list finds it as it was.
export function show() {
	if (document.body.dataset.ledger === "none")
		return;
	ledgerState("ok");
	shown = true;
	$("requests-id").value = filter.find.replace(/\*$/, "");
	if (asked !== questionOf()) {
		begin(false);
		return;
	}
	state();
	list.resize(length());
	$("requests-list").focus({ preventScroll: true });
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
