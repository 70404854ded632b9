// SPDX-License-Identifier: MIT
//
// A list of any length, of which only the rows that are seen are in the document. All rows have the height `--row` of the style sheet.
import { el } from "./figures.js";

const TALLEST = 6000000; // pixels; a browser makes no element taller than about 17 million. A longer list is scrolled by shares
const SPARE = 4;         // rows that are drawn beyond each edge
const SETTLE_MS = 150;   // without scrolling, before the scroll bar is put where the rows are

// `head`: the row of names. draw(node, index) fills a row; seen(first, last) is told what is seen after each change; open(index): Enter was pressed.
// The rows' place and the active row are kept while the list is hidden.
export function makeScroller(box, { head, draw, seen, open }) {
	const stage = el("div.stage", { role: "rowgroup" }), space = el("div.space", { role: "presentation" }, stage), nodes = new Map();
	let length = 0, at = 0, active = 0; // `at`: rows above the upper edge, with a fraction
	let row = 1, view = 0, tall = 0;    // heights in pixels: of a row, of what is seen, of the whole
	let last = 0, settling = null;

	box.append(el("div.names", { role: "rowgroup" }, head), space);

	const most = () => Math.max(0, length - view / row);
	const bounded = (place) => Math.min(Math.max(place, 0), most());
	const shares = () => length * row > TALLEST;

	function measure() {
		const style = getComputedStyle(box);
		row = parseFloat(style.getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize) || 1;
		view = Math.max(0, box.clientHeight - box.firstChild.offsetHeight);
		tall = Math.min(length * row, TALLEST);
		space.style.height = `${tall}px`;
		stage.style.height = `${Math.min(view, tall)}px`;
		stage.style.top = `${box.firstChild.offsetHeight}px`;
	}

	// Puts the scroll bar where the rows are.
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
		else // a wheel moves rows by as much as it says; a bar that is drawn moves to a share of the whole
			at = bounded(Math.abs(moved) <= 2 * view ? at + moved / row : now / (tall - view) * most());
		clearTimeout(settling);
		settling = shares() ? setTimeout(settle, SETTLE_MS) : null;
		paint();
	}

	function paint() {
		const first = Math.max(0, Math.floor(at) - SPARE), end = Math.min(length, Math.ceil(at + view / row) + SPARE);
		for (const [index, node] of nodes)
			if (index < first || index >= end) {
				node.remove();
				nodes.delete(index);
			}
		let before = null;
		for (let index = first; index < end; index++) {
			let node = nodes.get(index);
			if (!node) {
				node = el("div.row", { role: "row", id: `row-${index}`, "aria-rowindex": index + 2 });
				nodes.set(index, node);
			}
			if ((before ? before.nextSibling : stage.firstChild) !== node)
				stage.insertBefore(node, before ? before.nextSibling : stage.firstChild);
			before = node;
			node.style.transform = `translateY(${Math.round((index - at) * row)}px)`;
			node.classList.toggle("active", index === active);
			draw(node, index);
		}
		box.setAttribute("aria-rowcount", length + 1);
		if (nodes.has(active))
			box.setAttribute("aria-activedescendant", `row-${active}`);
		else
			box.removeAttribute("aria-activedescendant");
		if (view)
			seen(Math.max(0, Math.floor(at)), Math.min(length, Math.ceil(at + view / row)));
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

	box.addEventListener("scroll", scrolled, { passive: true });
	box.addEventListener("keydown", (key) => {
		const page = Math.max(1, Math.floor(view / row) - 1);
		const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: length - 1 }[key.key];
		if (key.altKey || key.ctrlKey || key.metaKey || box.firstChild.contains(key.target))
			return;
		const across = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
		if (to !== undefined && length) {
			box.focus({ preventScroll: true }); // the cell that had it may go
			activate(to);
		} else if (across && nodes.has(active)) { // from the row into its cells, and back
			const parts = [box, ...nodes.get(active).querySelectorAll("a, button")].filter((part) => part === box || part.checkVisibility());
			parts[Math.max(0, parts.indexOf(key.target) + across)]?.focus({ preventScroll: true });
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
		// Says how many rows there are. `place`, `chosen`: where the list is to stand, and which row is to be active; else as before.
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
		get seen() { return [Math.max(0, Math.floor(at)), Math.min(length, Math.ceil(at + view / row))]; },
	};
}
