// SPDX-License-Identifier: MIT
//
// Formats figures, and makes the elements that show them. Money and counts are BigInt. What comes from outside becomes text, never markup.
export const HOUR = 3600000, DAY = 24 * HOUR;

export const $ = (id) => document.getElementById(id);
export const find = (selector) => document.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export const state = document.body.dataset; // the style sheet hides parts by it

// ---- numbers

// JSON.parse() loses digits beyond 2^53, so parse() puts long integers into quotes; TOKENS matches strings too, so digits in a name stay.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export const parse = (text) => JSON.parse(text.replace(TOKENS, (token) => (token.length > 15 && /^-?\d+$/.test(token) ? `"${token}"` : token)));
export const big = (value) => BigInt(value ?? 0);
const GROUPED = new Intl.NumberFormat("en-US");
export const MINUS = "\u2212", NOTHING = "\u2013";
export const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
export const abs = (n) => (n < 0n ? -n : n);
export const most = (list, of) => list.reduce((top, one) => (of(one) > of(top) ? one : top), list[0]);
export const joined = (parts, by = ", ") => parts.filter(Boolean).join(by);

export const count = (n) => GROUPED.format(typeof n === "number" ? n : big(n)).replace("-", MINUS);
export const plural = (n, one) => `${count(n)} ${one}${big(n) === 1n ? "" : "s"}`;

// As in the terminal.
export function short(figure) {
	const n = big(figure), size = abs(n), digits = (step) => (size * step + unit / 2n) / unit;
	let at = 0, unit = 1n;
	if (size < 10000n)
		return count(n);
	for (; digits(1n) >= 1000n; at++) // 999.6k is 1.00M
		unit *= 1000n;
	const places = digits(100n) < 1000n ? 2 : digits(10n) < 1000n ? 1 : 0, text = String(digits(10n ** BigInt(places)));
	return (n < 0n ? MINUS : "") + (places ? `${text.slice(0, -places)}.${text.slice(-places)}` : text) + " kMBTPE"[at];
}

// Nano-dollars as dollars with `digits` decimals, rounded half away from zero.
function dollars(nano, digits) {
	const unit = 10n ** BigInt(9 - digits), scale = 10n ** BigInt(digits), rounded = (abs(nano) + unit / 2n) / unit;
	return (nano < 0n && rounded ? MINUS : "") + "$" + GROUPED.format(rounded / scale) + (digits ? "." + String(rounded % scale).padStart(digits, "0") : "");
}

export const exactDollars = (nano) => dollars(big(nano), 9);

// Rounded to cents; below one cent to the first two digits.
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

export const fraction = (part, whole) => (whole > 0n ? Number((part * 1000000n) / whole) / 1000000 : 0);

export function micros(us) {
	if (us == null)
		return NOTHING;
	const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
	return `${value < 100 ? +value.toPrecision(2) : Math.round(value)} ${unit}`;
}

export const perSecond = (n) => (n == null ? NOTHING : n < 10 && n % 1 ? n.toFixed(1) : GROUPED.format(Math.round(n)));
export const bytes = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1048576).toFixed(1)} MB`);

// ---- times: UTC, because the ledger's hours and days are

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const month = (ms, later = 0) => Date.UTC(new Date(ms).getUTCFullYear(), new Date(ms).getUTCMonth() + later);
const monthName = (ms) => MONTHS[new Date(ms).getUTCMonth()];
const year = (ms) => new Date(ms).getUTCFullYear();
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
export const minute = (ms) => clock(ms).slice(0, 5);
export const dayName = (ms) => `${new Date(ms).getUTCDate()} ${monthName(ms)}`;
export const dateName = (ms) => `${dayName(ms)} ${year(ms)}`;

export function when(ms) {
	const text = new Date(ms).toISOString();
	return el("time", { datetime: text, title: text }, (Date.now() - ms > DAY ? `${dayName(ms)}, ` : "") + clock(ms));
}

export function ago(seconds) {
	const s = Math.max(0, Math.round(seconds)), floor = Math.floor;
	return s < 60 ? `${s} s` : s < 3600 ? `${floor(s / 60)} min` : s < 86400 ? `${floor(s / 3600)} h ${floor(s % 3600 / 60)} min` :
		`${floor(s / 86400)} d ${floor(s % 86400 / 3600)} h`;
}

// When the unit that contains `t` began, and when the next begins. 1 January 1970 was a Thursday.
export const UNITS = {
	hour: { ask: "hour", start: (t) => t - t % HOUR, next: (t) => t + HOUR, name: (t) => `${dayName(t)}, ${minute(t)}` },
	day: { ask: "day", start: (t) => t - t % DAY, next: (t) => t + DAY, name: dayName },
	week: { ask: "day", start: (t) => t - (t + 3 * DAY) % (7 * DAY), next: (t) => t + 7 * DAY, name: (t) => `week of ${dayName(t)}` },
	month: { ask: "day", start: month, next: (t) => month(t, 1), name: (t) => `${monthName(t)} ${year(t)}` },
};

// ---- the ledger's names

export const capital = (word) => word[0].toUpperCase() + word.slice(1);
const named = (name) => [name, capital(name.replace("_nanodollars", "").replaceAll("_", " "))];
const SAVED = [["compression", "by compression"], ["cache", "by caching (providers)"], ["routing", "by routing"], ["gateway", "by this gateway"], ["total", "in all"]]
	.map(([what, how]) => [`saved_${what}_nanodollars`, `Saved ${how}`]);
export const FIGURES = [
	["requests", "Requests"], ["streams", "streamed"], ["refused", "refused by the gateway"], ["failed", "failed upstream"], ["input", "Uncached input tokens"],
	["output", "Output tokens"], ["cache_read", "Cache-read tokens"], ["cache_write", "Cache-write tokens"], ["saved", "Tokens taken out by compression"],
	...["bytes_in", "bytes_out", "cost_nanodollars"].map(named), ...SAVED,
	named("estimated_requests"), ["estimated_output", "Estimated output tokens"], named("estimated_cost_nanodollars"),
	...SAVED.map(([name, text]) => [`estimated_${name}`, `Estimated: ${text.toLowerCase()}`]), ...["partial_requests", "unknown_requests"].map(named),
	["untold_requests", "Streams without usage"], ...["partly_priced_requests", "unpriced_requests", "unpriced_tokens"].map(named),
];

export function cut(name, most = 44) {
	const letters = [...name];
	return letters.length <= most ? name : `${letters.slice(0, most / 2).join("")}\u2026${letters.slice(1 - most / 2).join("")}`;
}

export const tokensIn = (s) => big(s.input) + big(s.cache_read) + big(s.cache_write);

// ---- document: a `place` is an element or its id

const node = (place) => (typeof place === "string" ? $(place) : place);

export const set = (place, name, value) => (value == null ? node(place).removeAttribute(name) : node(place).setAttribute(name, value));

// `what`: "tag.class#id"; `parts`: attributes, if any, and children. What is null is left out.
export function el(what, ...parts) {
	const [names, id] = what.split("#"), [tag, ...classes] = names.split("."), made = document.createElement(tag);
	const attributes = { class: classes.join(" ") || null, id, ...(parts[0]?.constructor === Object && parts.shift()) };
	for (const [name, value] of Object.entries(attributes))
		set(made, name, value);
	made.append(...parts.filter((child) => child != null));
	return made;
}

// `This` is code.
export const words = (text) => text.split("`").map((part, at) => (at % 2 ? el("code", part) : part));

export const on = (place, event, act, options) => node(place).addEventListener(event, act, options);

export const onSubmit = (id, act) => on(id, "submit", (event) => {
	event.preventDefault();
	act();
});

export function button(what, text, act, attributes) {
	const made = el(`button${what}`, { type: "button", ...attributes }, text);
	on(made, "click", act);
	return made;
}

export const focus = (place) => node(place).focus({ preventScroll: true });

// False without a clipboard: browsers give it only over https, and on this computer.
export async function copy(text, place) {
	const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false;
	if (copied) {
		announce("Copied");
		put(place, "Copied");
	}
	return copied;
}

export const choose = (name, value) => document.getElementsByName(name).forEach((input) => (input.checked = input.value === value));

// A selection and a screen reader's position stay where the text did not change.
export function put(place, text) {
	if (node(place).textContent !== text)
		node(place).textContent = text;
}

// Rounded in the text, exact in data-value and title.
export function figure(place, value, text, exact) {
	const shown = node(place);
	put(shown, text);
	shown.dataset.value = value;
	shown.title = exact;
	return shown;
}

export const moneyFigure = (place, nano) => figure(place, big(nano), money(nano), exactDollars(nano));
export const countFigure = (place, n) => figure(place, big(n), count(n), count(n));
export const shortFigure = (place, n) => figure(place, big(n), short(n), count(n));
export const amount = (nano, attributes = {}) => moneyFigure(el("span", attributes), nano);
export const counted = (n, attributes = {}) => countFigure(el("span", attributes), n);

export function differs(place, data) {
	const text = JSON.stringify(data, (_, value) => (typeof value === "bigint" ? String(value) : value)), was = node(place).made;
	node(place).made = text;
	return was !== text;
}

export function fill(place, data, make) {
	if (!differs(place, data))
		return;
	const parts = () => all("a, button, summary", node(place)), held = document.activeElement, at = parts().indexOf(held);
	node(place).replaceChildren(...[make()].flat());
	if (at >= 0) // the focus stays: at the same name, else at the same place
		(parts().find((one) => one.outerHTML === held.outerHTML) ?? parts()[at])?.focus({ preventScroll: true });
}

// A table that scrolls, in a <details>.
export function unfold(id, name, data, make) {
	if (!$(id).open)
		return;
	if (!$(`${id}-rows`))
		$(id).append(el(`div.scroll#${id}-rows`, { tabindex: "0", role: "region", "aria-label": `${name} over time` }));
	fill(`${id}-rows`, data, make);
}

let announced;

export function announce(text) {
	clearTimeout(announced);
	announced = setTimeout(() => put("announce", text), 150);
}

// The roles are explicit because rows that are blocks have none. `head`: { name, class, button, sorted }, or a name, with # for numbers.
export function table(caption, head, rows, fold, foot) {
	head = head.map((one) => (typeof one !== "string" ? one : one[0] === "#" ? { name: one.slice(1), class: "n" } : { name: one }));
	const line = (cells) => el("tr", { role: "row" }, ...cells);
	const cell = (value, at) => el(at ? "td" : "th", { role: at ? "cell" : "rowheader", scope: at ? null : "row", class: head[at].class,
		"data-label": at ? head[at].name : null }, value);
	const part = (tag, list) => el(tag, { role: "rowgroup" }, ...list.map((row) => line(row.map(cell))));
	return el("table", { role: "table", class: fold ? "fold" : null }, el("caption.unseen", caption),
		el("thead", { role: "rowgroup" }, line(head.map((one) =>
			el("th", { role: "columnheader", scope: "col", class: one.class, "aria-sort": one.sorted }, one.button ?? one.name)))),
		part("tbody", rows), foot ? part("tfoot", [foot]) : null);
}

const open = new Set(); // lists that are shown whole

// The button `ID-all` shows all.
export function folding(id, data, rows, most, make) {
	if (!$(`${id}-all`))
		$(id).after(el(`button#${id}-all`, { type: "button" }));
	const more = rows.length - most, whole = open.has(id), toggle = $(`${id}-all`), shown = whole || more <= 1 ? rows : rows.slice(0, most);
	toggle.hidden = more <= 1; // one row takes no more room than the button
	set(toggle, "aria-expanded", whole);
	put(toggle, whole ? `Show the first ${most}` : `Show ${count(Math.max(more, 0))} more`);
	toggle.onclick = () => {
		open[whole ? "delete" : "add"](id);
		folding(id, data, rows, most, make);
	};
	fill(id, [data, shown], () => make(shown));
}

export function bar(share, color, from = 0) {
	const part = el("i");
	Object.assign(part.style, { left: `${from * 100}%`, width: `${Math.min(1, Math.max(0, share)) * 100}%`, background: `var(--${color})` });
	part.hidden = !share;
	return el("div.bar", part);
}

// A pattern of the style sheet, or a plain colour.
export function key(name, color) {
	const made = el("i.key", { "data-key": name });
	if (color)
		made.style.background = `var(--${color})`;
	return made;
}

export const mark = (level, ...content) => el("span.mark", { "data-level": level }, ...content);

export function pill(place, level, text) {
	node(place).dataset.level = level;
	put(place, text);
}
