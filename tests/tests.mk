# ---- tests: `make test` is everything, and what CI runs

PYTEST = SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) -m pytest -q -p no:cacheprovider $(PYTEST_ARGS)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))

test:
	@sh tests/tools/deps build test packaging
	@$(MAKE) --no-print-directory -j2 all
	@$(MAKE) --no-print-directory lint audit test-unit
	@$(MAKE) --no-print-directory -j2 CC=clang BUILD=build/clang all
	@$(MAKE) --no-print-directory CC=clang BUILD=build/clang test-unit
	@$(MAKE) --no-print-directory bench-instructions
	@$(MAKE) --no-print-directory test-matrix
	@$(MAKE) --no-print-directory test-san
	@$(MAKE) --no-print-directory test-tsan TESTS="$(THREADED)"
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory test-deb test-root test-compose

lint: $(BUILD)/spoa-llm format-check
	@tests/tools/layers
	@$(PYTHON) tests/tools/options.py
	@$(PYTHON) tests/tools/events.py
	@dist/manual --check $(BUILD)/spoa-llm

# The style is .clang-format's, by Debian 12's clang-format 14: other versions lay some lines out otherwise.
FORMATTED = $(sort $(wildcard agent/*.[ch] agent/*/*.[ch] tests/*/*.[ch]))
format-check:
	@sh tests/tools/deps format
	@clang-format --dry-run -Werror $(FORMATTED)

format:
	@sh tests/tools/deps format
	@clang-format -i $(FORMATTED)

$(BUILD)/unit/%: tests/unit/%.c $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -Itests/unit $(NO_LTO) $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

test-unit: $(UNIT)
	@for test in $(UNIT); do echo "$$test"; $$test || exit 1; done

# ---- fuzzers: libFuzzer under ASan and UBSan. Each first runs its corpus, then FUZZ_S seconds of its own.

FUZZ_S ?= 60
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

fuzz:
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined BUILD=build/fuzz fuzz-all

# Two at a time.
fuzz-all: $(FUZZ:%=$(BUILD)/fuzz_%)
	@printf '%s\n' $(FUZZ) | xargs -P2 -n1 tests/fuzz/run $(BUILD) $(FUZZ_S)

# Which lines of spop/, sample/ and base/ the corpora reach by themselves.
fuzz-coverage:
	@sh tests/tools/deps build coverage
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined BUILD=build/coverage \
		CFLAGS='-g -fprofile-instr-generate -fcoverage-mapping' coverage-all

coverage-all: $(FUZZ:%=$(BUILD)/fuzz_%)
	@tests/fuzz/coverage $(BUILD) 95

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(OBJ)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer,address,undefined $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

# The benchmarks' load generator makes a million decisions in a test too, and their store a million rows. And an agent of another
# version, to which no connection can be handed over.
TEST_TOOLS := $(addprefix build/,bench/spop_load bench/ledger_store other-version failmalloc.so selfexe.so slowinflate.so)
ifeq ($(BUILD),build)
test-tools: $(TEST_TOOLS)
else
test-tools:
	@$(MAKE) --no-print-directory CC=gcc SAN= BUILD=build $(TEST_TOOLS)
endif

VERSIONED := agent/serve/takeover.c agent/net/conn_handover.c
$(BUILD)/other-version: $(VERSIONED) $(OBJ)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(NO_LTO) $(CPPFLAGS) -DHANDOVER_VERSION=2 $(LDFLAGS) -o $@ $(VERSIONED) \
		$(filter-out $(VERSIONED:%.c=$(BUILD)/obj/%.o),$(OBJ)) $(LIBS)

# What is preloaded into the agent: tests/preload/failmalloc.c, tests/preload/selfexe.c, tests/preload/slowinflate.c.
$(BUILD)/%.so: tests/preload/%.c
	@echo "  CC $@"
	@$(CC) -std=c11 -O1 $(WARN) -Werror -fPIC -shared -o $@ $<

# One HAProxy, the machine's own; HAPROXY=PATH for another.
test-quick: all test-tools
	$(PYTEST) tests/blackbox

# HAProxy 2.6, 3.0 and 3.2.
test-matrix: all test-tools
	$(PYTEST) --matrix tests/blackbox

# The same under ASan and UBSan, with the machine's own HAProxy.
test-san:
	@$(MAKE) --no-print-directory -j2 SAN=address,undefined BUILD=build/asan all
	@$(MAKE) --no-print-directory SAN=address,undefined BUILD=build/asan test-unit
	@$(MAKE) --no-print-directory BUILD=build/asan run-san

# Not again: what is installed, which is not the agent's code.
run-san: test-tools
	$(PYTEST) --ignore=tests/blackbox/test_packaging.py tests/blackbox

# The same under TSan, built by clang. TESTS: which.
TESTS ?= tests/blackbox
# Those that CI runs so: whatever has to do with threads.
THREADED := $(addprefix tests/blackbox/test_,threads.py upgrade.py worker.py run.py spop.py ledger.py admin.py admin_access.py)
test-tsan:
	@$(MAKE) --no-print-directory -j2 CC=clang SAN=thread BUILD=build/tsan all
	@$(MAKE) --no-print-directory CC=clang SAN=thread BUILD=build/tsan test-unit
	@TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 suppressions=$(CURDIR)/tests/static/tsan" \
		$(MAKE) --no-print-directory BUILD=build/tsan run-these

run-these: test-tools
	$(PYTEST) $(TESTS)

# Not those that measure time, hand over gigabytes, or kill children in the middle of SQLite. The agent itself: VALGRIND=1, tests/README.md.
VALGRIND_UNITS = $(filter-out %/test_oom %/test_master %/test_master_watchdog %/test_master_upgrade %/test_spop_threads %/test_fdpass %/test_handover %/test_store,$(UNIT))
test-valgrind:
	@sh tests/tools/deps build valgrind
	@$(MAKE) --no-print-directory valgrind-units

valgrind-units: $(UNIT)
	@for test in $(VALGRIND_UNITS); do echo "valgrind $$test"; valgrind --quiet --suppressions=tests/static/valgrind --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
		--errors-for-leak-kinds=definite $$test > $(BUILD)/valgrind.log 2>&1 || { tail -40 $(BUILD)/valgrind.log; exit 1; }; done

# Chaos and attacks with all three HAProxys; CHAOS_S=1800 CHAOS_SEED=7 for a long run with all faults at random.
test-hard: all test-tools
	$(PYTEST) --matrix tests/blackbox/test_chaos.py tests/blackbox/test_attack.py

# Each of tests/mutations/list is done to a copy of the tree, which some test has to notice. MUTATE: a pattern, or a number: so many
# of them, by MUTATE_SEED.
mutate:
	@$(PYTHON) tests/mutations/run.py $(if $(MUTATE),'$(MUTATE)') $(if $(MUTATE_SEED),--seed $(MUTATE_SEED))

# gcc -fanalyzer, cppcheck and clang-tidy (STATIC=... for some); what is excepted, and why: tests/static/exceptions.
static:
	@sh tests/tools/deps build static
	@tests/static/run build $(STATIC)

# How the binary is hardened.
audit: all
	@tests/static/audit $(BUILD)/spoa-llm

# What packages and containers do, in containers; as root. Where there can be none it says "SKIPPED: why", and ends well; the
# scripts themselves end with 77 then.
test-deb:
	@sh tests/tools/deps build deb packaging compose
	@sh tests/containers/systemd/run || [ $$? = 77 ]

# README's quick start in a Debian 12 with nothing but make and git, in a clone of what is committed.
test-root:
	@sh tests/tools/deps root
	@sh tests/containers/root/run $(WAYS) || [ $$? = 77 ]

test-compose:
	@sh tests/tools/deps compose
	@sh tests/containers/compose/run || [ $$? = 77 ]

