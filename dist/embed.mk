# ---- what is built into the agent as arrays of bytes: the price table, the rules of alerts and the dashboard

# The price table that ships with the project, as an array of its bytes.
$(BUILD)/prices.c: dist/prices.json
	@mkdir -p $(@D)
	@{ echo '#include "ledger/price_table.h"'; echo 'const char price_builtin[] = {'; \
		od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
		echo '};'; echo 'const size_t price_builtin_len = sizeof price_builtin;'; } > $@

# Prometheus's rules, of which the agent takes the names and the advice of its own alerts.
$(BUILD)/rules.c: dist/alerts.yml
	@mkdir -p $(@D)
	@{ echo '#include "ops/alerts_text.h"'; echo 'const char alerts_yml[] = {'; \
		od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
		echo '};'; echo 'const size_t alerts_yml_len = sizeof alerts_yml;'; } > $@

# The dashboard: our own files, and Chart.js as Debian's libjs-chart.js has it.
CHART_JS := $(firstword $(wildcard $(addprefix /usr/share/javascript/chart.js/,chart.umd.min.js chart.umd.js chart.min.js chart.js)))
PAGE_DIR := agent/ops/page
PAGE_FILES := $(sort $(notdir $(wildcard $(PAGE_DIR)/*.js $(PAGE_DIR)/*.css)))
PAGE := $(PAGE_DIR)/index.html $(PAGE_FILES:%=$(PAGE_DIR)/%) $(CHART_JS)
$(BUILD)/page.c: $(PAGE) dist/embed
	@mkdir -p $(@D)
	@[ -n "$(CHART_JS)" ] || { echo "Chart.js is missing: Debian's package libjs-chart.js has it" >&2; exit 1; }
	@sh dist/embed /=$(PAGE_DIR)/index.html $(foreach f,$(PAGE_FILES),/$(f)=$(PAGE_DIR)/$(f)) /chart.js=$(CHART_JS) \
		> $@.new && mv $@.new $@

$(BUILD)/obj/prices.o $(BUILD)/obj/rules.o $(BUILD)/obj/page.o: $(BUILD)/obj/%.o: $(BUILD)/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -c -o $@ $<
