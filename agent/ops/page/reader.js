// SPDX-License-Identifier: MIT
//
// Reads what a view shows of the ledger: at once when the person chooses something, else when the ledger has changed; one reading at a
// time, and less often if it takes long. The page says what state the ledger is in.
import { $, clock, put } from "./figures.js";
import { read as ask, Locked } from "./connection.js";
import { filter } from "./filter.js";

const REFRESH_MS = 1000;      // the shortest time between two readings
const FLEET_REFRESH_MS = 10000; // between two readings of the fleet's figures, which the events of this gateway say nothing about
const RETRY_MS = [1000, 16000]; // first and longest wait after an error

let none = false; // no ledger is kept

// `state`: loading, ok, empty, none, failed. `failed`: shows the notice that the ledger cannot be read.
export function ledgerState(state, failed) {
	document.body.dataset.ledger = state;
	$("no-ledger").hidden = state !== "none";
	$("empty").hidden = state !== "empty";
	$("failed").hidden = !failed;
	$("page").setAttribute("aria-busy", String(state === "loading"));
}

// What the agent says of itself: whether it keeps a ledger.
export function ledgerKnown(stats) {
	none = !stats.ledger;
	if (none)
		ledgerState("none");
}

// Makes the reader of a view. load(get): asks for all that the view shows; get(path) returns the answer of the agent, read by parse().
// show(data, chosen): shows it and returns false if there is nothing to see in it. forget(): what is shown is of another scope.
export function makeReader({ load, show, forget = () => {} }) {
	let wanted = false;    // the view is the one that is seen
	let reading = false, again = false; // again: read once more when this reading has ended, or the tab is shown
	let notBefore = 0, timer = null, timerAt = 0; // times of readings, in milliseconds since 1970
	let choices = 0;       // counts what the person asked for; an answer to an earlier choice is thrown away
	let shownAt = null, shownScope = null; // when the figures on the page were read, and of whom they are
	let ever = false, failures = 0, stop = () => {}; // stop(): ends the reading of an earlier choice, which may take long

	function schedule(at) {
		if (timer && timerAt <= at)
			return;
		clearTimeout(timer);
		timerAt = at;
		timer = setTimeout(() => refresh(false), at - Date.now());
	}

	function soon() {
		if (reading)
			again = true;
		else if (wanted)
			schedule(Math.max(notBefore, Date.now()));
	}

	// `chosen`: the person asked for it, so it happens at once and is announced to screen readers, unless it is the first thing shown.
	function refresh(chosen) {
		wanted = true;
		if (chosen) {
			choices++;
			stop();
		}
		clearTimeout(timer);
		timer = null;
		if (none)
			ledgerState("none");
		else if (reading || document.hidden)
			again = true;
		else
			read(chosen);
	}

	async function read(chosen) {
		const began = Date.now(), choice = choices, { scope } = filter, canceller = new AbortController();
		stop = () => canceller.abort();
		reading = true;
		again = false;
		if (shownScope !== scope) { // what is shown is of others
			shownAt = null;
			ledgerState("loading");
		}
		let data, error = null;
		try {
			data = await load((path) => ask(path, canceller.signal));
		} catch (thrown) {
			error = thrown;
		}
		reading = false;
		// Read a slow ledger less often.
		notBefore = Date.now() + Math.max(scope === "fleet" ? FLEET_REFRESH_MS : REFRESH_MS, 3 * (Date.now() - began));
		if (!wanted)
			return;
		if (choice !== choices) {
			refresh(true);
			return;
		}
		if (error && !(error instanceof Locked))
			failed(error, scope);
		if (!error) {
			document.body.dataset.scope = shownScope = scope;
			shownAt = Date.now();
			failures = 0;
			put($("updated"), `Figures as of ${clock(shownAt)}.`);
			ledgerState(show(data, chosen && ever) === false ? "empty" : "ok");
			ever = true;
		}
		if (again || scope === "fleet")
			soon();
	}

	function failed(error, scope) {
		const wrong = error.status === 400; // the filter itself, which asking again would not fix
		if (none) {
			ledgerState("none");
			return;
		}
		if (!wrong)
			schedule(Date.now() + Math.min(RETRY_MS[1], RETRY_MS[0] * 2 ** failures++));
		if (!error.status) // no answer at all: the notice about /events says so
			return;
		if (!shownAt || wrong) { // else the figures of another choice would stand there
			document.body.dataset.scope = scope;
			shownAt = null;
			forget();
		}
		ledgerState(shownAt ? document.body.dataset.ledger : "failed", true);
		put($("failed-what"), wrong ? "This filter cannot be used:" : scope === "fleet" ? "The fleet’s figures cannot be read:" : "The ledger cannot be read:");
		put($("failed-why"), error.message.replace(/\.?$/, "."));
		put($("failed-since"), shownAt ? `The figures shown are from ${clock(shownAt)}.` : "");
	}

	document.addEventListener("visibilitychange", () => {
		if (!document.hidden && again && wanted && !reading)
			refresh(false);
	});
	return {
		refresh, soon,
		hide() {
			wanted = false;
			choices++;
			clearTimeout(timer);
			timer = null;
			stop();
		},
	};
}
