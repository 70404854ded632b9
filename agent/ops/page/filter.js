// SPDX-License-Identifier: MIT
//
// The filter that all views share. The address has all of it, so a link shows the same, and the back button undoes a choice.
import { $, all, announce, big, button, capital, choose, copy, cut, dateName, DAY, dayName, el, fill, find, HOUR, joined, key, minute, on, onSubmit, order, plural, put, set,
	UNITS } from "./figures.js";
import { read } from "./connection.js";

const SUGGESTED = 200;
const NAMES = ["model", "route", "project", "client", "member", "status", "code", "gateway"], word = (name) => (name === "code" ? "refusal" : name);
export const WITHOUT = { model: "no model named", route: "no route", project: "no project", client: "unknown client", member: "no pool", code: "not refused" };
const PERIODS = { __proto__: null, today: "today", "24h": "in the last 24 hours", "7d": "in the last 7 days", "30d": "in the last 30 days", month: "this month", all: "to date" };
const STATUSES = ["2xx", "3xx", "4xx", "5xx", "429", "401", "403", "500", "502", "503", "none"];

// `since` and `until`: as the commands have them, or month. Of NAMES: X* is all that begin with X, =X is X itself, "" is requests without one.
export const filter = { view: "savings", since: "30d", until: "", scope: "gateway" };

const usual = { ...filter };
const own = { __proto__: null }; // by view: { name: its values, the usual one first; null: any text }
const tabs = {}; // by view
let onChange = () => {};

export const fleet = () => filter.scope === "fleet";
export const ofFleet = () => (fleet() ? ", of the fleet" : "");
export const scope = () => (fleet() ? { scope: "fleet" } : {});
const chosen = () => NAMES.filter((name) => filter[name] != null);
export const narrowed = () => chosen().length > 0;
export const always = () => filter.since === "all" && !filter.until;

// ---- the period

const date = (ms) => new Date(ms).toISOString().slice(0, 10);
export const moment = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;

// 0: the ledger's beginning.
export function limits() {
	const now = Date.now(), { since, until } = filter, [, n, unit] = /^(\d{1,5})([hd])$/.exec(since) ?? [];
	const from = since === "all" ? 0 : since === "month" ? UNITS.month.start(now) : since === "today" ? now - now % DAY :
		n ? now - n * (unit === "h" ? HOUR : DAY) : Date.parse(since);
	const to = !until ? now : Date.parse(until) + (until.length === 10 ? DAY : 0); // to the day's end
	return [from || 0, to || now];
}

export function periodName() {
	const { since, until } = filter, [from, to] = limits(), end = to - DAY;
	if (!until)
		return PERIODS[since] ?? (/^\d+[hd]$/.test(since) ? `in the last ${since.replace("h", " hours").replace("d", " days")}` :
			`since ${dateName(from)}${from % DAY ? `, ${minute(from)}` : ""}`);
	if (from % DAY || to % DAY)
		return `from ${dateName(from)}, ${minute(from)}, to ${date(from) === date(to) ? "" : `${dayName(to)}, `}${minute(to)}`;
	return from === end ? `on ${dateName(from)}` : from ? `from ${dateName(from)} to ${dateName(end)}` : `until ${dateName(end)}`;
}

export const nothingFound = () => (narrowed() ? `No request ${periodName()} has all that the filter asks for.` : !always() ? `There is no request ${periodName()}.` :
	fleet() ? "PostgreSQL has no request of any gateway yet." : "Nothing is in the ledger yet. The first figures appear when the first request has ended.");

export const missing = (since, apart) => joined([since && `Requests before ${since.slice(0, 16).replace("T", ", ")} are missing here: the ledger has no sums by all their labels.`,
	big(apart) && `${plural(apart, "request")} can be missing where requests are told apart by label, because their day had too many combinations of labels to keep them all.`], " ");

// ---- the address

export function address(changes = {}) {
	const what = { ...filter, ...changes }, said = new URLSearchParams({ view: what.view, since: what.since });
	const say = (name, some) => some && said.set(name, what[name]);
	for (const name of ["until", "scope"])
		say(name, what[name] && what[name] !== usual[name]);
	for (const name of NAMES)
		say(name, what[name] != null && (name !== "gateway" || what.scope === "fleet"));
	for (const [name, values] of Object.entries(own[what.view] ?? {}))
		say(name, what[name] && what[name] !== values?.[0]);
	return "#" + said;
}

function readAddress() {
	const said = new URLSearchParams(location.hash.slice(1)), get = (name) => said.get(name);
	filter.view = own[get("view")] ? get("view") : usual.view;
	filter.since = get("since") || usual.since;
	filter.until = get("until") ?? "";
	filter.scope = get("scope") === "fleet" ? "fleet" : "gateway";
	for (const name of NAMES)
		filter[name] = name === "gateway" && !fleet() ? null : get(name);
	for (const [name, values] of Object.entries(own[filter.view]))
		filter[name] = !values ? get(name) ?? "" : values.includes(get(name)) ? get(name) : values[0];
}

export function change(changes, replace) {
	const to = address(changes);
	if (to !== location.hash)
		history[replace ? "replaceState" : "pushState"](null, "", to);
	changed();
}

export const exactly = (label) => (/^=|\*$/.test(label) ? "=" + label : label);
const shownAs = (name, asked) => asked.replace(/^=/, "") || WITHOUT[name];

function narrow(name, asked) {
	change({ [name]: asked });
	announce(asked == null ? `${capital(word(name))}: all` : `Only ${word(name)} ${shownAs(name, asked)}`);
}

export function narrowTime(from, to) {
	const whole = from % DAY === 0 && to % DAY === 0;
	change({ since: whole ? date(from) : moment(from), until: whole ? date(to - DAY) : moment(to) });
	announce(periodName());
}

export function question(path, more = {}) {
	return `${path}?${new URLSearchParams({ since: filter.since === "month" ? date(limits()[0]) : filter.since, ...(filter.until && { until: filter.until }),
		...Object.fromEntries(chosen().map((name) => [name, filter[name]])), ...scope(), ...more })}`;
}

export const unlabelled = () => Object.fromEntries(NAMES.map((name) => [name, null]));
export const everything = () => ({ since: "all", until: "", ...unlabelled() });

export function narrower(name, label, text) {
	const none = label === "", says = text ?? (none ? WITHOUT[name] : cut(label));
	return button(none ? ".narrow.dim" : ".narrow", el(none ? "bdi" : "bdi.name", { "data-name": label }, says), () => narrow(name, exactly(label)),
		{ "data-narrow": name, title: `${label || WITHOUT[name]}: show only these requests` });
}

// ---- the controls

function chip(name) {
	const says = shownAs(name, filter[name]), remove = button("", "\u00d7", () => {
		narrow(name, null);
		(find("#chips button") ?? find("#add summary")).focus();
	}, { "data-widen": name, "aria-label": `Remove the filter ${word(name)}: ${says}` });
	return el("li.chip", el("span.dim", `${capital(word(name))} `), el("bdi", { title: says }, cut(says)), remove);
}

function settle() {
	choose("since", filter.until ? "" : filter.since);
	choose("scope", filter.scope);
	fill("chips", chosen().map((name) => [name, filter[name]]), () => chosen().map(chip));
	const [from, to] = limits(), odd = filter.until || !PERIODS[filter.since] || filter.since === "today";
	put(find("#dates summary"), odd ? periodName() : "Dates");
	$("dates").dataset.chosen = Boolean(odd);
	$("from").value = from ? date(from) : "";
	$("to").value = date(to - 1);
	find("#add-name [value=gateway]").hidden = !fleet();
	for (const link of all("#views a")) {
		link.href = address({ view: link.dataset.view });
		set(link, "aria-current", link.dataset.view === tabs[filter.view] ? "page" : null);
	}
}

function changed() {
	readAddress();
	settle();
	onChange();
}

async function suggest() {
	const name = $("add-name").value;
	let labels = name === "status" ? STATUSES : [];
	if (name !== "status" && name !== "code")
		try {
			const rows = (await read(`savings?${new URLSearchParams({ since: "30d", by: name, ...scope() })}`)).rows;
			labels = rows.sort((a, b) => order(big(b.requests), big(a.requests))).map((row) => row[name]);
		} catch { /* no suggestions: the field works without */ }
	if (name === $("add-name").value)
		$("labels").replaceChildren(...labels.filter(Boolean).slice(0, SUGGESTED).map((label) => el("option", { value: exactly(label) })));
}

// `data-of`: the values of choices and lists, and texts that differ from them.
function makeChoices() {
	for (const place of all("[data-of]")) {
		const list = place.matches("select"), name = place.id;
		for (const one of place.dataset.of.split(",")) {
			const [value, text = capital(value)] = one.split("=");
			place.append(list ? el("option", { value }, text) : el("label", el("input", { type: "radio", name, value }), el("span", text)));
		}
		if (name in usual || Object.values(own).some((params) => name in params))
			on(place, "change", ({ target }) => {
				change({ [name]: target.value, ...(name === "since" && { until: "" }) }, !(name in usual));
				if (list)
					announce(target.selectedOptions[0].textContent);
			});
	}
	for (const place of all("[data-facts]")) // id, name, key of a colour
		for (const [id, text, color] of place.dataset.facts.split(";").map((one) => one.split("=")))
			place.append(el(`div#${id}-card`, el("dt", color && key(color), color && " ", el(`span#${id}-title`, text)), el(`dd#${id}`, "\u2026"),
				el(`dd.dim#${id}-before`), el(`dd.dim#${id}-note`)));
	for (const heading of all(".live"))
		heading.append(" ", el("small.of-fleet", "on this gateway"), " ", el("small.as-of"));
}

function close(id) {
	$(id).open = false;
	find(`#${id} summary`).focus();
}

export function startFilter(views, shown) {
	for (const { name, params, tab } of views) {
		own[name] = params;
		tabs[name] = tab ?? name;
	}
	onChange = shown;
	makeChoices();
	onSubmit("dates-form", () => {
		const from = $("from").value, to = $("to").value;
		close("dates");
		change({ since: from || "all", until: to && to !== date(Date.now()) ? to : "" });
	});
	onSubmit("add-form", () => {
		const label = $("add-label").value;
		$("add-label").value = "";
		close("add");
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
		if (!await copy(location.href, "copy"))
			put("copy", "Copy the address above");
		setTimeout(() => put("copy", "Copy link"), 2000);
	});
	on(window, "hashchange", changed);
	readAddress();
	settle();
}
