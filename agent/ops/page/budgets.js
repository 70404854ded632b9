// SPDX-License-Identifier: MIT
//
// What clients and projects have spent of their budgets in the period that runs.
import { $, bar, big, clock, count, DAY, dayName, el, exactDollars, figure, fill, fraction, money, moneyFigure, percent, put, table } from "./figures.js";

const ROWS_SHOWN = 20; // a button shows the others

const LEVELS = [[1, "bad", "used up"], [0.8, "warn", "nearly used up"], [-Infinity, "rate", ""]];
const HEAD = [{ name: "Client or project" }, { name: "Spent", class: "n" }, { name: "Of the budget", class: "budget" }, { name: "Reserved", class: "n" },
	{ name: "Forecast", class: "n" }, { name: "Last refusal" }];

let all = false, shown = null;

const moment = (ms) => el("time", { datetime: new Date(ms).toISOString(), title: new Date(ms).toISOString() },
	(Date.now() - ms > DAY ? dayName(ms) + ", " : "") + clock(ms));

function nameCell(one) {
	const what = one.kind === "project" ? "project" : one.project ? `of project ${one.project}` : "";
	return el("span", {}, el("span", { class: "name" }, one.name), ...[what, one.enabled ? "" : "disabled"].filter(Boolean).map((words) =>
		el("span", { class: "dim" }, ` ${words}`)));
}

function spentCell(one) {
	return el("span", {}, moneyFigure(el("span", { "data-budget": "spent" }), big(one.spent_nano)),
		...[["charged", " charged"], ["elsewhere", " on other gateways"]].filter(([what]) => big(one[`${what}_nano`])).map(([what, words]) =>
			el("span", { class: "dim line" }, "and ", moneyFigure(el("span", { "data-budget": what }), big(one[`${what}_nano`])), words)));
}

// The bar: what is spent, here and elsewhere, and charged, and behind it, striped, what is reserved.
function budgetCell(one) {
	const tokens = one.tokens_per_minute ? el("span", { class: "dim line" }, `${count(big(one.tokens_per_minute))} tokens a minute`) : null;
	if (one.budget_nano == null)
		return el("span", {}, el("span", { class: "dim" }, "no budget; spent in this month"), tokens);
	const budget = big(one.budget_nano), used = big(one.spent_nano) + big(one.charged_nano) + big(one.elsewhere_nano);
	const [, level, words] = one.enabled ? LEVELS.find(([from]) => one.used_ratio >= from) : [0, "cost", ""];
	const drawn = bar(budget ? fraction(used, budget) : 1, level), reserved = el("i", { class: "reserved" }), from = Math.min(1, fraction(used, budget));
	reserved.style.left = `${from * 100}%`;
	reserved.style.width = `${Math.min(1 - from, fraction(big(one.reserved_nano), budget)) * 100}%`;
	reserved.hidden = !big(one.reserved_nano);
	drawn.append(reserved);
	return el("span", {}, drawn, el("span", { class: "line" }, el("strong", {}, budget ? percent(used, budget) : "100.0%"), " of ",
		moneyFigure(el("span", { "data-budget": "budget" }), budget), ` a ${one.per}`, words ? el("span", { class: "unseen" }, `, ${words}`) : null),
	big(one.withheld_nano) ? el("span", { class: "dim line" }, moneyFigure(el("span", { "data-budget": "withheld" }), big(one.withheld_nano)),
		" withheld, because what other gateways spend is not known") : null, tokens);
}

function forecastCell(one) {
	const until = `at ${dayName(one.period_end)}, ${clock(one.period_end).slice(0, 5)}, if all goes on as in this period`;
	if (one.forecast_nano == null)
		return el("span", { class: "dim", title: "one hundredth of the period has to be over" }, "too early");
	const forecast = big(one.forecast_nano), over = one.budget_nano != null && forecast > big(one.budget_nano);
	return el("span", {}, figure(el("span", { "data-budget": "forecast", class: over ? "loss" : null }), forecast, money(forecast), `${exactDollars(forecast)} ${until}`),
		over ? el("span", { class: "dim line" }, "over the budget") : null);
}

function refusalCell({ last_refusal: refusal }) {
	return refusal ? el("span", {}, moment(refusal.at), " ", el("span", { class: "code" }, refusal.error)) : "";
}

// `budgets`: as /stats has it, the largest share first; null: there are no clients.
export function showBudgets(budgets) {
	shown = budgets;
	$("budgets-card").hidden = !budgets?.accounts.length;
	if (!budgets?.accounts.length)
		return;
	const more = budgets.accounts.length - ROWS_SHOWN, folded = !all && more > 1; // one row needs no more room than the button
	const rows = folded ? budgets.accounts.slice(0, ROWS_SHOWN) : budgets.accounts;
	put($("budgets-of"), budgets.of > budgets.shown ? `the ${count(big(budgets.shown))} that have used most, of ${count(big(budgets.of))}` : "");
	// The forecast moves all the time: the table is made again when the text changes.
	const signature = rows.map((one) => ({ ...one, forecast_nano: one.forecast_nano == null ? null : money(big(one.forecast_nano)) }));
	fill($("budgets"), JSON.stringify(signature),
		() => table("Budgets of clients and projects in this period, the most used first", HEAD, rows.map((one) => [nameCell(one), spentCell(one), budgetCell(one),
			moneyFigure(el("span", { "data-budget": "reserved" }), big(one.reserved_nano)), forecastCell(one), refusalCell(one)]), true));
	const button = $("budgets-all");
	button.hidden = more <= 1;
	button.setAttribute("aria-expanded", String(all));
	put(button, all ? `Show the first ${ROWS_SHOWN}` : `Show ${count(BigInt(Math.max(more, 0)))} more`);
}

$("budgets-all").addEventListener("click", () => {
	all = !all;
	showBudgets(shown);
});
