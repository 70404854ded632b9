# spoa-llm. The targets a person types: all, demo, test, clean; the parts of test are below it.
#
#   make                 the agent, in build/spoa-llm
#   make CC=clang        with another compiler, in a folder of its own: make CC=clang BUILD=build/clang
#   make SAN=address,undefined BUILD=build/asan

BUILD ?= build
CC = gcc
SAN ?=
VERSION := $(shell sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wnull-dereference -Wswitch-enum -Wdouble-promotion
HARDEN := -fstack-protector-strong -ftrivial-auto-var-init=zero -fno-common -fPIE
ifneq ($(findstring clang,$(CC)),)
WARN += -Wcomma -Wassign-enum -Wconditional-uninitialized -Wshorten-64-to-32
# clang 14 wants to be told that zeroing is meant.
HARDEN += $(shell echo | $(CC) -ftrivial-auto-var-init=zero -E - >/dev/null 2>&1 || \
	echo -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
else
WARN += -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wimplicit-fallthrough=5
endif
ifneq ($(filter x86_64 i%86,$(shell uname -m)),)
HARDEN += -fcf-protection=full -fstack-clash-protection
endif
ifeq ($(SAN),)
HARDEN += -D_FORTIFY_SOURCE=3
# Where a function happens to begin would otherwise be worth 5 % of a decision, by lot.
OPT := -O2 -falign-functions=64
# A sixth fewer instructions a decision. Tests link the same objects without it, which is faster to build.
ifeq ($(findstring clang,$(CC)),)
OPT += -flto=auto -ffat-lto-objects
# What is compiled a second time at the link has been warned of at the first.
LTO := -Wno-null-dereference
NO_LTO := -fno-lto
endif
else
OPT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=undefined
endif

CFLAGS ?= -g
CPPFLAGS := -Iagent -DSPOA_LLM_VERSION='"$(VERSION)"' -D_GNU_SOURCE
ALL_CFLAGS := -std=c11 $(OPT) $(WARN) -Werror $(HARDEN) $(CFLAGS)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(shell uname -m),x86_64)
# Debian's start files carry no mark of CET, and one object without it takes it from the whole program.
LDFLAGS += -Wl,-z,ibt,-z,shstk
endif
LIBS = -lev -lcjson -lsqlite3 -lz -lzstd -lbrotlidec -lmicrohttpd -lpthread

SRC := $(sort $(wildcard agent/*.c agent/*/*.c))
OBJ := $(SRC:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/prices.o $(BUILD)/obj/page.o

all: $(BUILD)/spoa-llm

$(BUILD)/spoa-llm: $(OBJ)
	@echo "  LD $@"
	@$(CC) $(ALL_CFLAGS) $(LTO) $(LDFLAGS) -o $@ $(OBJ) $(LIBS)

# What was built with other flags is built again.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(ALL_CFLAGS) $(CPPFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(CPPFLAGS)' > $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# ---- demo

demo:
	@sh tests/deps build demo
	@$(MAKE) --no-print-directory all
	@DEMO_ONCE=$(DEMO_ONCE) DEMO_PORT=$(or $(DEMO_PORT),8080) $(PYTHON) tests/demo.py

# ---- install: make install [DESTDIR=...] [PREFIX=/usr/local]; make deb

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/spoa-llm
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
SYSCONFDIR := /etc
INSTALL = install
EXAMPLES := haproxy.cfg.example spoe.conf dist/haproxy-existing.cfg \
	$(wildcard dist/alerts.yml dist/grafana.json dist/prometheus.yml)

# A configuration that is there stays. llm.cfg is haproxy.cfg.example to be read beside a configuration that has a log of its own,
# and beside the backends that `spoa-llm backends` makes.
install: $(BUILD)/spoa-llm
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(DOCDIR)/examples \
		$(DESTDIR)$(UNITDIR)/haproxy.service.d $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(SYSCONFDIR)/spoa-llm
	$(INSTALL) -m 0755 $(BUILD)/spoa-llm $(DESTDIR)$(BINDIR)/spoa-llm
	$(INSTALL) -m 0644 dist/spoa-llm.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 0644 dist/spoa-llm.json.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 0644 README.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/
	$(INSTALL) -m 0644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples/
	sed '/^# ---- backends/,$$d; s/^    \(log stdout \)/    #\1/' haproxy.cfg.example > $(DESTDIR)$(DOCDIR)/examples/llm.cfg
	chmod 0644 $(DESTDIR)$(DOCDIR)/examples/llm.cfg
	sed 's|@BINDIR@|$(BINDIR)|' dist/spoa-llm.service > $(DESTDIR)$(UNITDIR)/spoa-llm.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/spoa-llm.service
	$(INSTALL) -m 0644 dist/spoa-llm.socket dist/spoa-llm-log.socket $(DESTDIR)$(UNITDIR)/
	$(INSTALL) -m 0644 dist/haproxy.service.d.conf $(DESTDIR)$(UNITDIR)/haproxy.service.d/spoa-llm.conf
	$(INSTALL) -m 0644 dist/spoa-llm.sysusers $(DESTDIR)$(SYSUSERSDIR)/spoa-llm.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/spoa-llm/spoa-llm.json ] || \
		$(INSTALL) -m 0644 dist/spoa-llm.json $(DESTDIR)$(SYSCONFDIR)/spoa-llm/spoa-llm.json

# build/spoa-llm_VERSION_ARCH.deb
deb:
	@sh tests/deps build deb
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) VERSION=$(VERSION) MAKE="$(MAKE)" sh dist/deb/build

# The man pages, from the option table.
man: $(BUILD)/spoa-llm
	@dist/manual $(BUILD)/spoa-llm

# ---- tests: `make test` is everything, and what CI runs

PYTHON := /usr/bin/python3
PYTEST = SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) -m pytest -q -p no:cacheprovider $(PYTEST_ARGS)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))

test:
	@sh tests/deps build test packaging
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

lint: $(BUILD)/spoa-llm
	@tests/layers
	@$(PYTHON) tests/options.py
	@dist/manual --check $(BUILD)/spoa-llm

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
	@sh tests/deps build coverage
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

VERSIONED := agent/takeover.c agent/net/conn_handover.c
$(BUILD)/other-version: $(VERSIONED) $(OBJ)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(NO_LTO) $(CPPFLAGS) -DHANDOVER_VERSION=2 $(LDFLAGS) -o $@ $(VERSIONED) \
		$(filter-out $(VERSIONED:%.c=$(BUILD)/obj/%.o),$(OBJ)) $(LIBS)

# What is preloaded into the agent: tests/failmalloc.c, tests/selfexe.c, tests/slowinflate.c.
$(BUILD)/%.so: tests/%.c
	@echo "  CC $@"
	@$(CC) -std=c11 -O1 $(WARN) -Werror -fPIC -shared -o $@ $<

# One HAProxy, the machine's own; HAPROXY=PATH for another.
test-quick: all test-tools
	$(PYTEST) tests

# HAProxy 2.6, 3.0 and 3.2.
test-matrix: all test-tools
	$(PYTEST) --matrix tests

# The same under ASan and UBSan, with the machine's own HAProxy.
test-san:
	@$(MAKE) --no-print-directory -j2 SAN=address,undefined BUILD=build/asan all
	@$(MAKE) --no-print-directory SAN=address,undefined BUILD=build/asan test-unit
	@$(MAKE) --no-print-directory BUILD=build/asan run-san

# Not again: what is installed, which is not the agent's code.
run-san: test-tools
	$(PYTEST) --ignore=tests/test_packaging.py tests

# The same under TSan, built by clang. TESTS: which.
TESTS ?= tests
# Those that CI runs so: whatever has to do with threads.
THREADED := $(addprefix tests/test_,threads.py upgrade.py worker.py run.py spop.py ledger.py admin.py admin_access.py)
test-tsan:
	@$(MAKE) --no-print-directory -j2 CC=clang SAN=thread BUILD=build/tsan all
	@$(MAKE) --no-print-directory CC=clang SAN=thread BUILD=build/tsan test-unit
	@TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 suppressions=$(CURDIR)/tests/static/tsan" \
		$(MAKE) --no-print-directory BUILD=build/tsan run-these

run-these: test-tools
	$(PYTEST) $(TESTS)

# Not those that measure time, hand over gigabytes, or kill children in the middle of SQLite. The agent itself: VALGRIND=1, tests/README.md.
VALGRIND_UNITS = $(filter-out %/test_oom %/test_master %/test_workers %/test_fdpass %/test_handover %/test_store,$(UNIT))
test-valgrind:
	@sh tests/deps build valgrind
	@$(MAKE) --no-print-directory valgrind-units

valgrind-units: $(UNIT)
	@for test in $(VALGRIND_UNITS); do echo "valgrind $$test"; valgrind --quiet --suppressions=tests/static/valgrind --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
		--errors-for-leak-kinds=definite $$test > $(BUILD)/valgrind.log 2>&1 || { tail -40 $(BUILD)/valgrind.log; exit 1; }; done

# Chaos and attacks with all three HAProxys; CHAOS_S=1800 CHAOS_SEED=7 for a long run with all faults at random.
test-hard: all test-tools
	$(PYTEST) --matrix tests/test_chaos.py tests/test_attack.py

# Each of tests/mutations/list is done to a copy of the tree, which some test has to notice. MUTATE: a pattern, or a number: so many
# of them, by MUTATE_SEED.
mutate:
	@$(PYTHON) tests/mutations/run.py $(if $(MUTATE),'$(MUTATE)') $(if $(MUTATE_SEED),--seed $(MUTATE_SEED))

# gcc -fanalyzer, cppcheck and clang-tidy (STATIC=... for some); what is excepted, and why: tests/static/exceptions.
static:
	@sh tests/deps build static
	@tests/static/run build $(STATIC)

# How the binary is hardened.
audit: all
	@tests/static/audit $(BUILD)/spoa-llm

# What packages and containers do, in containers; as root. Where there can be none it says "SKIPPED: why", and ends well; the
# scripts themselves end with 77 then.
test-deb:
	@sh tests/deps build deb packaging compose
	@sh tests/systemd/run || [ $$? = 77 ]

# README's quick start in a Debian 12 with nothing but make and git, in a clone of what is committed.
test-root:
	@sh tests/deps root
	@sh tests/root/run $(WAYS) || [ $$? = 77 ]

test-compose:
	@sh tests/deps compose
	@sh tests/compose/run || [ $$? = 77 ]

# The price table that ships with the project, as an array of its bytes.
$(BUILD)/prices.c: dist/prices.json
	@mkdir -p $(@D)
	@{ echo '#include "ledger/price_table.h"'; echo 'const char price_builtin[] = {'; \
		od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
		echo '};'; echo 'const size_t price_builtin_len = sizeof price_builtin;'; } > $@

# The dashboard: our own files, and Chart.js as Debian's libjs-chart.js has it.
CHART_JS := $(firstword $(wildcard $(addprefix /usr/share/javascript/chart.js/,chart.umd.min.js chart.umd.js chart.min.js chart.js)))
PAGE_DIR := agent/ops/page
PAGE_FILES := dashboard.js plots.js report.js figures.js dashboard.css
PAGE := $(PAGE_DIR)/index.html $(PAGE_FILES:%=$(PAGE_DIR)/%) $(CHART_JS)
$(BUILD)/page.c: $(PAGE) tests/embed
	@mkdir -p $(@D)
	@[ -n "$(CHART_JS)" ] || { echo "Chart.js is missing: Debian's package libjs-chart.js has it" >&2; exit 1; }
	@sh tests/embed /=$(PAGE_DIR)/index.html $(foreach f,$(PAGE_FILES),/$(f)=$(PAGE_DIR)/$(f)) /chart.js=$(CHART_JS) \
		> $@.new && mv $@.new $@

$(BUILD)/obj/prices.o $(BUILD)/obj/page.o: $(BUILD)/obj/%.o: $(BUILD)/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -c -o $@ $<

# ---- benchmarks

# Finding the model in 4 KB, 64 KB and 1 MB of chat, beside simdjson, cJSON and a byte loop.
bench-scan: $(OBJ)
	@sh tests/deps bench
	@mkdir -p $(BUILD)/bench
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -Itests/bench -c -o $(BUILD)/bench/scan_ours.o tests/bench/scan_ours.c
	@g++ -O2 -std=c++17 -Itests/bench -o $(BUILD)/bench/scan tests/bench/scan.cc $(BUILD)/bench/scan_ours.o \
		$(filter-out %/main.o,$(OBJ)) -lsimdjson $(LIBS)
	@$(BUILD)/bench/scan

# What the ledger takes in, parses and commits, beside bare SQLite; and a report over BENCH_ROWS requests.
BENCH_ROWS ?= 10000000
bench-ledger: $(BUILD)/bench/ledger_intake $(BUILD)/bench/ledger_store
	@dir=$$(mktemp -d $(BUILD)/bench/ledger.XXXXXX) && trap 'rm -rf "$$dir"' EXIT && \
		$(BUILD)/bench/ledger_intake "$$dir" && $(BUILD)/bench/ledger_store rate "$$dir" && \
		$(BUILD)/bench/ledger_store fill "$$dir" $(BENCH_ROWS) && $(BUILD)/bench/ledger_store report "$$dir"

$(BUILD)/bench/ledger_%: tests/bench/ledger_%.c $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(NO_LTO) $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

# Everything the README says about speed, side by side; BENCH="--quick" and others: tests/bench/bench.py --help.
BENCH_TOOLS := $(addprefix $(BUILD)/bench/,spop_load null_agent sse)
bench:
	@sh tests/deps build demo bench
	@$(MAKE) --no-print-directory all $(BENCH_TOOLS)
	@SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) tests/bench/bench.py $(BENCH)

# The same in under a minute.
bench-quick:
	@$(MAKE) --no-print-directory bench BENCH="--quick $(BENCH)"

# Instructions of a decision, as callgrind counts them: exit 1 where they are 5 % above tests/bench/instructions.json.
bench-instructions:
	@sh tests/deps build bench-instructions
	@$(MAKE) --no-print-directory $(BUILD)/bench/decision_driver
	@$(PYTHON) tests/bench/instructions.py $(BUILD)/bench/decision_driver $(UPDATE)

$(BUILD)/bench/null_agent $(BUILD)/bench/sse: $(BUILD)/bench/%: tests/bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $< -lpthread

$(BUILD)/bench/spop_load $(BUILD)/bench/decision_driver: $(BUILD)/bench/%: tests/bench/%.c tests/bench/notify.h $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(LTO) $(CPPFLAGS) -Itests/bench $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

clean:
	rm -rf build

-include $(OBJ:.o=.d)
.PHONY: all test-tools bench bench-quick bench-instructions bench-scan bench-ledger demo test lint fuzz fuzz-all fuzz-coverage coverage-all test-unit test-quick \
	test-matrix test-san run-san test-tsan test-valgrind valgrind-units test-hard run-these mutate static audit install deb man test-deb test-root test-compose clean FORCE
