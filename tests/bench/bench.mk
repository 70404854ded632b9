##@ Benchmarks

## bench-scan: finding the model in 4 KB, 64 KB and 1 MB of chat, beside simdjson, cJSON and a byte loop
bench-scan: $(OBJ)
	@sh tests/tools/deps bench
	@mkdir -p $(BUILD)/bench
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -Itests/bench -c -o $(BUILD)/bench/scan_ours.o tests/bench/scan_ours.c
	@g++ -O2 -std=c++17 -Itests/bench -o $(BUILD)/bench/scan tests/bench/scan.cc $(BUILD)/bench/scan_ours.o \
		$(filter-out %/main.o,$(OBJ)) -lsimdjson $(LIBS)
	@$(BUILD)/bench/scan

## bench-ledger: what the ledger takes in, parses and commits, beside bare SQLite; reports over BENCH_ROWS requests
BENCH_ROWS ?= 10000000
bench-ledger: $(BUILD)/bench/ledger_intake $(BUILD)/bench/ledger_store
	@dir=$$(mktemp -d $(BUILD)/bench/ledger.XXXXXX) && trap 'rm -rf "$$dir"' EXIT && \
		$(BUILD)/bench/ledger_intake "$$dir" && $(BUILD)/bench/ledger_store rate "$$dir" && \
		$(BUILD)/bench/ledger_store fill "$$dir" $(BENCH_ROWS) && $(BUILD)/bench/ledger_store report "$$dir" && \
		$(BUILD)/bench/ledger_store whole "$$dir"

$(BUILD)/bench/ledger_%: tests/bench/ledger_%.c $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(NO_LTO) $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

## bench-fleet: rows a second from a ledger into PostgreSQL, beside psql with the same statements; BENCH="--gateways 8 --check 0.8"
bench-fleet:
	@sh tests/tools/deps build test
	@$(MAKE) --no-print-directory all
	@$(BENCH_RUN)/fleet.py $(BENCH)

## bench-shipping: what the ledger takes in while its rows are shipped, beside the same without a shipper; BENCH="--check 0.95"
bench-shipping: $(BUILD)/bench/ledger_intake
	@sh tests/tools/deps build test
	@$(MAKE) --no-print-directory all
	@$(BENCH_RUN)/shipping.py $(BENCH)

## bench-year: how long `savings --fleet` takes over a year of twenty gateways, and how large its sums are; BENCH="--days 30"
bench-year:
	@sh tests/tools/deps build test
	@$(MAKE) --no-print-directory all
	@$(BENCH_RUN)/year.py $(BENCH)

## bench-tap-usage: nanoseconds an event, of reading the usage of streams
bench-tap-usage: $(BUILD)/bench/tap_usage
	@$<

## bench: what docs/speed.md says, in half an hour; BEFORE=COMMIT: that commit's memory beside; BENCH="--rounds 3" and others: tests/bench/bench.py --help
BENCH_TOOLS := $(addprefix $(BUILD)/bench/,http_load spop_load null_agent sse copier)
BENCH_RUN = SPOA_LLM=$(CURDIR)/$(BUILD)/spoa-llm $(PYTHON) tests/bench
bench:
	@sh tests/tools/deps build demo bench
	@$(MAKE) --no-print-directory all $(BENCH_TOOLS)
	@$(BENCH_RUN)/bench.py $(if $(BEFORE),--before $(BEFORE)) $(BENCH)

## bench-quick: a part of `make bench`, in about a minute
bench-quick:
	@$(MAKE) --no-print-directory bench BENCH="--quick $(BENCH)"

## bench-odd: what becomes of odd requests at spoa-llm, at a Lua script, at a small Python gateway
bench-odd:
	@sh tests/tools/deps build demo bench
	@$(MAKE) --no-print-directory all
	@$(BENCH_RUN)/odd.py

## bench-fill: writes the tables of the last bench and bench-odd into README.md, docs/speed.md and docs/speed-figures.md
bench-fill:
	@$(BENCH_RUN)/bench.py --fill

## bench-instructions: instructions of a decision, by callgrind; fails 5 % above tests/bench/instructions.json; UPDATE=--update
bench-instructions:
	@sh tests/tools/deps build bench-instructions
	@$(MAKE) --no-print-directory $(BUILD)/bench/decision_driver
	@$(PYTHON) tests/bench/instructions.py $(BUILD)/bench/decision_driver $(UPDATE)

## bench-record: instructions of the ledger for a record, by function, by callgrind; BENCH="--batch 100" and others: tests/bench/record.py --help
bench-record: $(BUILD)/bench/ledger_record
	@sh tests/tools/deps build bench-instructions
	@$(BENCH_RUN)/record.py $< $(BENCH)

## bench-end: instructions of HAProxy for the end of a request, by callgrind; BEFORE=COMMIT counts those of a commit's haproxy.cfg beside
bench-end:
	@sh tests/tools/deps build demo bench-instructions
	@$(MAKE) --no-print-directory all
	@$(BENCH_RUN)/end.py $(BEFORE)

## bench-plain: what the rules for the tap cost a request that does not go through it, by callgrind; fails above 3 %
## bench-legs: what HAProxy's second leg costs a stream, in all and by rule, by callgrind
## bench-keyed: what the key of a client costs a request, in HAProxy's instructions; fails above 2 % (5 or 6 % in rarer places); BENCH="--cpu 5": in CPU time, without and with the ledger
## bench-functions: which functions of HAProxy take the instructions of a request, by callgrind
bench-plain bench-legs bench-keyed bench-functions: bench-%:
	@sh tests/tools/deps build demo bench-instructions
	@$(MAKE) --no-print-directory all
	@$(if $(findstring --cpu,$(BENCH)),$(MAKE) --no-print-directory $(BENCH_TOOLS))
	@$(BENCH_RUN)/$*.py $(BENCH)

## bench-where: where the CPU time of a request goes, in HAProxy, in the kernel and in the agent, by perf, in about ten minutes; BENCH="--sizes 1 --ways cl" and others
bench-where:
	@sh tests/tools/deps build demo bench bench-where
	@$(MAKE) --no-print-directory all $(BENCH_TOOLS)
	@$(BENCH_RUN)/where.py $(BENCH)

$(addprefix $(BUILD)/bench/,http_load null_agent sse copier): $(BUILD)/bench/%: tests/bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $< -lpthread

$(addprefix $(BUILD)/bench/,spop_load decision_driver tap_usage): $(BUILD)/bench/%: tests/bench/%.c tests/bench/notify.h $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(LTO) $(CPPFLAGS) -Itests/bench $(LDFLAGS) -o $@ $< $(filter-out %/main.o,$(OBJ)) $(LIBS)

.PHONY: bench-fleet bench-shipping bench-year bench-odd bench-fill bench-scan bench-tap-usage bench-ledger bench bench-quick bench-instructions bench-record bench-end bench-plain bench-legs bench-keyed bench-functions bench-where
