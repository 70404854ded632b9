// SPDX-License-Identifier: MIT
//
// The dashboard: one view is seen at a time, and only that view asks. What happens now comes from /events (server-sent events).
import { $, announce, capital, el, on, parse, pill, put } from "./figures.js";
import { follow } from "./connection.js";
import { change, everything, filter, narrowed, startFilter, unlabelled } from "./filter.js";
import { ledgerKnown } from "./reader.js";
import * as savings from "./savings.js";
import * as operation from "./operation.js";
import * as requests from "./requests.js";
import * as request from "./request.js";

const WAIT_MS = 2500; // for the first event, which says whether there is a ledger

// A view is a module:
//   name, params: its name, and what it alone has in the address (filter.js); start(): called once, before anything else;
//   show(filter): the person came to the view, or changed the filter; live(stats, changed): an event of each second, while the view is
//   seen, with `changed` true if the ledger has changed since the last; hide(): another view is seen. title(): for the tab, or null.
const VIEWS = Object.fromEntries([savings, operation, requests, request].map((view) => [view.name, view]));

let waited = false, shown = null, last = null, version = null, readiness = null;

function showView() {
	const view = VIEWS[filter.view];
	if (shown !== view) {
		shown?.hide();
		for (const name of Object.keys(VIEWS))
			$(`view-${name}`).hidden = name !== view.name;
	}
	shown = view;
	document.body.dataset.view = view.name;
	if (!last && !waited) // the first event will call again
		return;
	view.show(filter);
	if (last)
		view.live(last, false);
	showTitle();
}

function showTitle() {
	const state = document.body.dataset.link === "lost" ? "Offline" : last && !last.ready ? "Not ready" : null;
	document.title = [state, shown?.title?.(), "spoa-llm"].filter(Boolean).join(" \u00b7 ");
}

function showReady(stats) {
	const warnings = stats.checks.filter((check) => !check.ok).length;
	const text = !stats.ready ? "Not ready" : warnings ? `Ready, ${warnings} warning${warnings > 1 ? "s" : ""}` : "Ready";
	pill($("ready"), !stats.ready ? "bad" : warnings ? "warn" : "good", text);
	if (readiness !== null && readiness !== text)
		announce(text);
	readiness = text;
}

// The switch is there if the agent has somebody to ask for the fleet's figures.
function showScope(stats) {
	const there = Boolean(stats.fleet?.figures);
	$("scope").hidden = !there;
	if (!there && filter.scope === "fleet")
		change({ scope: "gateway" }, true);
}

function showStats(stats, back) {
	const first = !last, changed = !first && (back || version !== stats.ledger_version);
	last = stats;
	version = stats.ledger_version;
	put($("version"), stats.version);
	document.body.dataset.role = stats.role ?? "admin";
	showReady(stats);
	ledgerKnown(stats);
	showScope(stats);
	if (first)
		showView();
	else
		shown.live(stats, changed);
	showTitle();
}

// ---- start

on("skip", "click", (click) => {
	click.preventDefault(); // the hash belongs to the view
	$("main").focus();
});
on("failed-retry", "click", () => shown.show(filter));
on("empty-all", "click", () => change(narrowed() ? unlabelled() : everything()));

// The choices and lists of the page: `data-of` has their values, and the text of each that has another one than its value.
for (const place of document.querySelectorAll("[data-of]"))
	for (const one of place.dataset.of.split(",")) {
		const [value, text = capital(value)] = one.split("=");
		place.append(place.matches("select") ? el("option", { value }, text) :
			el("label", el("input", { type: "radio", name: place.id, value }), el("span", text)));
	}
for (const view of Object.values(VIEWS))
	view.start();
startFilter(Object.values(VIEWS), showView);
showView();
follow({
	event(name, data, back) {
		if (name === "stats")
			showStats(parse(data), back);
		else if (name === "ledger" && last?.ledger)
			shown.live(last, true);
	},
	changed: showTitle,
});
// If no event comes, try to read the ledger all the same.
setTimeout(() => {
	waited = true;
	if (!last)
		showView();
}, WAIT_MS);
