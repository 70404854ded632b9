// SPDX-License-Identifier: MIT
//
// What clients and projects have spent of their budgets in the period that runs.
import { $, amount, bar, big, clock, count, dayName, el, exactDollars, figure, fill, folding, fraction, money, percent, put, table,
	when } from "./figures.js";

const ROWS_SHOWN = 20; // a button shows the others

const LEVELS = [[1, "bad", "used up"], [0.8, "warn", "nearly used up"], [-Infinity, "rate", ""]];
const HEAD = ["Client or project", "#Spent", { name: "Of the budget", class: "budget" }, "#Reserved", "#Forecast", "Last refusal"];

function nameCell(one) {
	const what = one.kind === "project" ? "project" : one.project ? `of project ${one.project}` : "";
	return el("span", el("span.name", one.name), ...[what, one.enabled ? "" : "disabled"].filter(Boolean).map((words) =>
		el("span.dim", ` ${words}`)));
}

function spentCell(one) {
	return el("span", amount(one.spent_nano, { "data-budget": "spent" }),
		...[["charged", " charged"], ["elsewhere", " on other gateways"]].filter(([what]) => big(one[`${what}_nano`])).map(([what, words]) =>
			el("span.dim.line", "and ", amount(one[`${what}_nano`], { "data-budget": what }), words)));
}

// The bar: what is spent, here and elsewhere, and charged, and behind it, striped, what is reserved.
function budgetCell(one) {
	const tokens = one.tokens_per_minute ? el("span.dim.line", `${count(one.tokens_per_minute)} tokens a minute`) : null;
	if (one.budget_nano == null)
		return el("span", el("span.dim", "no budget; spent in this month"), tokens);
	const budget = big(one.budget_nano), used = big(one.spent_nano) + big(one.charged_nano) + big(one.elsewhere_nano);
	const [, level, words] = one.enabled ? LEVELS.find(([from]) => one.used_ratio >= from) : [0, "cost", ""];
	const drawn = bar(budget ? fraction(used, budget) : 1, level), reserved = el("i.reserved"), from = Math.min(1, fraction(used, budget));
	reserved.style.left = `${from * 100}%`;
	reserved.style.width = `${Math.min(1 - from, fraction(big(one.reserved_nano), budget)) * 100}%`;
	reserved.hidden = !big(one.reserved_nano);
	drawn.append(reserved);
	return el("span", drawn, el("span.line", el("strong", budget ? percent(used, budget) : "100.0%"), " of ",
		amount(budget, { "data-budget": "budget" }), ` a ${one.per}`, words ? el("span.unseen", `, ${words}`) : null),
	big(one.withheld_nano) ? el("span.dim.line", amount(one.withheld_nano, { "data-budget": "withheld" }),
		" withheld, because what other gateways spend is not known") : null, tokens);
}

function forecastCell(one) {
	const until = `at ${dayName(one.period_end)}, ${clock(one.period_end).slice(0, 5)}, if all goes on as in this period`;
	if (one.forecast_nano == null)
		return el("span.dim", { title: "one hundredth of the period has to be over" }, "too early");
	const forecast = big(one.forecast_nano), over = one.budget_nano != null && forecast > big(one.budget_nano);
	return el("span", figure(el("span", { "data-budget": "forecast", class: over ? "loss" : null }), forecast, money(forecast), `${exactDollars(forecast)} ${until}`),
		over ? el("span.dim.line", "over the budget") : null);
}

function refusalCell({ last_refusal: refusal }) {
	return refusal ? el("span", when(refusal.at), " ", el("span.code", refusal.error)) : "";
}

// `budgets`: as /stats has it, the largest share first; null: there are no clients.
export function showBudgets(budgets) {
	$("budgets-card").hidden = !budgets?.accounts.length;
	if (!budgets?.accounts.length)
		return;
	put($("budgets-of"), budgets.of > budgets.shown ? `the ${count(budgets.shown)} that have used most, of ${count(budgets.of)}` : "");
	// The forecast moves all the time: the table is made again when the text changes.
	folding("budgets", budgets.accounts, ROWS_SHOWN, (rows) =>
		fill($("budgets"), JSON.stringify(rows.map((one) => ({ ...one, forecast_nano: one.forecast_nano == null ? null : money(one.forecast_nano) }))),
			() => table("Budgets of clients and projects in this period, the most used first", HEAD, rows.map((one) => [nameCell(one), spentCell(one), budgetCell(one),
				amount(one.reserved_nano, { "data-budget": "reserved" }), forecastCell(one), refusalCell(one)]), true)));
}
