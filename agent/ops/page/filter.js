// SPDX-License-Identifier: MIT
//
// The filter that all views share: whose requests, of which period, and with which labels. The address has all of it, so a link shows the
// same, and the back button undoes a choice.
import { $, announce, big, button, choose, clock, copy, cut, DAY, dayName, el, fill, on, onSubmit, order, put } from "./figures.js";
import { read } from "./connection.js";

const SUGGESTED = 200; // labels, the most expensive ones

// ---- what can be chosen

// The labels of requests, as the flags of the commands name them.
export const LABELS = { model: "Model", route: "Route", project: "Project", client: "Client", member: "Member", status: "Status", code: "Refusal", gateway: "Gateway" };
// Requests without such a label.
export const WITHOUT = { model: "no model named", route: "no route", project: "no project", client: "unknown client", member: "no pool", code: "not refused" };
const PERIODS = { __proto__: null, "24h": "in the last 24 hours", "7d": "in the last 7 days", "30d": "in the last 30 days", month: "this month", all: "to date" };
const STATUSES = ["2xx", "3xx", "4xx", "5xx", "429", "401", "403", "500", "502", "503", "none"];

// What is shown: `view`; `since` and `until` as the flags of the commands have them, or month; `scope`; for each of LABELS that is
// chosen, the label: X* is all labels that begin with X, =X is X as it is, and "" is requests without one; and what belongs to one view alone.
export const filter = { view: "savings", since: "30d", until: "", scope: "gateway" };

const usual = { ...filter };
const own = { __proto__: null }; // by view: { name: [its values, the usual one first], or null for any text }
const tabs = {}; // by view: the tab under which it stands
let onChange = () => {};

// ---- the period

const monthStart = (ms) => Date.UTC(new Date(ms).getUTCFullYear(), new Date(ms).getUTCMonth());
const date = (ms) => new Date(ms).toISOString().slice(0, 10);
export const moment = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;

// When the period begins and ends, in milliseconds, as far as the page can tell: [0 for the beginning of the ledger, now].
export function limits() {
	const now = Date.now(), { since, until } = filter, [, n, unit] = /^(\d+)([hd])$/.exec(since) ?? [];
	const from = since === "all" ? 0 : since === "month" ? monthStart(now) : since === "today" ? now - now % DAY :
		n ? now - n * (unit === "h" ? 3600000 : DAY) : Date.parse(since);
	const to = !until ? now : Date.parse(until) + (until.length === 10 ? DAY : 0); // a day is included to its end
	return [from || 0, to || now];
}

// The period in words, for the end of a sentence.
export function periodName() {
	const { since, until } = filter, [from, to] = limits(), year = (ms) => ` ${new Date(ms).getUTCFullYear()}`;
	if (!until)
		return PERIODS[since] ?? (since === "today" ? "today" : /^\d+[hd]$/.test(since) ? `in the last ${since.replace("h", " hours").replace("d", " days")}` :
			`since ${dayName(from)}${year(from)}${from % DAY ? `, ${clock(from).slice(0, 5)}` : ""}`);
	if (from % DAY || to % DAY)
		return `from ${dayName(from)}${year(from)}, ${clock(from).slice(0, 5)}, to ${from - from % DAY === to - to % DAY ? "" : `${dayName(to)}, `}${clock(to).slice(0, 5)}`;
	if (to - from === DAY)
		return `on ${dayName(from)}${year(from)}`;
	return from ? `from ${dayName(from)}${year(from)} to ${dayName(to - DAY)}${year(to - DAY)}` : `until ${dayName(to - DAY)}${year(to - DAY)}`;
}

export const scope = () => (filter.scope === "fleet" ? { scope: "fleet" } : {}); // as a parameter of a question
export const ofFleet = () => (filter.scope === "fleet" ? ", of the fleet" : "");

// ---- the address

function addressOf(what) {
	const said = new URLSearchParams({ view: what.view, since: what.since });
	for (const name of ["until", "scope"])
		if (what[name] && what[name] !== usual[name])
			said.set(name, what[name]);
	for (const name of Object.keys(LABELS))
		if (what[name] != null && (name !== "gateway" || what.scope === "fleet"))
			said.set(name, what[name]);
	for (const [name, values] of Object.entries(own[what.view] ?? {}))
		if (what[name] && what[name] !== values?.[0])
			said.set(name, what[name]);
	return "#" + said;
}

// The address of what is shown, or of that with `changes`: for links.
export const address = (changes = {}) => addressOf({ ...filter, ...changes });

function readAddress() {
	const said = new URLSearchParams(location.hash.slice(1));
	filter.view = own[said.get("view")] ? said.get("view") : usual.view;
	filter.since = said.get("since") || usual.since;
	filter.until = said.get("until") ?? "";
	filter.scope = said.get("scope") === "fleet" ? "fleet" : "gateway";
	for (const name of Object.keys(LABELS))
		filter[name] = name === "gateway" && filter.scope !== "fleet" ? null : said.get(name);
	for (const [name, values] of Object.entries(own[filter.view]))
		filter[name] = !values ? said.get(name) ?? "" : values.includes(said.get(name)) ? said.get(name) : values[0];
}

// Shows what is shown with `changes`. `replace`: the back button does not come back to what was shown before.
export function change(changes, replace) {
	const to = address(changes);
	if (to !== location.hash)
		history[replace ? "replaceState" : "pushState"](null, "", to);
	readAddress();
	changed();
}

// A label, as a filter asks for it.
export const exactly = (label) => (/^=|\*$/.test(label) ? "=" + label : label);
const shownAs = (name, asked) => asked.replace(/^=/, "") || WITHOUT[name];

// Narrows what is shown to the requests that `asked` means; null takes the filter away.
function narrow(name, asked) {
	change({ [name]: asked });
	announce(asked == null ? `${LABELS[name]}: all` : `Only ${LABELS[name].toLowerCase()} ${shownAs(name, asked)}`);
}

// Narrows to the time from `from` to `to`, in milliseconds; whole days, if both are.
export function narrowTime(from, to) {
	const whole = from % DAY === 0 && to % DAY === 0;
	change({ since: whole ? date(from) : moment(from), until: whole ? date(to - DAY) : moment(to) });
	announce(periodName());
}

// The question `path` for what is shown, with `more` parameters.
export function question(path, more = {}) {
	const asked = new URLSearchParams({ since: filter.since === "month" ? date(monthStart(Date.now())) : filter.since });
	if (filter.until)
		asked.set("until", filter.until);
	for (const name of Object.keys(LABELS))
		if (filter[name] != null)
			asked.set(name, filter[name]);
	if (filter.scope === "fleet")
		asked.set("scope", "fleet");
	for (const [name, value] of Object.entries(more))
		asked.set(name, value);
	return `${path}?${asked}`;
}

// Changes that take away every label; and those that take away the period too.
export const unlabelled = () => Object.fromEntries(Object.keys(LABELS).map((name) => [name, null]));
export const everything = () => ({ since: "all", until: "", ...unlabelled() });

// Whether a label is chosen.
export const narrowed = () => Object.keys(LABELS).some((name) => filter[name] != null);

// An element that narrows to `label` by a click. `text`: what it says, if not the label, which is cut in the middle if it is long.
export function narrower(name, label, text) {
	const says = text ?? (label === "" ? WITHOUT[name] : cut(label));
	return button(label === "" ? ".narrow.dim" : ".narrow", el(label === "" ? "bdi" : "bdi.name", { "data-name": label }, says), () => narrow(name, exactly(label)),
		{ "data-narrow": name, title: `${label || WITHOUT[name]}: show only these requests` });
}

// ---- the controls

function chip(name) {
	const asked = filter[name], says = shownAs(name, asked), remove = button("", "\u00d7", () => {
		narrow(name, null);
		($("chips").querySelector("button") ?? $("add").querySelector("summary")).focus();
	}, { "data-widen": name, "aria-label": `Remove the filter ${LABELS[name].toLowerCase()}: ${says}` });
	return el("li.chip", el("span.dim", `${LABELS[name]} `), el("bdi", { title: says }, cut(says)), remove);
}

// Sets the controls to what is shown.
function settle() {
	choose("since", filter.until ? "" : filter.since);
	choose("scope", filter.scope);
	const names = Object.keys(LABELS).filter((name) => filter[name] != null);
	fill($("chips"), JSON.stringify(names.map((name) => [name, filter[name]])), () => names.map(chip));
	const [from, to] = limits(), odd = filter.until || !PERIODS[filter.since];
	put($("dates").querySelector("summary"), odd ? periodName() : "Dates");
	$("dates").dataset.chosen = String(Boolean(odd));
	$("from").value = from ? date(from) : "";
	$("to").value = date(to - 1);
	$("add-name").querySelector("[value=gateway]").hidden = filter.scope !== "fleet";
	for (const link of document.querySelectorAll("#views a")) {
		link.href = address({ view: link.dataset.view });
		if (link.dataset.view === tabs[filter.view])
			link.setAttribute("aria-current", "page");
		else
			link.removeAttribute("aria-current");
	}
}

function changed() {
	settle();
	onChange();
}

// The labels that there are, for the field of a new filter.
async function suggest() {
	const name = $("add-name").value;
	let labels = name === "status" ? STATUSES : [];
	if (name !== "status" && name !== "code")
		try {
			const chosen = new URLSearchParams({ since: "30d", by: name, ...scope() });
			labels = (await read(`savings?${chosen}`)).rows.sort((a, b) => order(big(b.requests), big(a.requests))).map((row) => row[name]);
		} catch { /* no suggestions: the field works without */ }
	if (name === $("add-name").value)
		$("labels").replaceChildren(...labels.filter(Boolean).slice(0, SUGGESTED).map((label) => el("option", { value: exactly(label) })));
}

// `views`: the modules of the views (dashboard.js). `shown` is called after each change.
export function startFilter(views, shown) {
	for (const { name, params, tab } of views) {
		own[name] = params;
		tabs[name] = tab ?? name;
	}
	onChange = shown;
	for (const name of ["since", "scope"])
		on(name, "change", (event) => change({ [name]: event.target.value, ...(name === "since" && { until: "" }) }));
	onSubmit("dates-form", () => {
		const from = $("from").value, to = $("to").value;
		$("dates").open = false;
		$("dates").querySelector("summary").focus();
		change({ since: from || "all", until: to && to !== date(Date.now()) ? to : "" });
	});
	onSubmit("add-form", () => {
		const label = $("add-label").value;
		$("add-label").value = "";
		$("add").open = false;
		$("add").querySelector("summary").focus();
		narrow($("add-name").value, label);
	});
	on("add", "toggle", () => {
		if ($("add").open) {
			suggest();
			$("add-name").focus();
		}
	});
	on("add-name", "change", suggest);
	on("copy", "click", async () => {
		if (!await copy(location.href, $("copy")))
			put($("copy"), "Copy the address above");
		setTimeout(() => put($("copy"), "Copy link"), 2000);
	});
	window.addEventListener("hashchange", () => {
		readAddress();
		changed();
	});
	readAddress();
	settle();
}
