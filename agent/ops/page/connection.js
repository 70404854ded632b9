// SPDX-License-Identifier: MIT
//
// Questions to the agent, with the token if it asks for one, and the stream of events that says what happens now.
import { $, announce, clock, on, onSubmit, parse, pill, put } from "./figures.js";

const SILENCE_MS = 5000;      // the server sends an event every second; after so long without one the connection is given up
const RETRY_MS = [500, 15000]; // first and longest wait before /events is opened again
const LOST_AFTER_MS = 1500;   // shorter interruptions (a worker process that is replaced) show no notice
const REST_AFTER_MS = 10000;  // a hidden tab closes its connection, because a browser opens only six to a server for all tabs

// ---- questions

// The agent wants a token: nothing is shown until the person has given it.
export class Locked extends Error {}

const token = {
	get: () => sessionStorage.getItem("spoa-llm-token"),
	set: (value) => (value ? sessionStorage.setItem("spoa-llm-token", value) : sessionStorage.removeItem("spoa-llm-token")),
};
let unlocked = Promise.resolve(), unlock = () => {};

// Asks for `path` and returns the answer. `question`: the body of a POST. Throws an Error with the agent's words, and with `status` if
// the agent answered. /events is read by fetch() too, because EventSource cannot send a token.
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

// Returns the answer to `path`, read by parse().
export const read = async (path, signal) => parse(await (await ask(path, signal)).text());

function lock(tried) {
	if (document.body.dataset.link !== "locked") {
		unlocked = new Promise((resolve) => (unlock = resolve));
		document.body.dataset.link = "locked";
		pill($("link"), "warn", "Locked");
		pill($("ready"), "none", "Unknown");
		$("locked").hidden = false;
		$("forget").hidden = true;
		$("lost").hidden = true;
		$("token").focus();
	}
	if (tried && tried === token.get()) {
		token.set(null);
		put($("token-error"), "That token was not accepted.");
	}
}

function tokenGiven() {
	token.set($("token").value.trim());
	$("token").value = "";
	put($("token-error"), "");
	document.body.dataset.link = "connecting";
	unlock();
}

// Offers the answer of `path` as a file. A link could not send the token.
export async function download(path, name) {
	const url = URL.createObjectURL(await (await ask(path)).blob());
	const link = Object.assign(document.createElement("a"), { href: url, download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// ---- the connection

let heardAt = null, failures = 0, controller = null, wake = () => {}, lostTimer = null, resting = false, restTimer = null;
let told; // { event(name, data, back), changed() } of the page

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

// Returns true if the connection was lost before.
function live() {
	const back = failures > 0 && heardAt !== null;
	heardAt = Date.now();
	failures = 0;
	clearTimeout(lostTimer);
	lostTimer = null;
	if (document.body.dataset.link === "live")
		return false;
	document.body.dataset.link = "live";
	pill($("link"), "good", "Live");
	if (!$("lost").hidden)
		announce("Connected again");
	$("lost").hidden = true;
	$("locked").hidden = true;
	$("forget").hidden = !token.get();
	for (const node of document.querySelectorAll(".as-of"))
		put(node, "");
	return back;
}

// `why`: what the server said, if it answered and refused.
function lost(why) {
	failures++;
	document.body.dataset.link = "lost";
	pill($("link"), "bad", heardAt ? "Offline" : "No connection");
	lostTimer ??= setTimeout(() => {
		if (document.body.dataset.link !== "lost")
			return;
		put($("lost-since"), (heardAt ? `since ${clock(heardAt)}` : "") + (why ? ` (${why})` : ""));
		$("lost").hidden = false;
		pill($("ready"), "none", "Unknown");
		for (const node of document.querySelectorAll(".as-of"))
			put(node, heardAt ? `as of ${clock(heardAt)}` : "");
		told.changed();
		announce("Connection lost. The figures are the last ones known.");
	}, LOST_AFTER_MS);
}

// Waits and shows the time that is left. "Try now" ends the wait.
async function pause(ms) {
	const end = Date.now() + ms;
	let skip = false;
	wake = () => (skip = true);
	while (!skip && Date.now() < end) {
		put($("lost-next"), `Next try in ${Math.ceil((end - Date.now()) / 1000)} s.`);
		await new Promise((done) => setTimeout(done, 250));
	}
	put($("lost-next"), "Connecting\u2026");
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
				const lines = part.split(/\r?\n/);
				const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim() ?? "message";
				told.event(name, lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n"), live());
			}
		}
	} finally {
		clearTimeout(timer);
	}
}

// Follows /events for as long as the page is there. `page`: event(name, data, back) is called for each event, with `back` true for the
// first one after an interruption; changed() when the connection is lost.
export async function follow(page) {
	told = page;
	onSubmit("token-form", tokenGiven);
	on("forget", "click", () => {
		token.set(null);
		location.reload();
	});
	on("lost-retry", "click", () => wake());
	document.addEventListener("visibilitychange", () => {
		if (document.hidden)
			restTimer = setTimeout(rest, REST_AFTER_MS);
		else
			rise();
	});
	// A page that the browser keeps for its back button must not hold a connection either.
	window.addEventListener("pagehide", rest);
	window.addEventListener("pageshow", (show) => show.persisted && rise());
	for (;;) {
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
		if (resting) {
			await new Promise((done) => (wake = done));
			continue;
		}
		lost(why);
		await pause(Math.min(RETRY_MS[1], RETRY_MS[0] * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random()));
	}
}
