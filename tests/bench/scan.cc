// SPDX-License-Identifier: MIT
//
// What it costs to find the model of a chat body, in one run: by this agent's scanner at each vector level, by simdjson on-demand,
// by cJSON's full parse, and by a plain byte loop. The methods take turns, round by round, so that a change of the machine's speed
// changes all of them; the table shows medians.
//
//   scan [ROUNDS]
#include "scan_ours.h"

#include <cjson/cJSON.h>
#include <simdjson.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define SIMDJSON_VERSION_TEXT TEXT(SIMDJSON_VERSION)

namespace {

// ---------------------------------------------------------------- bodies

uint32_t seed = 12345;
uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

// JSON text of prose, some code with quotes and indentation, and some letters beyond ASCII.
std::string words(size_t len)
{
	static const char *const some[] = { "the",     "model",    "answers", "with",   "a",      "list",   "of",      "steps",
					    "and",     "explains", "each",    "file",   "before", "it",     "changes", "anything",
					    "because", "nobody",   "likes",   "surprises", "in",  "production", "caf\xc3\xa9", "function" };
	std::string out;
	while (out.size() < len) {
		if (rnd(40) == 0)
			out += ".\\n\\n";
		else if (rnd(60) == 0)
			out += "    if (mode == \\\"fast\\\")\\n\\treturn { \\\"ok\\\": [1, 2] };\\n";
		out += some[rnd(sizeof some / sizeof *some)];
		out += rnd(9) == 0 ? ", " : " ";
	}
	return out;
}

std::string chat(size_t size, bool first)
{
	std::string model = "\"model\":\"gpt-4o-2024-08-06\"", body = "{";
	if (first)
		body += model + ",";
	body += "\"temperature\":0.7,\"max_tokens\":1024,\"messages\":[{\"role\":\"system\",\"content\":\"" + words(300) + "\"}";
	bool user = true;
	while (body.size() + 700 < size) {
		body += std::string(",{\"role\":\"") + (user ? "user" : "assistant") + "\",\"content\":";
		std::string text = words(100 + rnd(user ? 500 : 1500));
		body += user ? "[{\"type\":\"text\",\"text\":\"" + text + "\"}]}" : "\"" + text + "\"}";
		user = !user;
	}
	body += "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"read_file\",\"description\":\"" + words(80) +
		"\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"}},\"required\":[\"path\"]}}}],"
		"\"stream\":true";
	body += first ? "}" : "," + model + "}";
	return body;
}

// ---------------------------------------------------------------- methods

struct subject {
	std::string body;
	simdjson::padded_string padded;
	explicit subject(std::string s) : body(std::move(s)), padded(body) {}
};

bool agent_whole(const subject &b)
{
	return ours_agent(b.body.data(), b.body.size(), 0) == 17;
}

// HAProxy 3.0 and later sends 8 KB from either end.
bool agent_windows(const subject &b)
{
	return ours_agent(b.body.data(), b.body.size(), 8192) == 17;
}

// A scanner may stop at the first `model` if a second, different one does not matter.
bool scanner_first(const subject &b)
{
	return ours_first(b.body.data(), b.body.size()) == 17;
}

bool on_demand(const subject &b)
{
	static simdjson::ondemand::parser parser;
	simdjson::ondemand::document doc = parser.iterate(b.padded);
	std::string_view model = doc["model"];
	return model.size() == 17;
}

bool cjson(const subject &b)
{
	cJSON *doc = cJSON_ParseWithLength(b.body.data(), b.body.size());
	const cJSON *model = cJSON_GetObjectItemCaseSensitive(doc, "model");
	bool ok = cJSON_IsString(model);
	cJSON_Delete(doc);
	return ok;
}

// Looks at each byte, and knows whether it is in a string and how deep; the key must follow '{' or ',' at depth 1.
bool byte_loop(const subject &b)
{
	const char *p = b.body.data();
	size_t n = b.body.size(), depth = 0, start = 0;
	bool in = false, key = true, hit = false, ok = false;
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		if (in) {
			if (c == '\\') {
				i++;
			} else if (c == '"') {
				in = false;
				if (depth == 1 && key)
					hit = i - start == 5 && memcmp(p + start, "model", 5) == 0;
				else if (depth == 1 && hit)
					ok = i - start == 17;
			}
			continue;
		}
		switch (c) {
		case '"':
			in = true;
			start = i + 1;
			break;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			break;
		case ':':
			key = false;
			break;
		case ',':
			key = true;
			break;
		default:
			break;
		}
	}
	return ok;
}

struct method {
	std::string name;
	std::function<bool(const subject &)> run;
	int level; // -1: not ours
	std::vector<double> us;
};

double median(std::vector<double> v)
{
	std::sort(v.begin(), v.end());
	return v[v.size() / 2];
}

} // namespace

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 15;
	const size_t sizes[] = { 4096, 65536, 1048576 };

	printf("simdjson %s, implementation %s; microseconds per body (GB/s of body), median of %d rounds\n\n",
	       SIMDJSON_VERSION_TEXT,
	       simdjson::get_active_implementation()->name().c_str(), rounds);
	for (bool first : { true, false }) {
		printf("model %s\n%-34s", first ? "first" : "last", "");
		std::vector<subject> bodies;
		for (size_t size : sizes) {
			bodies.emplace_back(chat(size, first));
			printf("%16zu B", bodies.back().body.size());
		}
		printf("   x simdjson\n");

		std::vector<method> methods;
		for (int level = ours_levels() - 1; level >= 0; level--) {
			if (!ours_force(level))
				continue;
			std::string name = ours_name();
			methods.push_back({ "agent, 8+8 KB sample, " + name, agent_windows, level, {} });
			methods.push_back({ "agent, whole body, " + name, agent_whole, level, {} });
			methods.push_back({ "scanner, stops at model, " + name, scanner_first, level, {} });
		}
		methods.push_back({ "simdjson on-demand", on_demand, -1, {} });
		methods.push_back({ "cJSON full parse", cjson, -1, {} });
		methods.push_back({ "byte loop", byte_loop, -1, {} });

		std::vector<std::vector<double>> table(methods.size());
		for (const subject &body : bodies) {
			for (method &m : methods)
				m.us.clear();
			for (int round = 0; round < rounds; round++) {
				for (method &m : methods) {
					if (m.level >= 0)
						ours_force(m.level);
					bool slow = m.name == "cJSON full parse" || m.name == "byte loop";
					int times = static_cast<int>((slow ? 1u << 20 : 1u << 23) / body.body.size()) + 1;
					for (int i = 0; i < 2; i++) // warms caches and branch prediction
						if (!m.run(body)) {
							fprintf(stderr, "%s: wrong answer\n", m.name.c_str());
							return 1;
						}
					auto begin = std::chrono::steady_clock::now();
					bool ok = true;
					for (int i = 0; i < times; i++)
						ok &= m.run(body);
					auto end = std::chrono::steady_clock::now();
					if (!ok)
						return 1;
					m.us.push_back(std::chrono::duration<double, std::micro>(end - begin).count() / times);
				}
			}
			for (size_t i = 0; i < methods.size(); i++)
				table[i].push_back(median(methods[i].us));
		}
		size_t yardstick = methods.size() - 3;
		for (size_t i = 0; i < methods.size(); i++) {
			printf("%-34s", methods[i].name.c_str());
			for (size_t k = 0; k < bodies.size(); k++)
				printf("%9.3f (%5.1f)%s", table[i][k], static_cast<double>(bodies[k].body.size()) / table[i][k] / 1000.0,
				       " ");
			printf("  ");
			for (size_t k = 0; k < bodies.size(); k++)
				printf(" %.2f", table[yardstick][k] / table[i][k]);
			printf("\n");
		}
		printf("\n");
	}
	return 0;
}
