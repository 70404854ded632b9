// SPDX-License-Identifier: MIT
//
// The dashboard: one view is seen at a time, and only that view asks.
import { $, all, announce, find, joined, on, parse, pill, plural, put, set, state } from "./figures.js";
import { follow, ledgerKnown } from "./connection.js";
import { change, everything, filter, fleet, narrowed, startFilter, unlabelled } from "./filter.js";
import * as savings from "./savings.js";
import * as operation from "./operation.js";
import * as requests from "./requests.js";
import * as request from "./request.js";

const WAIT_MS = 2500;

// A view has: name; params, its own in the address; start(), called once; show(), when it or the filter is chosen; live(stats, changed), each
// second: `changed` if the ledger has; hide(); title() for the tab.
const VIEWS = [savings, operation, requests, request];

let waited = false, shown = null, last = null, readiness = null;

function showView() {
	const view = VIEWS.find((one) => one.name === filter.view);
	if (shown !== view) {
		shown?.hide();
		for (const { name } of VIEWS)
			$(`view-${name}`).hidden = name !== view.name;
	}
	shown = view;
	state.view = view.name;
	if (!last && !waited) // the first event will call again
		return;
	view.show();
	if (last)
		view.live(last, false);
	showTitle();
}

const showTitle = () => (document.title = joined([state.link === "lost" ? "Offline" : last && !last.ready && "Not ready", shown?.title?.(), "spoa-llm"], " \u00b7 "));

function showReady({ ready, checks }) {
	const warnings = checks.filter((check) => !check.ok).length, text = !ready ? "Not ready" : warnings ? `Ready, ${plural(warnings, "warning")}` : "Ready";
	pill("ready", !ready ? "bad" : warnings ? "warn" : "good", text);
	if (readiness !== null && readiness !== text)
		announce(text);
	readiness = text;
}

function showStats(stats, back) {
	const first = !last, changed = !first && (back || last.ledger_version !== stats.ledger_version);
	last = stats;
	put("version", stats.version);
	state.role = stats.role ?? "admin";
	showReady(stats);
	ledgerKnown(stats);
	$("scope").hidden = !stats.fleet?.figures;
	if ($("scope").hidden && fleet())
		change({ scope: "gateway" }, true);
	if (first)
		showView();
	else
		shown.live(stats, changed);
	showTitle();
}

on("skip", "click", (click) => {
	click.preventDefault(); // the hash belongs to the view
	$("main").focus();
});
on("failed-retry", "click", () => shown.show());
on("empty-all", "click", () => change(narrowed() ? unlabelled() : everything()));
for (const view of VIEWS)
	view.start();
for (const form of all("form"))
	Object.assign(form, { autocomplete: "off", spellcheck: false });
all("section.card").forEach((card, at) => {
	const heading = find(`#${card.id ||= `card-${at}`} h2`);
	set(card, "aria-labelledby", heading.id ||= `${card.id}-title`);
});
startFilter(VIEWS, showView);
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
setTimeout(() => {
	waited = true;
	if (!last)
		showView();
}, WAIT_MS);
