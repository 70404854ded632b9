/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <cjson/cJSON.h>

#include "decide/models.h"
#include "sample/model.h"

static const struct {
	const char *path;
	models_question asked;
	const char *name;
} paths[] = {
	{ "/v1/models", MODELS_ALL, "" },
	{ "/v1/models/", MODELS_ALL, "" },
	{ "/v1beta/models", MODELS_ALL, "" },
	{ "/models", MODELS_ALL, "" },
	{ "/api/v1/models", MODELS_ALL, "" },
	{ "/openai/models", MODELS_ALL, "" },
	{ "/v1beta/openai/models", MODELS_ALL, "" },
	{ "/v1/models/gpt-9", MODELS_ONE, "gpt-9" },
	{ "/v1/models/gpt-9/", MODELS_ONE, "gpt-9" },
	{ "/v1/models/llama3:8b", MODELS_ONE, "llama3:8b" },
	{ "/v1/models/a%2Fb", MODELS_ONE, "a/b" },
	{ "/v1/models/a/b", MODELS_ONE, "a/b" },
	{ "/v1/models/models", MODELS_ONE, "models" },
	{ "/models/models", MODELS_ONE, "models" },
	{ "/v1/models/v1/models", MODELS_ONE, "v1/models" },
	{ "/v1beta/models/gemini-2.5-pro", MODELS_ONE, "gemini-2.5-pro" },
	{ "/v1/models/a%2", MODELS_NOTHING, "" },
	{ "/v1/modelsx", MODELS_NOTHING, "" },
	{ "/v1/xmodels", MODELS_NOTHING, "" },
	{ "/v1/tunedModels", MODELS_NOTHING, "" },
	{ "/v1/fine_tuning/models", MODELS_NOTHING, "" },
	{ "/v1/files/models/x", MODELS_NOTHING, "" },
	{ "//v1/models", MODELS_NOTHING, "" },
	{ "/v1//models", MODELS_NOTHING, "" },
	{ "/v1/x/../models", MODELS_NOTHING, "" },
	{ "/model", MODELS_NOTHING, "" },
	{ "/", MODELS_NOTHING, "" },
	{ "", MODELS_NOTHING, "" },
};

static void a_path_asks_about_models(void)
{
	char buf[MODEL_MAX], longest[MODEL_MAX + 32] = "/v1/models/";

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		size_t len = strlen(paths[i].path);
		slice name = { NULL, 0 };
		models_question asked = models_asked(slice_of(unit_guarded(paths[i].path, len), len), buf, &name);
		bool ok = asked == paths[i].asked && (asked != MODELS_ONE || slice_eq(name, slice_cstr(paths[i].name)));
		if (!ok)
			printf("  %s: %d %.*s\n", paths[i].path, (int)asked, (int)name.len, name.ptr);
		CHECK(ok);
	}
	for (size_t n = MODEL_MAX; n <= MODEL_MAX + 1; n++) {
		slice name;
		memset(longest + 11, 'm', n);
		CHECK((models_asked(slice_of(longest, 11 + n), buf, &name) == MODELS_ONE) == (n == MODEL_MAX));
	}
}

static char *first[] = { (char[]){ "glm-4.6" }, (char[]){ "GLM-5" } };
static char *second[] = { (char[]){ "glm-5" }, (char[]){ "mistralai/mistral-7b" } };
static char *hidden[] = { (char[]){ "hidden" } };

static size_t elements(slice text, const char *key)
{
	cJSON *json = cJSON_ParseWithLength(text.ptr, text.len);
	size_t n = (size_t)cJSON_GetArraySize(cJSON_GetObjectItem(json, key));

	cJSON_Delete(json);
	return n;
}

/* Each model's own answer is its element of the list. */
static void a_list_has_each_model_once(void)
{
	static const char *const keys[PROTOCOLS] = { "data", "data", "models" };
	route routes[] = { { .models = first, .models_count = 2, .enabled = true },
			   { .models = hidden, .models_count = 1 },
			   { .models = second, .models_count = 2, .enabled = true } };
	route_table t = { .routes = routes, .count = 3 };

	CHECK(models_list(&t) && t.listed.count == 3);
	CHECK(!models_find(&t.listed, SLICE("hidden")) && !models_find(&t.listed, SLICE("glm-")));
	const listed_model *m = models_find(&t.listed, SLICE("glm-5"));
	CHECK(m && strcmp(m->name, "GLM-5") == 0);
	for (size_t p = 0; p < PROTOCOLS; p++) {
		slice all = models_answer(&t.listed, (protocol)p, NULL), one = models_answer(&t.listed, (protocol)p, m);
		CHECK(elements(all, keys[p]) == 3);
		CHECK(one.len < all.len && slice_contains(all, one) && slice_contains(one, SLICE("GLM-5")));
		CHECK(one.ptr[0] == '{' && one.ptr[one.len - 1] == '}');
	}
	CHECK(slice_contains(models_answer(&t.listed, PROTOCOL_ANTHROPIC, NULL),
			     SLICE("\"first_id\":\"glm-4.6\",\"last_id\":\"mistralai/mistral-7b\"")));
	routes[0].enabled = routes[2].enabled = false;
	CHECK(models_list(&t) && t.listed.count == 0 && !t.listed.text[0]);
	models_deinit(&t.listed);
}

int main(void)
{
	RUN(a_path_asks_about_models);
	RUN(a_list_has_each_model_once);
	return unit_end();
}
