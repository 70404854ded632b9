/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "decide/request.h"
#include "report/haproxy_files.h"

#define RULES "    http-request send-spoe-group llm llm-request\n"
#define QUESTION "spoe-message llm-request\n"

static haproxy_file read_text(const char *text)
{
	haproxy_file file = { .contract = 0 };
	FILE *f = fmemopen((void *)(size_t)text, strlen(text), "r");

	CHECK(f && haproxy_file_read(&file, f));
	fclose(f);
	return file;
}

static void a_file_says_its_contract(void)
{
	static const struct {
		const char *text;
		bool rules, question;
		uint64_t contract;
	} rows[] = {
		{ "global\n    maxconn 10\n", false, false, 0 },
		{ RULES, true, false, 0 },
		{ "http-request send-spoe-group llm llm-request if llm_unseen\n", true, false, 0 },
		{ "    http-request send-spoe-group llm llm-request-2 unless llm_bad_upgrade\n", true, false, 2 },
		{ "    http-request set-var(txn.llm_contract) int(1)\n    http-request send-spoe-group llm llm-request-17\n",
		  true, false, 17 },
		{ "    http-request send-spoe-group llm llm-request-x\n", true, false, 0 },
		{ "    http-request send-spoe-group llm llm-requests\n", false, false, 0 },
		{ "spoe-message llm-request-2\n    args id=unique-id\n", false, true, 2 },
		{ "spoe-group llm-request-2\n", false, false, 0 },
		{ "    http-request send-spoe-group other other-request\n", false, false, 0 },
		{ "    # http-request send-spoe-group llm llm-request\n", false, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int(1)\n" RULES, true, false, 1 },
		{ "\thttp-request\tset-var(txn.llm_contract)\tint(12)\r\n" RULES, true, false, 12 },
		{ "    http-request set-var(txn.llm_contract) int(1)# why\n" RULES, true, false, 1 },
		{ "    http-request set-var(txn.llm_contract) int(1)\n    http-request set-var(txn.llm_contract) int(0)\n" RULES,
		  true, false, 0 },
		{ "    #http-request set-var(txn.llm_contract) int(1)\n" RULES, true, false, 0 },
		{ "    # http-request set-var(txn.llm_contract) int(1)\n" RULES, true, false, 0 },
		{ "    http-request # set-var(txn.llm_contract) int(1)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract2) int(1)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) str(1)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int(x)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int()\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int(-1)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int(1\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract) int(99999999999999999999999)\n" RULES, true, false, 0 },
		{ "    http-request set-var(txn.llm_contract)\n" RULES, true, false, 0 },
		{ QUESTION, false, true, 0 },
		{ "spoe-message llm-response\n    args contract=int(1)\n", false, false, 1 },
		{ QUESTION "    args contract=int(1),and(txn.llm_contract)\n", false, true, 1 },
		{ QUESTION "    args id=unique-id contract=int(7) method=method\n", false, true, 7 },
		{ QUESTION "    args contract=var(txn.llm_contract)\n", false, true, 0 },
		{ QUESTION "    args xcontract=int(1)\n", false, true, 0 },
		{ QUESTION "    # args contract=int(1)\n", false, true, 0 },
		{ QUESTION "    args id=unique-id # contract=int(1)\n", false, true, 0 },
		{ QUESTION "    args contract=int(1)", false, true, 1 },
		{ " a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n\n" QUESTION, false,
		  true, 0 },
		{ "\n", false, false, 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		haproxy_file file = read_text(rows[i].text);
		CHECK(file.rules == rows[i].rules);
		CHECK(file.question == rows[i].question);
		CHECK(file.contract == rows[i].contract);
	}
}

static void a_file_says_the_hash_of_its_backends(void)
{
	static const struct {
		const char *text, *hash;
		bool backends;
	} rows[] = {
		{ "# Made by `spoa-llm backends`.\nglobal\n    set-var proc.llm_backends str(0123456789abcdef)\n",
		  "0123456789abcdef", true },
		{ "set-var\tproc.llm_backends\tstr(0123456789abcdef)# why\r\n", "", true },
		{ "set-var proc.llm_backends str(0123456789abcdef)\r\n", "0123456789abcdef", true },
		{ "# Made by `spoa-llm backends`.\nbackend llm-u.test\n", "", true },
		{ "set-var proc.llm_backends str(0123456789abcde)\n", "", true },
		{ "set-var proc.llm_backends str(0123456789abcdef0)\n", "", true },
		{ "set-var proc.llm_backends str(\n", "", true },
		{ "# set-var proc.llm_backends str(0123456789abcdef)\n", "", false },
		{ "set-var proc.other str(0123456789abcdef)\n" RULES, "", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		haproxy_file file = read_text(rows[i].text);
		CHECK(file.backends == rows[i].backends);
		CHECK(strcmp(file.hash, rows[i].hash) == 0);
	}
}

static void a_file_says_whether_haproxy_looks_for_keys(void)
{
	static const struct {
		const char *text, *keys;
		setting_from from;
	} rows[] = {
		{ "", "", SET_NOWHERE },
		{ "    presetenv LLM_CLIENTS off\n", "off", SET_PRESET },
		{ "    setenv LLM_CLIENTS \"on\"\n    presetenv LLM_CLIENTS off\n", "on", SET_ALWAYS },
		{ "    presetenv LLM_CLIENTS off\nLLM_CLIENTS=required\n", "required", SET_ENVIRONMENT },
		{ "LLM_CLIENTS=\"on\"\nLLM_CLIENTS=off", "off", SET_ENVIRONMENT },
		{ "LLM_CLIENTS=\"\n", "", SET_ENVIRONMENT },
		{ "LLM_CLIENTS='on'  # keys\n", "on", SET_ENVIRONMENT },
		{ "LLM_CLIENTS= a \"b  c\"  d#\\e\t\r\n", "a b  c  d#e", SET_ENVIRONMENT },
		{ "LLM_CLIENTS=$A\n", "$A", SET_ENVIRONMENT },
		{ "setenv LLM_CLIENTS a\\ b' $C 'd e\n", "a b $C d", SET_ALWAYS },
		{ "LLM_CLIENTS=\n", "", SET_ENVIRONMENT },
		{ "LLM_CLIENTS\n    presetenv LLM_CLIENTS\n", "", SET_NOWHERE },
		{ "LLM_CLIENTS=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", SET_ENVIRONMENT },
		{ "# LLM_CLIENTS=on\n    unsetenv LLM_CLIENTS on\n", "", SET_NOWHERE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		haproxy_file file = read_text(rows[i].text);
		CHECK(strcmp(file.keys.value, rows[i].keys) == 0 && file.keys.from == rows[i].from);
		CHECK(file.ledger.from == SET_NOWHERE);
	}
}

static void a_value_may_be_long_or_depend_on_another_variable(void)
{
	char text[3 * SETTING_MAX] = "LLM_CORS_ORIGINS=";
	char *end = text + strlen(text);

	for (size_t i = 0; i < SETTING_MAX / 2; i++)
		end = stpcpy(end, i % 8 ? "ab" : " a");
	haproxy_file file = read_text(text);
	CHECK(strlen(file.origins.value) < SETTING_MAX && strlen(file.origins.value) > SETTING_MAX - 20);
	CHECK(slice_ends(slice_cstr(file.origins.value), SLICE(" aababababababab")) && !file.origins.unknown);
	file = read_text("setenv LLM_AGENT \"unix@${DIR}/x\"\n");
	CHECK(file.agent.unknown && file.agent.from == SET_ALWAYS);
	file = read_text("setenv LLM_AGENT unix@${DIR}/x\nsetenv LLM_AGENT 'unix@/y'\n");
	CHECK(!file.agent.unknown && strcmp(file.agent.value, "unix@/y") == 0);
}

static void a_file_names_agents_beside_the_variable(void)
{
	haproxy_file file = read_text(
		"global\n    log unix@/a len 8192\nring r\n    server x \"unix@/b\" check\n"
		"backend other\n    server x unix@/no\nbackend llm-agent\n    server agent \"$LLM_AGENT\"\n"
		"    #server other unix@/no\n    server other unix@/c check\nfrontend f\n    server x unix@/no\n");

	CHECK(file.servers.count == 3);
	CHECK(strcmp(file.servers.text[0], "unix@/a") == 0 && strcmp(file.servers.text[1], "unix@/b") == 0 &&
	      strcmp(file.servers.text[2], "unix@/c") == 0);
}

static void a_file_that_cannot_be_read_says_so(void)
{
	haproxy_file file = { .contract = 0 };
	FILE *f = fopen("/", "re");

	CHECK(f && !haproxy_file_read(&file, f));
	fclose(f);
}

static void the_operator_allows_the_contract_before_and_no_other(void)
{
	route_table t = { .older_contract_allowed = false };
	policy p = { .table = &t };

	for (int allowed = 0; allowed < 2; allowed++) {
		t.older_contract_allowed = allowed;
		for (uint64_t n = CONTRACT_SAFE; n <= CONTRACT; n++)
			CHECK(policy_allows_contract(&p, n));
		CHECK(policy_allows_contract(&p, CONTRACT_SAFE - 1) == allowed);
		CHECK(!policy_allows_contract(&p, CONTRACT + 1));
		CHECK(!policy_allows_contract(&p, CONTRACT_UNKNOWN));
	}
}

int main(void)
{
	RUN(a_file_says_its_contract);
	RUN(a_file_says_the_hash_of_its_backends);
	RUN(a_file_says_whether_haproxy_looks_for_keys);
	RUN(a_value_may_be_long_or_depend_on_another_variable);
	RUN(a_file_names_agents_beside_the_variable);
	RUN(a_file_that_cannot_be_read_says_so);
	RUN(the_operator_allows_the_contract_before_and_no_other);
	return unit_end();
}
