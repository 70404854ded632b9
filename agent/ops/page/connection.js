// SPDX-License-Identifier: MIT
//
// Questions to the agent, the stream of its events, and the readers, which ask for what a view shows of the ledger.
import { $, all, announce, clock, on, onSubmit, parse, pill, put, set, state } from "./figures.js";
import { always, filter, fleet, narrowed, nothingFound } from "./filter.js";

const SILENCE_MS = 5000; // without an event: the server sends one a second
const RETRY_MS = [500, 15000], REREAD_MS = [1000, 16000];
const LOST_AFTER_MS = 1500; // a worker that is replaced is back sooner
const REST_AFTER_MS = 10000; // a hidden tab closes its connection: a browser opens only six
const READ_MS = { gateway: 1000, fleet: 10000 }; // between two readings, at least

// ---- questions

export class Locked extends Error {}

const token = {
	get: () => sessionStorage.getItem("spoa-llm-token"),
	set: (value) => (value ? sessionStorage.setItem("spoa-llm-token", value) : sessionStorage.removeItem("spoa-llm-token")),
};
let unlocked = Promise.resolve(), unlock = () => {};

// `question`: the body of a POST. Throws an Error with the agent's words, and with `status` if it answered.
export async function ask(path, signal, question) {
	const key = token.get();
	const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", signal,
		headers: { ...(key && { authorization: "Bearer " + key }), ...(question && { "x-requested-with": "spoa-llm" }) },
		...(question && { method: "POST", body: JSON.stringify(question) }) });
	if (answer.status === 401) {
		lock(key);
		throw new Locked();
	}
	if (!answer.ok) {
		const text = await answer.text();
		let why = text.slice(0, 300);
		try {
			const said = JSON.parse(text).error;
			why = said?.message ?? said ?? why;
		} catch { /* not JSON: shown as it is */ }
		throw Object.assign(new Error(String(why) || `status ${answer.status}`), { status: answer.status });
	}
	return answer;
}

export const read = async (path, signal) => parse(await (await ask(path, signal)).text());

// `refused`: the question was wrong. `unread`: the agent could not answer.
export const failure = (error, refused, unread = refused) =>
	`${error.status === 400 ? refused : error.status ? unread : "The agent does not answer"}: ${sentence(error)}`;
const sentence = (error) => error.message.replace(/\.?$/, ".");

function lock(tried) {
	if (state.link !== "locked") {
		unlocked = new Promise((resolve) => (unlock = resolve));
		state.link = "locked";
		pill("link", "warn", "Locked");
		pill("ready", "none", "Unknown");
		$("locked").hidden = false;
		$("forget").hidden = $("lost").hidden = true;
		$("token").focus();
	}
	if (tried && tried === token.get()) {
		token.set(null);
		put("token-error", "That token was not accepted.");
	}
}

function tokenGiven() {
	token.set($("token").value.trim());
	$("token").value = "";
	put("token-error", "");
	state.link = "connecting";
	unlock();
}

// A link could not send the token.
export async function download(path, name) {
	const href = URL.createObjectURL(await (await ask(path)).blob());
	Object.assign(document.createElement("a"), { href, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(href), 60000);
}

// ---- the stream of events

let heardAt = null, failures = 0, controller = null, wake = () => {}, lostTimer = null, resting = false, restTimer = null;
let page;

function rest() {
	resting = true;
	controller?.abort();
}

function rise() {
	clearTimeout(restTimer);
	if (resting) {
		resting = false;
		wake();
	}
}

const showAsOf = (text) => all(".as-of").forEach((node) => put(node, text));

// Returns whether the connection was lost before.
function live() {
	const back = failures > 0 && heardAt !== null;
	heardAt = Date.now();
	failures = 0;
	clearTimeout(lostTimer);
	lostTimer = null;
	if (state.link === "live")
		return false;
	state.link = "live";
	pill("link", "good", "Live");
	if (!$("lost").hidden)
		announce("Connected again");
	$("lost").hidden = $("locked").hidden = true;
	$("forget").hidden = !token.get();
	showAsOf("");
	return back;
}

function lost(why) {
	failures++;
	state.link = "lost";
	pill("link", "bad", heardAt ? "Offline" : "No connection");
	lostTimer ??= setTimeout(() => {
		if (state.link !== "lost")
			return;
		put("lost-since", (heardAt ? `since ${clock(heardAt)}` : "") + (why ? ` (${why})` : ""));
		$("lost").hidden = false;
		pill("ready", "none", "Unknown");
		showAsOf(heardAt ? `as of ${clock(heardAt)}` : "");
		page.changed();
		announce("Connection lost. The figures are the last ones known.");
	}, LOST_AFTER_MS);
}

async function pause(ms) {
	const end = Date.now() + ms;
	let skip = false;
	wake = () => (skip = true);
	while (!skip && Date.now() < end) {
		put("lost-next", `Next try in ${Math.ceil((end - Date.now()) / 1000)} s.`);
		await new Promise((done) => setTimeout(done, 250));
	}
	put("lost-next", "Connecting\u2026");
}

async function stream() {
	let timer;
	controller = new AbortController();
	const silence = () => {
		clearTimeout(timer);
		timer = setTimeout(() => controller.abort(), SILENCE_MS);
	};
	silence();
	try {
		const reader = (await ask("events", controller.signal)).body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ""; ; ) {
			const { value, done } = await reader.read();
			if (done)
				return;
			silence();
			const parts = (text + value).split(/\r?\n\r?\n/);
			text = parts.pop();
			for (const part of parts) {
				const of = (name) => part.split(/\r?\n/).filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trim()).join("\n");
				page.event(of("event:") || "message", of("data:"), live());
			}
		}
	} finally {
		clearTimeout(timer);
	}
}

// `callbacks`: event(name, data, back), `back` for the first after an interruption; changed() when the connection is lost.
export async function follow(callbacks) {
	page = callbacks;
	onSubmit("token-form", tokenGiven);
	on("forget", "click", () => {
		token.set(null);
		location.reload();
	});
	on("lost-retry", "click", () => wake());
	on(document, "visibilitychange", () => {
		if (document.hidden)
			restTimer = setTimeout(rest, REST_AFTER_MS);
		else
			rise();
	});
	// The browser keeps pages for its back button.
	on(window, "pagehide", rest);
	on(window, "pageshow", (show) => show.persisted && rise());
	for (;;) {
		if (resting)
			await new Promise((done) => (wake = done));
		let why = "";
		try {
			await stream();
		} catch (error) {
			if (error instanceof Locked) {
				await unlocked;
				continue;
			}
			why = error.status ? error.message : "";
		}
		if (resting)
			continue;
		lost(why);
		await pause(Math.min(RETRY_MS[1], RETRY_MS[0] * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random()));
	}
}

// ---- the ledger

let none = false;

// `ledger`: loading, ok, empty, none, failed.
export function ledgerState(ledger, failed) {
	state.ledger = ledger;
	$("no-ledger").hidden = ledger !== "none";
	$("empty").hidden = ledger !== "empty";
	put("empty-text", nothingFound());
	put("empty-all", narrowed() ? "Without the filter" : "Show everything");
	$("empty-all").hidden = !narrowed() && always();
	$("failed").hidden = !failed;
	set("page", "aria-busy", ledger === "loading");
}

export function ledgerKnown(stats) {
	none = !stats.ledger;
	if (none)
		ledgerState("none");
}

// Reads when the person chooses something, and when the ledger has changed. show(data, chosen) returns false if there is nothing to see. forget():
// what is shown is of another scope.
export function makeReader({ load, show, forget = () => {} }) {
	let wanted = false, reading = false, again = false; // again: when this reading has ended, or the tab is shown
	let notBefore = 0, timer = null, timerAt = 0;
	let choices = 0; // an answer to an earlier one is thrown away
	let shownAt = null, shownScope = null; // of what is on the page
	let ever = false, failures = 0, stop = () => {};

	function schedule(at) {
		if (timer && timerAt <= at)
			return;
		clearTimeout(timer);
		timerAt = at;
		timer = setTimeout(() => refresh(false), at - Date.now());
	}

	function unschedule() {
		clearTimeout(timer);
		timer = null;
	}

	function soon() {
		if (reading)
			again = true;
		else if (wanted)
			schedule(Math.max(notBefore, Date.now()));
	}

	// `chosen`: the person asked for it, so it is announced.
	function refresh(chosen) {
		wanted = true;
		if (chosen) {
			choices++;
			stop();
		}
		unschedule();
		if (none)
			ledgerState("none");
		else if (reading || document.hidden)
			again = true;
		else
			readAll(chosen);
	}

	async function readAll(chosen) {
		const began = Date.now(), choice = choices, { scope } = filter, canceller = new AbortController();
		stop = () => canceller.abort();
		reading = true;
		again = false;
		if (shownScope !== scope) {
			shownAt = null;
			ledgerState("loading");
		}
		let data, error = null;
		try {
			data = await load((path) => read(path, canceller.signal));
		} catch (thrown) {
			error = thrown;
		}
		reading = false;
		notBefore = Date.now() + Math.max(READ_MS[scope], 3 * (Date.now() - began));
		if (!wanted)
			return;
		if (choice !== choices) {
			refresh(true);
			return;
		}
		if (error && !(error instanceof Locked))
			failed(error, scope);
		if (!error) {
			state.scope = shownScope = scope;
			shownAt = Date.now();
			failures = 0;
			put("updated", `Figures as of ${clock(shownAt)}.`);
			ledgerState(show(data, chosen && ever) === false ? "empty" : "ok");
			ever = true;
		}
		if (again || scope === "fleet")
			soon();
	}

	function failed(error, scope) {
		const wrong = error.status === 400; // asking again would not help
		if (none) {
			ledgerState("none");
			return;
		}
		if (!wrong)
			schedule(Date.now() + Math.min(REREAD_MS[1], REREAD_MS[0] * 2 ** failures++));
		if (!error.status) // the notice about /events says so
			return;
		if (!shownAt || wrong) {
			state.scope = scope;
			shownAt = null;
			forget();
		}
		ledgerState(shownAt ? state.ledger : "failed", true);
		put("failed-what", wrong ? "This filter cannot be used:" : fleet() ? "The fleet’s figures cannot be read:" : "The ledger cannot be read:");
		put("failed-why", sentence(error));
		put("failed-since", shownAt ? `The figures shown are from ${clock(shownAt)}.` : "");
	}

	on(document, "visibilitychange", () => {
		if (!document.hidden && again && wanted && !reading)
			refresh(false);
	});
	return { refresh, soon, hide() {
		wanted = false;
		choices++;
		unschedule();
		stop();
	} };
}
