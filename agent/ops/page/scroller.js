// SPDX-License-Identifier: MIT
//
// A list of any length: only rows that are seen are in the document. Their height is `--row` of the style sheet.
import { all, el, focus, on, set } from "./figures.js";

const TALLEST = 6000000; // pixels: browsers stop at about 17 million. A longer list is scrolled by shares
const SPARE = 4; // rows beyond each edge
const SETTLE_MS = 150; // without scrolling, before the bar is put where the rows are

// draw(node, index) fills a row; seen(first, last) is called after each change; open(index): Enter was pressed.
export function makeScroller(box, { head, draw, seen, open }) {
	const stage = el("div.stage", { role: "rowgroup" }), space = el("div.space", { role: "presentation" }, stage), nodes = new Map();
	let length = 0, at = 0, active = 0; // `at`: rows above the edge, with a fraction
	let row = 1, view = 0, tall = 0; // pixels: a row, what is seen, all
	let last = 0, settling = null;

	box.append(el("div.names", { role: "rowgroup" }, head), space);

	const most = () => Math.max(0, length - view / row);
	const bounded = (place) => Math.min(Math.max(place, 0), most());
	const shares = () => length * row > TALLEST;
	const inView = () => [Math.max(0, Math.floor(at)), Math.min(length, Math.ceil(at + view / row))];

	function measure() {
		const style = getComputedStyle(box);
		row = parseFloat(style.getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize) || 1;
		view = Math.max(0, box.clientHeight - box.firstChild.offsetHeight);
		tall = Math.min(length * row, TALLEST);
		space.style.height = `${tall}px`;
		stage.style.height = `${Math.min(view, tall)}px`;
		stage.style.top = `${box.firstChild.offsetHeight}px`;
	}

	function settle() {
		clearTimeout(settling);
		settling = null;
		const place = shares() ? (most() ? at / most() : 0) * (tall - view) : at * row;
		if (Math.abs(box.scrollTop - place) >= 1)
			box.scrollTop = place;
		last = box.scrollTop;
	}

	function scrolled() {
		const now = box.scrollTop, moved = now - last;
		if (!view || Math.abs(moved) < 1)
			return;
		last = now;
		if (!shares())
			at = bounded(now / row);
		else if (now < 1 || now > tall - view - 1)
			at = now < 1 ? 0 : most();
		else // a wheel moves by rows, a dragged bar to a share
			at = bounded(Math.abs(moved) <= 2 * view ? at + moved / row : now / (tall - view) * most());
		clearTimeout(settling);
		settling = shares() ? setTimeout(settle, SETTLE_MS) : null;
		paint();
	}

	function paint() {
		const [from, to] = inView(), first = Math.max(0, from - SPARE), end = Math.min(length, to + SPARE);
		for (const [index, node] of nodes)
			if (index < first || index >= end) {
				node.remove();
				nodes.delete(index);
			}
		let before = null;
		for (let index = first; index < end; index++) {
			let node = nodes.get(index);
			if (!node)
				nodes.set(index, node = el(`div.row#row-${index}`, { role: "row", "aria-rowindex": index + 2 }));
			const next = before ? before.nextSibling : stage.firstChild;
			if (next !== node)
				stage.insertBefore(node, next);
			before = node;
			node.style.transform = `translateY(${Math.round((index - at) * row)}px)`;
			node.classList.toggle("active", index === active);
			draw(node, index);
		}
		set(box, "aria-rowcount", length + 1);
		set(box, "aria-activedescendant", nodes.has(active) ? `row-${active}` : null);
		if (view)
			seen(...inView());
	}

	function moveTo(place) {
		at = bounded(place);
		settle();
		paint();
	}

	function activate(index) {
		active = Math.min(Math.max(index, 0), Math.max(length - 1, 0));
		const whole = view / row;
		if (active < at)
			moveTo(active);
		else if (active + 1 > at + whole)
			moveTo(active + 1 - whole);
		else
			paint();
	}

	on(box, "scroll", scrolled, { passive: true });
	on(box, "keydown", (key) => {
		const page = Math.max(1, Math.floor(view / row) - 1);
		const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: length - 1 }[key.key];
		if (key.altKey || key.ctrlKey || key.metaKey || box.firstChild.contains(key.target))
			return;
		const across = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
		if (to !== undefined && length) {
			focus(box);
			activate(to);
		} else if (across && nodes.has(active)) { // into the row's cells, and back
			const parts = [box, ...all("a, button", nodes.get(active)).filter((part) => part.checkVisibility())], at = parts.indexOf(key.target) + across;
			if (at < parts.length)
				focus(parts[Math.max(0, at)]);
		} else if (key.key === "Enter" && key.target === box && length) {
			open(active);
		} else {
			return;
		}
		key.preventDefault();
	});
	new ResizeObserver(() => {
		if (!box.clientHeight)
			return;
		measure();
		moveTo(at);
	}).observe(box);

	return {
		// `chosen`: the active row.
		resize(rows, place = at, chosen = active) {
			length = rows;
			active = Math.min(Math.max(chosen, 0), Math.max(length - 1, 0));
			measure();
			moveTo(place);
		},
		paint,
		activate,
		get at() { return at; },
		get active() { return active; },
		get seen() { return inView(); },
	};
}
