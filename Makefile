# spoa-llm. `make help` lists the targets; those of the tests and benchmarks are in tests/tests.mk and tests/bench/bench.mk.
# Another compiler or a sanitizer builds in a folder of its own: make CC=clang BUILD=build/clang, make SAN=address,undefined BUILD=build/asan.

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
# Without this a decision takes up to 5 % longer or shorter, by where its functions happen to begin.
OPT := -O2 -falign-functions=64
# Link-time optimization takes a sixth off the instructions of a decision. Tests link the same objects without it, which is faster to build;
# where none is built, FAT= compiles the objects in a third of the time.
FAT ?= -ffat-lto-objects
ifeq ($(findstring clang,$(CC)),)
OPT += -flto=auto $(FAT)
# The link compiles the code a second time, without a check for null that has already warned in the first pass.
LTO := -Wno-null-dereference
NO_LTO := -fno-lto
endif
else
OPT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=undefined
endif

# A sanitizer's report needs only the numbers of lines (-g1), with which compiling takes a fifth less time.
CFLAGS ?= $(if $(SAN),-g1,-g)
CPPFLAGS := -Iagent -DSPOA_LLM_VERSION='"$(VERSION)"' -D_GNU_SOURCE
ALL_CFLAGS := -std=c11 $(OPT) $(WARN) -Werror $(HARDEN) $(CFLAGS)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(shell uname -m),x86_64)
# Debian's start files carry no mark of CET, and one object without it takes it from the whole program.
LDFLAGS += -Wl,-z,ibt,-z,shstk
endif
LIBS = -lev -lcjson -lsqlite3 -lz -lzstd -lbrotlidec -lmicrohttpd -lpthread -lm

SRC := $(sort $(wildcard agent/*.c agent/*/*.c))
OBJ := $(SRC:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/prices.o $(BUILD)/obj/rules.o $(BUILD)/obj/page.o

##@ Build and install
## all: the agent, in build/spoa-llm (what `make` alone does)
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

## demo: the gateway with mock upstreams and a handful of requests, on port DEMO_PORT=8080
demo:
	@sh tests/tools/deps build demo
	@$(MAKE) --no-print-directory all
	@DEMO_ONCE=$(DEMO_ONCE) DEMO_PORT=$(or $(DEMO_PORT),8080) $(PYTHON) tests/rig/demo.py

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/spoa-llm
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
SYSCTLDIR ?= $(PREFIX)/lib/sysctl.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SYSCONFDIR := /etc
INSTALL = install
EXAMPLES := haproxy.cfg.example spoe.conf dist/haproxy-existing.cfg \
	$(wildcard dist/alerts.yml dist/grafana.json dist/grafana-fleet.json dist/prometheus.yml)

## install: the agent, its units and documents; PREFIX=/usr/local DESTDIR=
# A configuration that is there stays. llm.cfg is haproxy.cfg.example to be read beside a configuration that has a log of its own,
# and beside the backends that `spoa-llm backends` makes.
install: $(BUILD)/spoa-llm
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(DOCDIR)/docs $(DESTDIR)$(DOCDIR)/examples \
		$(DESTDIR)$(UNITDIR)/haproxy.service.d $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(SYSCTLDIR) \
		$(DESTDIR)$(TMPFILESDIR) $(DESTDIR)$(SYSCONFDIR)/spoa-llm
	$(INSTALL) -m 0755 $(BUILD)/spoa-llm $(DESTDIR)$(BINDIR)/spoa-llm
	$(INSTALL) -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	$(BUILD)/spoa-llm completion bash | $(INSTALL) -m 0644 /dev/stdin $(DESTDIR)$(BASHDIR)/spoa-llm
	$(BUILD)/spoa-llm completion zsh | $(INSTALL) -m 0644 /dev/stdin $(DESTDIR)$(ZSHDIR)/_spoa-llm
	$(BUILD)/spoa-llm completion fish | $(INSTALL) -m 0644 /dev/stdin $(DESTDIR)$(FISHDIR)/spoa-llm.fish
	$(INSTALL) -m 0644 dist/spoa-llm.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 0644 dist/spoa-llm.json.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 0644 dist/spoa-llm-events.7 $(DESTDIR)$(MANDIR)/man7/
	$(INSTALL) -m 0644 README.md SECURITY.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/
	$(INSTALL) -m 0644 docs/*.md $(DESTDIR)$(DOCDIR)/docs/
	$(INSTALL) -m 0644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples/
	sed '/^# ---- backends/,$$d; s/^    \(log stdout \)/    #\1/' haproxy.cfg.example > $(DESTDIR)$(DOCDIR)/examples/llm.cfg
	chmod 0644 $(DESTDIR)$(DOCDIR)/examples/llm.cfg
	for unit in spoa-llm.service spoa-llm-tap.service spoa-llm-ship.service spoa-llm-token@.service spoa-llm-prices.service; do \
		sed 's|@BINDIR@|$(BINDIR)|' dist/$$unit > $(DESTDIR)$(UNITDIR)/$$unit && chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit || exit; done
	$(INSTALL) -m 0644 dist/spoa-llm.socket dist/spoa-llm-log.socket dist/spoa-llm-report.socket dist/spoa-llm-token@.timer dist/spoa-llm-prices.timer $(DESTDIR)$(UNITDIR)/
	$(INSTALL) -m 0644 dist/haproxy.service.d.conf $(DESTDIR)$(UNITDIR)/haproxy.service.d/spoa-llm.conf
	$(INSTALL) -m 0644 dist/spoa-llm.sysusers $(DESTDIR)$(SYSUSERSDIR)/spoa-llm.conf
	$(INSTALL) -m 0644 dist/spoa-llm.sysctl $(DESTDIR)$(SYSCTLDIR)/50-spoa-llm.conf
	$(INSTALL) -m 0644 dist/spoa-llm.tmpfiles $(DESTDIR)$(TMPFILESDIR)/spoa-llm.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/spoa-llm/spoa-llm.json ] || \
		$(INSTALL) -m 0644 dist/spoa-llm.json $(DESTDIR)$(SYSCONFDIR)/spoa-llm/spoa-llm.json

## deb: build/spoa-llm_VERSION_ARCH.deb
deb:
	@sh tests/tools/deps build deb
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) VERSION=$(VERSION) MAKE="$(MAKE)" sh dist/deb/build

## man: the manual pages, from the tables of options and events
man: $(BUILD)/spoa-llm
	@dist/manual $(BUILD)/spoa-llm

PYTHON := /usr/bin/python3

include dist/embed.mk tests/tests.mk tests/bench/bench.mk

## clean: removes build/, HAProxys and images that were fetched too
clean:
	rm -rf build

## help: this list
help:
	@awk '/^##@ / { printf "%s%s\n", n++ ? "\n" : "", substr($$0, 5) } \
		/^## [a-z]/ { split($$0, part, ": "); printf "  make %-19s %s\n", substr(part[1], 4), substr($$0, length(part[1]) + 3) }' \
		Makefile tests/tests.mk tests/bench/bench.mk

-include $(OBJ:.o=.d)
.PHONY: all clean deb demo FORCE help install man
