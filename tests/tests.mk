# ---- tests. What `make test` and `make test-long` run, each part of them by a target from here: tests/parts.

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
# The packages of all parts are installed first, because two parts that run side by side cannot both install.
TEST_DEPS := build test packaging bench-instructions format deb root compose
PARTS_OF = $(PYTHON) tests/tools/parts.py tests/parts

##@ Tests
## test: all that CI runs, in about 22 minutes; PARTS="lint unit" for some of its parts
test:
	@sh tests/tools/deps $(TEST_DEPS)
	@$(PARTS_OF)/test $(PARTS)

## test-long: what takes hours: longer fuzzing and chaos, every HAProxy in full, mutations, analysers, valgrind; PARTS=
test-long:
	@sh tests/tools/deps $(TEST_DEPS) static valgrind coverage
	@$(PARTS_OF)/long $(PARTS)

## lint: format, layers, options, manual pages
lint: $(BUILD)/spoa-llm format-check
	@tests/tools/layers
	@$(PYTHON) tests/tools/docs.py
	@$(PYTHON) tests/tools/events.py
	@$(PYTHON) tests/mutations/run.py --places
	@dist/manual --check $(BUILD)/spoa-llm

# The style is .clang-format's, by Debian 12's clang-format 14: other versions lay some lines out otherwise.
FORMATTED = $(sort $(wildcard agent/*.[ch] agent/*/*.[ch] tests/*/*.[ch]))
format-check:
	@sh tests/tools/deps format
	@clang-format --dry-run -Werror $(FORMATTED)

## format: lays out all C files
format:
	@sh tests/tools/deps format
	@clang-format -i $(FORMATTED)

# All but main.c, so that a test's link takes what it uses: the objects themselves would all be linked into each of them.
AGENT := $(BUILD)/agent.a
$(AGENT): $(OBJ)
	@rm -f $@
	@$(AR) rcsT $@ $(filter-out %/main.o,$(OBJ))

$(BUILD)/unit/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(AGENT)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) -Og $(CPPFLAGS) -Itests/unit $(NO_LTO) $(LDFLAGS) -o $@ $< $(AGENT) $(LIBS)

units: $(UNIT)

## test-unit: unit tests; with -j4 side by side
test-unit: $(UNIT:%=%.run)

$(BUILD)/unit/%.run: $(BUILD)/unit/% FORCE
	@$< > $<.log 2>&1 && echo "  ok $<" || { cat $<.log; echo "FAILED: $<"; exit 1; }

# The compilers and sanitizers beside gcc's plain build, each in a folder of its own.
FLAGS_clang := CC=clang BUILD=build/clang
FLAGS_asan := CC=gcc SAN=address,undefined BUILD=build/asan
FLAGS_tsan := CC=clang SAN=thread BUILD=build/tsan
FLAGS_fuzz := CC=clang SAN=fuzzer-no-link,address,undefined BUILD=build/fuzz
KINDS := clang asan tsan
# Those of which a module starts threads: TSan sees nothing in the others. `make test-tsan` runs all of them.
UNITS_tsan := $(addprefix build/tsan/unit/test_,base budget_storm fdpass handover ledger pq_connect rest spop_threads store)
$(KINDS:%=build-%): build-%:
	@$(MAKE) --no-print-directory $(FLAGS_$*) $(if $(UNITS_$*),UNIT="$(UNITS_$*)") all units
$(KINDS:%=unit-%): unit-%:
	@$(MAKE) --no-print-directory $(FLAGS_$*) $(if $(UNITS_$*),UNIT="$(UNITS_$*)") test-unit
# clang's warnings about the unit tests. build-tsan and build-fuzz compile the agent by clang.
warnings-clang:
	@$(MAKE) --no-print-directory CC=clang BUILD=build/clang warnings
warnings:
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -Itests/unit -fsyntax-only $(sort $(wildcard tests/unit/*.c))
build-fuzz:
	@$(MAKE) --no-print-directory $(FLAGS_fuzz) fuzzers

# ---- fuzzers: libFuzzer under ASan and UBSan

FUZZ_S ?= 15
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

fuzzers: $(FUZZ:%=$(BUILD)/fuzz_%)

# The half of the agent that fuzzers link. The other half is left out, because compiling for fuzzers takes three times as long as an ordinary
# build. If a new fuzzer needs another file, add the file here.
FUZZED := $(wildcard $(addprefix agent/,$(addsuffix /*.c,answer base budget config decide ledger net sample spop) ship/fleet*.c ship/pq*.c) \
	$(addprefix agent/report/,$(addsuffix .c,export figures ledger_store operation period print refusal_words request_list savings* view))) \
	$(addprefix agent/,$(addsuffix .c,serve/said serve/shipping serve/spans tap/event tap/http tap/usage))
$(BUILD)/fuzzed.a: $(FUZZED:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/prices.o $(BUILD)/obj/rules.o
	@rm -f $@
	@$(AR) rcsT $@ $^

## fuzz: the fuzzers, two at a time: their corpora, then FUZZ_S seconds each
fuzz: build-fuzz
	@printf '%s\n' $(FUZZ) | xargs -P2 -n1 sh tests/fuzz/run build/fuzz $(FUZZ_S)

DIFFERENTIAL_S ?= $(FUZZ_S)
## differential: our reading of bodies and queries beside that of Go, Node, Python and PHP: a corpus, then DIFFERENTIAL_S seconds
differential: $(BUILD)/spoa-llm build/drivers/scan_driver build/differential/reader
	@SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) tests/fuzz/differential/differential.py $(DIFFERENTIAL_S)

# Of Go's standard library alone, so that nothing is fetched.
build/differential/reader: tests/fuzz/differential/reader.go
	@mkdir -p $(@D)
	@echo "  GO $@"
	@GO111MODULE=off GOFLAGS= GOPROXY=off CGO_ENABLED=0 GOCACHE=$(CURDIR)/build/differential/cache go build -o $@ $<

## fuzz-coverage: which lines of spop/, sample/, tap/http.c and base/ the corpora reach by themselves
fuzz-coverage:
	@sh tests/tools/deps build coverage
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined BUILD=build/coverage \
		CFLAGS='-g -fprofile-instr-generate -fcoverage-mapping' coverage-all

coverage-all: fuzzers
	@tests/fuzz/coverage $(BUILD) 95

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h) $(BUILD)/fuzzed.a
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer,address,undefined $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/fuzzed.a $(LIBS)

## test-tools: what the black-box tests use beside the agent
# Whatever BUILD is, in build/ and by gcc: the benchmarks' load generator and store of a million rows, an agent of another version,
# libraries to preload, and drivers of single parts, which have sanitizers of their own.
TEST_TOOLS := $(addprefix build/,bench/spop_load bench/ledger_store other-version failmalloc.so selfexe.so slowinflate.so cjsonhooks.so powercut.so wakeups.so takeoff.so clock.so slowsync.so \
	drivers/scan_driver drivers/price_driver drivers/http_driver drivers/tap_usage_driver \
	drivers/expire_driver drivers/budget_driver drivers/collide)
ifeq ($(BUILD),build)
test-tools: $(TEST_TOOLS)
else
test-tools:
	@$(MAKE) --no-print-directory CC=gcc SAN= BUILD=build $(TEST_TOOLS)
endif

DRIVER = @mkdir -p $(@D) && echo "  CC $@" && gcc -std=c11 -g $(CPPFLAGS)
DRIVER_SAN := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
build/drivers/scan_driver: tests/unit/scan_driver.c $(wildcard agent/sample/*.[ch] agent/base/*.[ch])
	$(DRIVER) $(DRIVER_SAN) -o $@ $(filter %.c,$^) -lz -lzstd -lbrotlidec -lcjson -lpthread -lm
build/drivers/price_driver: tests/unit/price_driver.c build/prices.c $(wildcard agent/ledger/*.h agent/base/*.[ch]) \
		$(wildcard agent/ledger/price*.c) agent/ledger/record.c
	$(DRIVER) $(DRIVER_SAN) -o $@ $(filter %.c,$^) -lm -lcjson -lpthread
build/drivers/http_driver: tests/unit/http_driver.c tests/unit/driver.h agent/tap/http.c agent/tap/http.h $(wildcard agent/base/*.h)
	$(DRIVER) $(DRIVER_SAN) -o $@ $(filter %.c,$^)
build/drivers/tap_usage_driver: tests/unit/tap_usage_driver.c tests/unit/driver.h $(addprefix agent/tap/,usage.c usage.h event.c event.h) \
		$(wildcard agent/answer/*.[ch] agent/base/*.h) $(wildcard agent/base/json*.c)
	$(DRIVER) $(DRIVER_SAN) -o $@ $(filter %.c,$^) -lm
build/drivers/expire_driver build/drivers/budget_driver: build/drivers/%: tests/unit/%.c $(wildcard agent/budget/*.[ch]) agent/base/hash.c $(wildcard agent/base/*.h)
	$(DRIVER) -O1 -o $@ $(filter %.c,$^)
build/drivers/collide: tests/preload/collide.c agent/base/hash.c $(wildcard agent/base/*.h)
	$(DRIVER) -O2 -o $@ $(filter %.c,$^)

VERSIONED := agent/serve/takeover.c agent/net/conn_handover.c
$(BUILD)/other-version: $(VERSIONED) $(OBJ)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(NO_LTO) $(CPPFLAGS) -DHANDOVER_VERSION=2 $(LDFLAGS) -o $@ $(VERSIONED) \
		$(filter-out $(VERSIONED:%.c=$(BUILD)/obj/%.o),$(OBJ)) $(LIBS)

# Preloaded into the agent: tests/preload/*.c.
$(BUILD)/%.so: tests/preload/%.c
	@echo "  CC $@"
	@$(CC) -std=c11 -O1 $(WARN) -Werror -fPIC -shared -o $@ $<

# ---- black-box tests. Those that are marked `alone` run after the others, two at a time, since they measure time or load the machine.

N ?= 4
TESTS ?= tests/blackbox
PYTEST = SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) -m pytest -q $(PYTEST_ARGS)

# If no more tests than this fail, they run again, one at a time; one that passes then is named as unsteady.
AGAIN ?= 6
pytest-beside: test-tools
	SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) tests/tools/again.py $(AGAIN) $(N) $(PYTHON) -m pytest -q $(PYTEST_ARGS) -m 'not alone' -- $(TESTS)
# Only the files that have such tests, because it takes long to read all.
ALONE ?= 2
MARKED = $(shell grep -rls --include='*.py' pytest.mark.alone $(TESTS)) $(foreach test,$(TESTS),$(if $(findstring ::,$(test)),$(test)))
pytest-alone: test-tools
	$(if $(strip $(MARKED)),SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) tests/tools/again.py $(AGAIN) $(ALONE) $(PYTHON) -m pytest -q $(PYTEST_ARGS) -m alone -- $(MARKED),@echo "none of these tests runs alone")

## test-quick: the black-box tests with the machine's own HAProxy, or HAPROXY=PATH; TESTS="FILE ..." for some
test-quick: all pytest-beside
	@$(MAKE) --no-print-directory pytest-alone

## test-matrix: with HAProxy 2.6 and 3.2, and the most important ones with 3.0 and 3.4
test-matrix: all
	@$(MAKE) --no-print-directory PYTEST_ARGS="--matrix $(PYTEST_ARGS)" test-quick

# These modules are not run under sanitizers, because the agent does too little in them (they test what is installed, drivers that have
# sanitizers of their own, or what a browser, HAProxy, SQLite or PostgreSQL does), or only what unit tests and fuzzers do under ASan (finding a
# request's model, key and credential, and what follows from these). `make test-long` has them under ASan and under TSan, the storms too (test-san, test-tsan).
NO_SAN := fleet_page terminal two_agents contract ends view packaging parts house cli example completion scan tap_http tap_usage prices codec evidence latency collisions usage_capture usage_shapes truth storm pool_storm \
	budget_storm logline sdk tap_sdk dashboard dashboard_accessibility dashboard_budgets dashboard_fleet dashboard_operation dashboard_rows savings_page \
	requests_page tasks alerts client_sdk pool_sdk failclosed forwarding http plain upgrade_requests client_limits keeping names upstream_tls clients targets \
	endpoints lengths sizes one_model odd trace client_keys key_connections legs legs_limits pool pool_life pool_requests sampling stream_usage \
	fleet fleet_attack fleet_budgets fleet_facets fleet_verify ship credentials refusals routes legs_tap logchannel
# The other modules; and of those the tests in which the agent, the shipper and the commands read most, or free what a reload replaces.
SANITIZED := $(filter-out $(NO_SAN:%=tests/blackbox/test_%.py),$(sort $(wildcard tests/blackbox/test_*.py))) $(addprefix tests/blackbox/test_, \
	client_keys.py::test_a_key_that_becomes_invalid_is_refused_at_once client_keys.py::test_no_key_passes_the_tap_or_the_legs_of_a_pool \
	credentials.py::test_a_credential_arrives_to_the_byte credentials.py::test_a_file_read_again_when_it_changes credentials.py::test_a_file_with_nothing_usable \
	credentials.py::test_a_link_that_is_moved credentials.py::test_a_token_that_expires credentials.py::test_what_the_log_says_of_credentials \
	refusals.py::test_body refusals.py::test_places_that_disagree_are_never_guessed_in_silence fleet_budgets.py::test_messages_that_are_none \
	logchannel.py::test_reloads_and_a_stall_lose_nothing \
	pool.py::test_a_credential_that_goes_away sampling.py::test_compressed sampling.py::test_a_bomb_is_refused sampling.py::test_frames_that_are_too_small \
	stream_usage.py::test_a_reload_takes_it \
	fleet.py::test_savings_by_gateway fleet.py::test_export_of_the_fleet fleet.py::test_what_a_filter_lets_through \
	fleet_facets.py::test_what_waits_is_counted \
	fleet_attack.py::test_values_that_would_break_what_others_read fleet_attack.py::test_another_copy_takes_the_ledgers_place_in_a_session \
	fleet_verify.py::test_verify_and_resend fleet_verify.py::test_a_resend_beside_the_shipper \
	ship.py::test_a_row_that_postgresql_refuses_holds_nothing_up ship.py::test_a_copy_of_a_ledger_is_noticed ship.py::test_a_backlog_that_is_too_large_is_cut)
# Those that have to do with threads.
THREADED := $(addprefix tests/blackbox/test_,threads.py upgrade.py worker.py run.py spop.py ledger.py joining.py admin.py admin_access.py) \
	tests/blackbox/test_ship.py::test_rows_are_kept_until_postgresql_has_them \
	tests/blackbox/test_otlp.py::test_the_agent_shows_it_and_a_report_of_the_tap_is_waited_for
TSAN = TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 suppressions=$(CURDIR)/tests/static/tsan"

SIDES := beside alone
$(SIDES:%=pytest-asan-%): pytest-asan-%:
	@$(MAKE) --no-print-directory BUILD=build/asan TESTS="$(SANITIZED)" PYTEST_ARGS="--third $(PYTEST_ARGS)" pytest-$*
$(SIDES:%=pytest-tsan-%): pytest-tsan-%:
	@$(TSAN) $(MAKE) --no-print-directory BUILD=build/tsan TESTS="$(THREADED)" pytest-$*

# Leaves out the tests of the package, because they build, and would replace the program under test by one of other flags.
NO_PACKAGE := PYTEST_ARGS="--ignore=tests/blackbox/test_packaging.py"
## test-san: unit tests and black-box tests under ASan and UBSan
test-san: build-asan unit-asan
	@$(MAKE) --no-print-directory BUILD=build/asan $(NO_PACKAGE) pytest-beside pytest-alone

## test-tsan: unit tests and black-box tests under TSan
test-tsan:
	@$(MAKE) --no-print-directory UNITS_tsan= build-tsan unit-tsan
	@$(TSAN) $(MAKE) --no-print-directory BUILD=build/tsan $(NO_PACKAGE) pytest-beside pytest-alone

# Without the tests that measure time, hand over gigabytes, kill children in the middle of SQLite, map more memory areas than valgrind counts, or use up
# the descriptors (valgrind then closes the connection that accept(2) has got). The agent itself: VALGRIND=1, tests/README.md.
VALGRIND_UNITS = $(filter-out %/test_door %/test_sample_plain %/test_oom %/test_master %/test_master_watchdog %/test_master_upgrade %/test_spop_threads %/test_fdpass %/test_handover %/test_store_processes,$(UNIT))
## test-valgrind: unit tests under valgrind
test-valgrind:
	@sh tests/tools/deps build valgrind
	@$(MAKE) --no-print-directory valgrind-units

valgrind-units: $(UNIT)
	@for test in $(VALGRIND_UNITS); do echo "valgrind $$test"; valgrind --quiet --suppressions=tests/static/valgrind --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
		--errors-for-leak-kinds=definite $$test > $(BUILD)/valgrind.log 2>&1 || { tail -40 $(BUILD)/valgrind.log; exit 1; }; done

## test-hard: chaos and attacks with every HAProxy; CHAOS_S=1800 CHAOS_SEED=7 for a long run with all faults at random
test-hard: all test-tools
	$(PYTEST) --whole-matrix --timeout=$(or $(CHAOS_S),100)0 tests/blackbox/test_chaos.py tests/blackbox/test_attack.py

## mutate: each harm of tests/mutations/list, done to a copy of the tree, is noticed by a test; MUTATE=PATTERN, or a number and MUTATE_SEED
mutate:
	@$(PYTHON) tests/mutations/run.py $(if $(MUTATE),'$(MUTATE)') $(if $(MUTATE_SEED),--seed $(MUTATE_SEED))

## static: gcc -fanalyzer, cppcheck and clang-tidy (STATIC=... for some)
# What is excepted, and why: tests/static/exceptions.
static:
	@sh tests/tools/deps build static
	@tests/static/run build $(STATIC)

## audit: how the binary is hardened
audit: all
	@tests/static/audit $(BUILD)/spoa-llm

# What packages and containers do, in containers; as root. Where there can be no container, a target says "SKIPPED: why" and succeeds; the
# script that it runs ends with 77 then.
## test-deb: the package in a Debian with systemd, in a container
test-deb:
	@sh tests/tools/deps build deb packaging compose
	@sh tests/containers/systemd/run || [ $$? = 77 ]

## test-root: README's quick start in a Debian 12 with nothing but make and git, in a clone of what is committed
test-root:
	@sh tests/tools/deps root
	@sh tests/containers/root/run || [ $$? = 77 ]

## test-compose: docker-compose.yml, by podman
test-compose:
	@sh tests/tools/deps compose
	@sh tests/containers/compose/run || [ $$? = 77 ]

.PHONY: test test-long lint format-check format units test-unit $(KINDS:%=build-%) $(KINDS:%=unit-%) build-fuzz warnings-clang warnings fuzzers fuzz differential fuzz-coverage \
	coverage-all test-tools pytest-beside pytest-alone test-quick test-matrix $(SIDES:%=pytest-asan-%) $(SIDES:%=pytest-tsan-%) test-san \
	test-tsan test-valgrind valgrind-units test-hard mutate static audit test-deb test-root test-compose
