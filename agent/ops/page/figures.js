// SPDX-License-Identifier: MIT
//
// Formats figures, exact to the last digit, and makes the elements that show them. Money and counts are BigInt all the way; only
// bars and curves use floating point. Everything from outside (models, projects, reasons) becomes text, never markup.
const NAME_SHOWN = 44; // letters
const HOUR = 3600000;
export const DAY = 24 * HOUR;

export const $ = (id) => document.getElementById(id);

// ---- numbers

// JSON.parse() makes a double of each number and loses digits beyond 2^53. So parse() first puts long integers into quotes, and
// big() takes numbers and strings. TOKENS matches whole strings, too, so that digits in a name are not changed.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function parse(text) {
	return JSON.parse(text.replace(TOKENS, (token) => (token.length > 15 && /^-?\d+$/.test(token) ? `"${token}"` : token)));
}

export const big = (value) => BigInt(value ?? 0);
const GROUPED = new Intl.NumberFormat("en-US");
export const MINUS = "\u2212";
export const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0); // for sort()
export const abs = (n) => (n < 0n ? -n : n);

// count(), short() and money() take figures of the JSON as they are.
export const count = (n) => GROUPED.format(typeof n === "number" ? n : big(n)).replace("-", MINUS);

// From 10,000 on: three digits and a letter, as the terminal's reports have them.
export function short(figure) {
	const n = big(figure), size = abs(n);
	let at = 0, unit = 1n;
	if (size < 10000n)
		return count(n);
	for (; size >= unit * 1000n; at++)
		unit *= 1000n;
	const digits = (step) => (size * step + unit / 2n) / unit; // in 1/step of the unit, rounded
	if (digits(1n) >= 1000n) { // 999.6k is 1.00M
		unit *= 1000n;
		at++;
	}
	const places = digits(100n) < 1000n ? 2 : digits(10n) < 1000n ? 1 : 0, text = String(digits(10n ** BigInt(places)));
	return (n < 0n ? MINUS : "") + (places ? `${text.slice(0, -places)}.${text.slice(-places)}` : text) + " kMBTPE"[at];
}

// Nano-dollars as dollars with `digits` decimals, rounded half away from zero.
function dollars(nano, digits) {
	const unit = 10n ** BigInt(9 - digits), scale = 10n ** BigInt(digits);
	const rounded = (abs(nano) + unit / 2n) / unit;
	return (nano < 0n && rounded ? MINUS : "") + "$" + GROUPED.format(rounded / scale) +
		(digits ? "." + String(rounded % scale).padStart(digits, "0") : "");
}

export const exactDollars = (nano) => dollars(big(nano), 9);

// Rounded to cents; an amount below one cent to its first two digits that are not 0.
export function money(figure) {
	const nano = big(figure);
	let digits = 2;
	if (nano && abs(nano) < 10n ** 7n)
		for (digits = 4; digits < 9 && abs(nano) < 10n ** BigInt(10 - digits); )
			digits++;
	return dollars(nano, digits);
}

export function percent(part, whole) {
	if (whole <= 0n)
		return "";
	const tenths = (abs(part) * 2000n + whole) / (whole * 2n);
	return `${part < 0n && tenths ? MINUS : ""}${count(tenths / 10n)}.${tenths % 10n}%`;
}

// For drawing: part/whole as 0 to 1.
export const fraction = (part, whole) => (whole > 0n ? Number((part * 1000000n) / whole) / 1000000 : 0);

export function micros(us) {
	if (us == null)
		return "–";
	const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
	return `${value < 100 ? +value.toPrecision(2) : Math.round(value)} ${unit}`;
}

export const perSecond = (n) => (n == null ? "–" : n < 10 && n % 1 ? n.toFixed(1) : GROUPED.format(Math.round(n)));
export const bytes = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1048576).toFixed(1)} MB`);

export const plural = (n, one) => `${count(n)} ${one}${big(n) === 1n ? "" : "s"}`;

// Which requests are missing where figures come from sums by all labels: those before `since`, and `apart` that are not told apart.
export const missing = (since, apart) => [since ? `Requests before ${since.slice(0, 16).replace("T", ", ")} are missing here: the ledger has no sums by all their labels.` : "",
	big(apart) ? `${plural(apart, "request")} can be missing where requests are told apart by label, because their day had too many combinations of labels to keep them all.` : ""].join(" ").trim();

// ---- times: UTC, because the ledger's hours and days are

export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// When something happened: with the date, if that is not today.
export function when(ms) {
	const text = new Date(ms).toISOString();
	return el("time", { datetime: text, title: text }, (Date.now() - ms > DAY ? `${dayName(ms)}, ` : "") + clock(ms));
}

export function dayName(ms) {
	const d = new Date(ms);
	return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

export function ago(seconds) {
	const s = Math.max(0, Math.round(seconds));
	return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` :
		s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` :
		`${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

// The units of the charts' bars. start(t): when the unit that contains `t` began; next(t): when the one after `t` begins.
export const UNITS = {
	hour: { ask: "hour", start: (t) => t - t % HOUR, next: (t) => t + HOUR,
		name: (t) => `${dayName(t)}, ${clock(t).slice(0, 5)}` },
	day: { ask: "day", start: (t) => t - t % DAY, next: (t) => t + DAY, name: dayName },
	// Weeks begin on Monday; 1 January 1970 was a Thursday.
	week: { ask: "day", start: (t) => t - (t + 3 * DAY) % (7 * DAY), next: (t) => t + 7 * DAY, name: (t) => `week of ${dayName(t)}` },
	month: { ask: "day", start: (t) => Date.UTC(new Date(t).getUTCFullYear(), new Date(t).getUTCMonth()),
		next: (t) => Date.UTC(new Date(t).getUTCFullYear(), new Date(t).getUTCMonth() + 1),
		name: (t) => `${MONTHS[new Date(t).getUTCMonth()]} ${new Date(t).getUTCFullYear()}` },
};

// ---- the ledger's names

// The figures by their names in the JSON, in its order, with names for people.
export const FIGURES = [
	["requests", "Requests"], ["streams", "streamed"], ["refused", "refused by the gateway"], ["failed", "failed upstream"],
	["input", "Uncached input tokens"], ["output", "Output tokens"], ["cache_read", "Cache-read tokens"],
	["cache_write", "Cache-write tokens"], ["saved", "Tokens taken out by compression"], ["bytes_in", "Bytes in"],
	["bytes_out", "Bytes out"], ["cost_nanodollars", "Cost"], ["saved_compression_nanodollars", "Saved by compression"],
	["saved_cache_nanodollars", "Saved by caching (providers)"], ["saved_routing_nanodollars", "Saved by routing"],
	["saved_gateway_nanodollars", "Saved by this gateway"], ["saved_total_nanodollars", "Saved in all"],
	["estimated_requests", "Estimated requests"], ["estimated_output", "Estimated output tokens"],
	["estimated_cost_nanodollars", "Estimated cost"], ["estimated_saved_compression_nanodollars", "Estimated: saved by compression"],
	["estimated_saved_cache_nanodollars", "Estimated: saved by caching"],
	["estimated_saved_routing_nanodollars", "Estimated: saved by routing"],
	["estimated_saved_gateway_nanodollars", "Estimated: saved by this gateway"],
	["estimated_saved_total_nanodollars", "Estimated: saved in all"],
	["partial_requests", "Partial requests"], ["unknown_requests", "Unknown requests"],
	["untold_requests", "Streams without usage"],
	["partly_priced_requests", "Partly priced requests"], ["unpriced_requests", "Unpriced requests"],
	["unpriced_tokens", "Unpriced tokens"],
];

// A long name loses its middle, because beginnings and ends tell names apart.
export function cut(name, most = NAME_SHOWN) {
	const letters = [...name];
	return letters.length <= most ? name : `${letters.slice(0, most / 2).join("")}\u2026${letters.slice(1 - most / 2).join("")}`;
}

export const capital = (word) => word[0].toUpperCase() + word.slice(1);
export const tokensIn = (s) => big(s.input) + big(s.cache_read) + big(s.cache_write);

// ---- document

// Makes an element: `what` is its tag, classes and id, as "p.dim#note"; then its attributes, which may be left out, and its children.
// An attribute or a child that is null is left out.
export function el(what, ...parts) {
	const [names, id] = what.split("#"), [tag, ...classes] = names.split("."), node = document.createElement(tag);
	const attributes = parts[0]?.constructor === Object ? parts.shift() : {};
	if (classes.length)
		node.className = classes.join(" ");
	if (id)
		node.id = id;
	for (const [name, value] of Object.entries(attributes))
		if (value != null)
			node.setAttribute(name, value);
	node.append(...parts.filter((child) => child != null));
	return node;
}

// Text in which `this` is a command or a name in a file.
export const words = (text) => text.split("`").map((part, at) => (at % 2 ? el("code", part) : part));

export const on = (id, event, act) => $(id).addEventListener(event, act);

export const onSubmit = (id, act) => on(id, "submit", (event) => {
	event.preventDefault();
	act();
});

export function button(what, text, act, attributes) {
	const node = el(`button${what}`, { type: "button", ...attributes }, text);
	node.addEventListener("click", act);
	return node;
}

// Copies `text` and says so in `node`. False: it cannot, because a browser has a clipboard only for pages over https or of this computer.
export async function copy(text, node) {
	const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false;
	if (copied) {
		announce("Copied");
		put(node, "Copied");
	}
	return copied;
}

// Chooses `value` among the radio buttons of this name.
export function choose(name, value) {
	for (const input of document.getElementsByName(name))
		input.checked = input.value === value;
}

// Leaves text that did not change alone, so that a selection and a screen reader's position stay.
export function put(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

// Shows a figure: rounded as text, exact in data-value and in the title.
export function figure(node, value, text, exact) {
	put(node, text);
	node.dataset.value = value;
	node.title = exact;
	return node;
}

export const moneyFigure = (node, nano) => figure(node, big(nano), money(nano), exactDollars(nano));
export const countFigure = (node, n) => figure(node, big(n), count(big(n)), count(big(n)));
export const amount = (nano, attributes = {}) => moneyFigure(el("span", attributes), nano);
export const counted = (n, attributes = {}) => countFigure(el("span", attributes), n);

// Replaces the content of a node if `signature` differs from the last one.
export function fill(node, signature, make) {
	if (node.made === signature)
		return;
	node.made = signature;
	const parts = () => [...node.querySelectorAll("a, button, summary")], held = document.activeElement, at = parts().indexOf(held);
	node.replaceChildren(...[make()].flat());
	if (at >= 0) // a keyboard stays where it was: at the same name, else at the same place
		(parts().find((one) => one.outerHTML === held.outerHTML) ?? parts()[at])?.focus({ preventScroll: true });
}

let announced;

export function announce(text) {
	clearTimeout(announced);
	announced = setTimeout(() => put($("announce"), text), 150);
}

// The roles are explicit because on a narrow screen the style sheet turns rows into blocks, which then have none.
// `head`: for each column { name, class, button, sorted }, or its name, with a # before it if it has numbers. `foot`: a last row, of totals.
export function table(caption, head, rows, fold, foot) {
	head = head.map((one) => typeof one !== "string" ? one : one[0] === "#" ? { name: one.slice(1), class: "n" } : { name: one });
	const names = head.map((one) => one.name);
	const cell = (value, at) => {
		const node = el(at ? "td" : "th", { role: at ? "cell" : "rowheader", scope: at ? null : "row", class: head[at].class,
			"data-label": at ? names[at] : null });
		node.append(value);
		return node;
	};
	return el("table", { role: "table", class: fold ? "fold" : null },
		el("caption.unseen", caption),
		el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head.map((one) =>
			el("th", { role: "columnheader", scope: "col", class: one.class, "aria-sort": one.sorted }, one.button ?? one.name)))),
		...[["tbody", rows], ["tfoot", foot ? [foot] : []]].filter(([tag, list]) => tag === "tbody" || list.length).map(([tag, list]) =>
			el(tag, { role: "rowgroup" }, ...list.map((row) => el("tr", { role: "row" }, ...row.map(cell))))));
}

const open = new Set(); // tables that are shown whole

// Shows the first rows of a long table, and the button `ID-all` for the others. make(rows) shows them.
export function folding(id, rows, most, make) {
	if (!$(`${id}-all`))
		$(id).after(el(`button#${id}-all`, { type: "button" }));
	const more = rows.length - most, whole = open.has(id), toggle = $(`${id}-all`);
	toggle.hidden = more <= 1; // one row needs no more room than the button
	toggle.setAttribute("aria-expanded", String(whole));
	put(toggle, whole ? `Show the first ${most}` : `Show ${count(Math.max(more, 0))} more`);
	toggle.onclick = () => {
		open[whole ? "delete" : "add"](id);
		folding(id, rows, most, make);
	};
	make(whole || more <= 1 ? rows : rows.slice(0, most));
}

export function bar(share, color, from = 0) {
	const fillOf = el("i"), node = el("div.bar", { "aria-hidden": "true" }, fillOf);
	fillOf.style.left = `${from * 100}%`;
	fillOf.style.width = `${Math.min(1, Math.max(0, share)) * 100}%`;
	fillOf.style.background = `var(--${color})`;
	fillOf.hidden = !share;
	return node;
}

export function pill(node, level, text) {
	node.dataset.level = level;
	put(node, text);
}
