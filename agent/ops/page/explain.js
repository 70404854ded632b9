// SPDX-License-Identifier: MIT
//
// The form that asks what would become of a request, and the answer. A client's key goes into the body of the question and nowhere else: the
// field is emptied at once, and no answer repeats a key.
import { $, amount, announce, count, el, onSubmit, pill, put } from "./figures.js";

// A dollar amount of nine decimals, as an element.
const usd = (text) => amount(BigInt(text.replace(".", "")));

const OUTPUT_FROM = { request: "as the request says", "recent answers": "as recent answers of the model took", assumed: "assumed, because nothing is known of the model’s answers" };

function budgetWords(budget) {
	const parts = [usd(budget.usd), ` a ${budget.per}`];
	for (const [name, word] of [["spent_usd", "spent"], ["charged_usd", "charged"], ["reserved_usd", "reserved"], ["elsewhere_usd", "spent elsewhere"], ["withheld_usd", "withheld"], ["left_usd", "left"]])
		if (budget[name] != null)
			parts.push(name === "spent_usd" ? ": " : ", ", usd(budget[name]), ` ${word}`);
	return el("span", ...parts);
}

function limitWords(limits, left) {
	const parts = [[limits.requests_per_minute, "requests a minute"], [limits.parallel, "in parallel"], [limits.tokens_per_minute, "tokens a minute"]]
		.filter(([n]) => n != null).map(([n, words]) => `${count(n)} ${words}`);
	if (left != null && limits.tokens_per_minute != null)
		parts.push(`${count(left)} tokens left of this minute`);
	return parts.join(", ");
}

// What stands behind each name; an empty one is left out.
export function factsOf(told) {
	const { limits, reserves } = told, own = limits?.client, shared = limits?.project;
	return [
		["The client is told", told.message],
		["Because", told.problem],
		["Client", told.client && (told.project ? `${told.client}, of project ${told.project}` : told.client)],
		["Limits", own && limitWords(own, limits.tokens_left)],
		["Budget", own?.budget && budgetWords(own.budget)],
		["Limits of the project", shared && limitWords(shared, limits.tokens_left)],
		["Budget of the project", shared?.budget && budgetWords(shared.budget)],
		["Would reserve", reserves && el("span", reserves.usd == null ? "no money, because the model has no price" : usd(reserves.usd),
			`, for tokens: ${count(reserves.input_tokens)} in and ${count(reserves.output_tokens)} out, ${OUTPUT_FROM[reserves.output_from]}`)],
		["Model", told.model && `${told.model}, from the ${told.model_from}`],
		["Endpoint", told.endpoint],
		["Route", told.route ? `${told.route}: ${told.chosen}` : told.chosen],
		["Upstream", told.upstream],
		["Credential", told.auth === "replace" ? Object.entries(told.set).map(([name, value]) => `${name}: ${value}`).join(", ") || "the member’s own" :
			told.auth && "the client’s own goes along"],
	].filter(([, value]) => value);
}

function show(told) {
	const refused = told.code != null;
	pill($("verdict"), refused ? "bad" : "good", refused ? `Refused: ${told.status} ${told.code}` : told.answer != null ? "Answered by the gateway itself" : `Goes to ${told.backend}`);
	$("explained-facts").replaceChildren(...factsOf(told).map(([name, value]) => el("div", el("dt", name), el("dd", value))));
	put($("explained-json"), JSON.stringify(told, null, 2));
	$("explained").hidden = false;
	announce($("verdict").textContent);
}

function question() {
	const asked = {}, key = $("explain-key").value.trim(), headers = $("explain-headers").value.split("\n").map((line) => line.trim()).filter(Boolean);
	for (const name of ["model", "path", "method", "body"])
		if ($(`explain-${name}`).value.trim())
			asked[name] = $(`explain-${name}`).value.trim();
	if (headers.length)
		asked.headers = headers;
	if (key)
		asked.key = key;
	$("explain-key").value = "";
	return asked;
}

// `ask`: sends a question to the agent, and returns the answer.
export function makeExplain(ask) {
	onSubmit("explain-form", async () => {
		put($("explain-error"), "");
		$("explained").hidden = true;
		try {
			show(JSON.parse(await (await ask("explain", null, question())).text()));
		} catch (error) {
			put($("explain-error"), error.status ? error.message : document.body.dataset.link === "locked" ? "The agent asked for its token: ask again." :
				"The agent does not answer.");
		}
	});
	// A page that the browser keeps for its back button must not keep a key.
	window.addEventListener("pagehide", () => ($("explain-key").value = ""));
}
