"""/metrics: promtool accepts its format, and its figures are those of the requests that were made. The alerts and the Grafana dashboard name
only metrics that exist."""
import json
import re
import socket
import subprocess
import time

import pytest

import harness
import keys
import loglines
import spop
from adminserver import BODY, admin, decide  # noqa: F401
from harness import ROOT, until
from loglines import Maker

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse(text):
    """Returns {name: {((label, value), ...): number}} of the text of /metrics; asserts the form of every line."""
    out, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# "):
            kind, name, rest = line[2:].split(" ", 2)
            assert kind in ("HELP", "TYPE") and rest, line
            if kind == "TYPE":
                assert name not in types, "twice: " + name
                types[name] = rest
            continue
        found = SAMPLE.match(line)
        assert found, line
        name, inside, number = found.groups()
        labels, at = [], 0
        while inside and at < len(inside):
            one = LABEL.match(inside, at)
            assert one, line
            labels.append((one.group(1), one.group(2)))
            at = one.end()
        key = tuple(sorted(labels))
        assert key not in out.setdefault(name, {}), "twice: " + line
        out[name][key] = float(number)
        base = re.sub(r"_(bucket|sum|count)$", "", name) if re.sub(r"_(bucket|sum|count)$", "", name) in types else name
        assert base in types, "no TYPE: " + line
        assert types[base] == "counter" or not name.endswith("_total"), line
        assert types[base] != "counter" or name.endswith("_total"), line
    return out


def scrape(agent):
    answer = agent.http(path="/metrics")
    assert answer.status == 200 and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def promtool(*args, text=None):
    return subprocess.run(["promtool", *args], input=text, capture_output=True, text=True, timeout=60)


def one(metrics, name, /, **labels):
    found = [value for key, value in metrics.get(name, {}).items() if set(labels.items()) <= set(key)]
    assert len(found) == 1, (name, labels, metrics.get(name))
    return found[0]


def send(agent, entries):
    host, port = agent.log_address.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for entry in entries:
            sock.sendto(harness.log_line(entry.fields, agent.env["SPOA_LLM_LOG_KEY"]), (host, int(port)))
            time.sleep(.001)


def test_promtool_has_nothing_to_say(admin):  # noqa: F811
    agent = admin(entries=200)
    decide(agent)
    decide(agent, "gone-1")
    text = until(lambda: (lambda t: t if "gen_ai" in t else None)(agent.http(path="/metrics").text), 10, "the ledger's sums")
    run = promtool("check", "metrics", text=text)
    assert run.returncode == 0 and not run.stdout.strip() and not run.stderr.strip(), run
    # promtool does complain about a metric without its HELP line: its silence above means something.
    assert promtool("check", "metrics", text=text.replace("# HELP spoa_llm_ready", "# HELP xspoa_llm_ready")).stderr
    parse(text)


def test_decisions_are_counted(admin):  # noqa: F811
    agent = admin(routes=[{"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:GLM_KEY", "name": "a b/{c}"},
                          {"model_prefix": "gone-", "upstream": "https://gone.example", "auth": "env:GONE"}, {"model_prefix": "*"}])
    with agent.client() as client:
        for model, times in (("glm-4.6", 7), ("gone-1", 3), ("m", 11)):
            for i in range(times):
                client.ask(id="i%d" % i, method="POST", path="/v1/chat/completions", ctype="application/json",
                           body=BODY % model.encode(), buffered=40, length=40)
        metrics = scrape(agent)
        assert one(metrics, "spoa_llm_spop_connections") == 1
    assert one(metrics, "spoa_llm_decisions_total", route="a b/{c}", outcome="replace", protocol="openai") == 7
    assert one(metrics, "spoa_llm_decisions_total", route="gone-", outcome="refused", protocol="openai") == 3
    assert one(metrics, "spoa_llm_decisions_total", route="*", outcome="passthrough", protocol="openai") == 11
    assert one(metrics, "spoa_llm_refusals_total", code="upstream_auth_unavailable", status="502") == 3
    assert sum(metrics["spoa_llm_refusals_total"].values()) == 3
    assert one(metrics, "spoa_llm_decision_duration_seconds_count") == 21
    buckets = sorted((float(dict(key)["le"]), n) for key, n in metrics["spoa_llm_decision_duration_seconds_bucket"].items())
    assert [n for _, n in buckets] == sorted(n for _, n in buckets) and buckets[-1] == (float("inf"), 21)
    assert 0 < one(metrics, "spoa_llm_decision_duration_seconds_sum") < 1 * harness.SLOW
    assert sum(metrics["spoa_llm_thread_decisions_total"].values()) == 21
    assert (one(metrics, "spoa_llm_credentials"), one(metrics, "spoa_llm_credentials_missing")) == (2, 1)
    assert one(metrics, "spoa_llm_check_ok", part="credentials") == 0 and one(metrics, "spoa_llm_ready") == 1
    assert one(metrics, "spoa_llm_spop_frames_total", direction="in") >= 22
    assert one(metrics, "spoa_llm_spop_received_bytes_total") > 21 * 100
    assert abs(one(metrics, "process_start_time_seconds") - time.time()) < 60
    assert one(metrics, "process_open_fds") == pytest.approx(agent.descriptors(), abs=4)
    assert one(metrics, "process_resident_memory_bytes") == pytest.approx(agent.rss(), rel=.2)


def test_frames_read_together_took_as_long_as_all(admin):  # noqa: F811
    """Frames that the agent reads together get their answers in one write, so each decision took until the last answer was made."""
    agent = admin()
    with agent.client() as client:
        client.ask(id="first", method="GET", path="/")  # a first question on a connection is slower than the later ones
        before = scrape(agent)
        frames = [spop.notify(spop.question(BODY % b"m"), 1 + i, 1) for i in range(40)]
        client.send(b"".join(frames))
        for i in range(40):
            client.ack(1 + i, 1)
        after = scrape(agent)
    name = "spoa_llm_decision_duration_seconds"
    up_to = sorted((float(dict(key)["le"]), count - before[name + "_bucket"][key]) for key, count in after[name + "_bucket"].items())
    counts = [count for _, count in up_to]
    assert set(counts) == {0, 40}, up_to
    least, most = ([0.0] + [le for le, _ in up_to])[counts.index(40)], up_to[counts.index(40)][0]
    took = (one(after, name + "_sum") - one(before, name + "_sum")) / 40
    assert least < took <= most and most > 5e-6, (took, up_to)


def test_counters_keep_their_meaning_over_a_reload(admin):  # noqa: F811
    agent = admin()
    decide(agent, "glm-1")
    decide(agent, "m")
    before = scrape(agent)
    # One route is removed and one is new, so the positions change: each route keeps its own counter.
    agent.file.write_text(json.dumps(dict(agent.config, routes=[{"model_prefix": "new-"}, {"model_prefix": "*"}])))
    assert agent.http("POST", "/reload", {"X-Requested-With": "spoa-llm"}).status == 200
    decide(agent, "new-1")
    decide(agent, "m")
    after = scrape(agent)
    assert one(after, "spoa_llm_decisions_total", route="glm-") == one(before, "spoa_llm_decisions_total", route="glm-") == 1
    assert one(after, "spoa_llm_decisions_total", route="new-") == 1
    assert one(after, "spoa_llm_decisions_total", route="*") == 2
    assert one(after, "spoa_llm_reloads_total", result="success") == 1
    for name in after:
        if name.endswith("_total"):
            for key, value in before.get(name, {}).items():
                assert after[name][key] >= value, (name, key)


def test_the_ledger_s_sums(admin):  # noqa: F811
    agent = admin()
    entries = Maker(seed=8, hostile=True).make(400)
    send(agent, entries)
    want, tokens, cost = {}, {}, {}
    for entry in entries:
        model = entry.want["model"]
        want[model] = want.get(model, 0) + 1
        cost[model] = cost.get(model, 0) + (entry.want["cost"] or 0)
        for kind in ("input", "output", "cache_read", "cache_write"):
            tokens[model, kind] = tokens.get((model, kind), 0) + (entry.want[kind] or 0)
    metrics = until(lambda: (lambda m: m if sum(m.get("spoa_llm_model_requests_total", {}).values()) == 400 else None)(scrape(agent)),
                    30, "400 requests in the sums", step=.5)

    def escaped(text):
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    for model, count in want.items():
        assert one(metrics, "spoa_llm_model_requests_total", model=escaped(model)) == count, model
        assert one(metrics, "spoa_llm_model_cost_usd_total", model=escaped(model)) == pytest.approx(cost[model] / 1e9, abs=1e-8)
        for kind in ("input", "output", "cache_read", "cache_write"):
            assert one(metrics, "gen_ai_client_token_usage_total", gen_ai_request_model=escaped(model),
                       gen_ai_token_type=kind) == tokens[model, kind], (model, kind)
    assert one(metrics, "gen_ai_client_token_usage_total", gen_ai_request_model="gemini-3-flash", gen_ai_token_type="input",
               gen_ai_provider_name="gcp.gemini") > 0
    assert one(metrics, "spoa_llm_ledger_records_total") == 400 and one(metrics, "spoa_llm_ledger_stored_total") == 400
    run = promtool("check", "metrics", text=agent.http(path="/metrics").text)
    assert run.returncode == 0 and not run.stderr, run


def test_each_line_is_counted_as_what_it_is(admin):  # noqa: F811
    """A line is a duplicate if its id came before, whether or not it has to be parsed to know that; a foreign or malformed line is counted as such each time that it comes."""
    agent = admin()
    key = agent.env["SPOA_LLM_LOG_KEY"]
    fields = dict(Maker(seed=4).one().fields, v=2)
    line, older = harness.log_line(fields, key), harness.log_line(dict(fields, v=1), key)
    changed = harness.log_line(dict(fields, out=7, status=599), key)
    cut, forged = harness.log_line(dict(fields, id="cut"), key)[:-9], harness.log_line(fields, "x" + key)
    other = line.replace(b"<134>1 2026-11-01", b"<130>1 2026-11-02")
    host, port = agent.log_address.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for one_of in (cut, forged, line, line, other, forged, cut, changed, older, line):
            sock.sendto(one_of, (host, int(port)))
            time.sleep(.005)
    names = ("lines", "duplicate_lines", "foreign_lines", "malformed_lines", "records", "stored")

    def told():
        metrics = scrape(agent)
        return {name: one(metrics, "spoa_llm_ledger_%s_total" % name) for name in names}
    want = dict(zip(names, (10, 5, 2, 2, 1, 1)))
    until(lambda: told() == want, 10, lambda: "%s, not %s" % (want, told()))
    until(lambda: list(scrape(agent).get("spoa_llm_model_requests_total", {}).values()) == [1], 10, "one request in the sums")


def test_models_are_bounded_and_no_counter_goes_down(admin):  # noqa: F811
    agent = admin()
    maker = Maker(seed=9)
    total, last = 0, {}
    for start in (0, 70, 140):
        send(agent, [maker.one(kind="reported", model="model-%d" % (n % 170)) for n in range(start, start + 100)])
        total += 100
        metrics = until(lambda: (lambda m: m if sum(m.get("spoa_llm_model_requests_total", {}).values()) == total else None)(
            scrape(agent)), 30, "the ledger's sums", step=.5)
        for name in ("spoa_llm_model_requests_total", "gen_ai_client_token_usage_total", "spoa_llm_model_cost_usd_total"):
            for key, value in last.get(name, {}).items():
                assert metrics[name].get(key, -1) >= value, (name, key)
            assert len({dict(key).get("model", dict(key).get("gen_ai_request_model")) for key in metrics[name]}) <= 101
        last = metrics
    assert one(metrics, "spoa_llm_model_requests_total", model="other") > 0


# ---- the shipped alerts, dashboard and Prometheus configuration


def names_in(expression):
    text = re.sub(r'"[^"]*"', '""', re.sub(r"\{[^}]*\}", "", re.sub(r"\[[^]]*\]", "", expression)))
    return set(re.findall(r"\b(?:spoa_llm|gen_ai|process)_\w+", re.sub(r"\bby \([^)]*\)", "", text)))


def test_alerts_and_dashboard_name_what_is_there(admin, work):  # noqa: F811
    keys.write(work / "clients.json", [])
    agent = admin(entries=50, tap=True, tap_listen="dgram@%s/tap.dgram" % work, clients=str(work / "clients.json"), fleet_uri="postgresql://nobody@127.0.0.1:9/none",
                  fleet_listen="dgram@%s/fleet.dgram" % work, otlp_endpoint="http://127.0.0.1:9")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as shipper:
        for kind in "fleet", "otlp":
            shipper.sendto(json.dumps({"kind": kind, "pid": 1, "state": "ok", "gateways": 2}).encode(), "%s/fleet.dgram" % work)
    metrics = until(lambda: (lambda m: m if {"gen_ai_client_token_usage_total", "spoa_llm_fleet_drift", "spoa_llm_otlp_lag_seconds"} <= set(m) else None)(scrape(agent)), 10, "the ledger's sums")
    alerts = (ROOT / "dist" / "alerts.yml").read_text()
    dashboard = json.loads((ROOT / "dist" / "grafana.json").read_text())
    for part in re.findall(r'part="(\w+)"', alerts):
        assert one(metrics, "spoa_llm_check_ok", part=part) in (0, 1)
    for code in re.findall(r'code="(\w+)"', alerts):
        assert one(metrics, "spoa_llm_refusals_total", code=code) == 0
    for name, state in re.findall(r'(\w+)\{state="(\w+)"', alerts):
        assert one(metrics, name, state=state) in (0, 1)
    expressions = re.findall(r"expr: (?:>-\n((?:          .*\n)+)|(.*))", alerts)
    expressions = ["".join(pair) for pair in expressions]
    assert len(expressions) == alerts.count("alert: ") > 15
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    # What counts by label has no series before something was counted, but its type is told.
    metrics = set(re.findall(r"^# TYPE (\S+) ", agent.http(path="/metrics").text, re.M))
    for expression in expressions + panels:
        for name in names_in(expression):
            assert name in metrics or re.sub("_(bucket|count|sum)$", "", name) in metrics, (name, expression)


def test_dashboard_is_one_that_grafana_takes(work):
    """Grafana is not in Debian: this checks what Grafana's importer insists on, and that Prometheus parses each expression."""
    dashboard = json.loads((ROOT / "dist" / "grafana.json").read_text())
    assert {"title", "uid", "panels", "schemaVersion", "templating", "time"} <= set(dashboard)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 10
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in ("timeseries", "stat") and panel["title"] and panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables, target
    rules = "groups:\n- name: g\n  rules:\n" + "".join(
        "  - record: x%d\n    expr: %s\n" % (i, json.dumps(target["expr"].replace("$__rate_interval", "5m")))
        for i, target in enumerate(target for panel in dashboard["panels"] for target in panel["targets"]))
    (work / "rules.yml").write_text(rules)
    run = promtool("check", "rules", str(work / "rules.yml"))
    assert run.returncode == 0, run
    (work / "rules.yml").write_text(rules.replace("sum by", "sum bye", 1))
    assert promtool("check", "rules", str(work / "rules.yml")).returncode != 0


def test_rules_and_scrape_configuration():
    for what, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        run = promtool("check", what, str(ROOT / "dist" / file))
        assert run.returncode == 0, run
    text = (ROOT / "dist" / "alerts.yml").read_text()
    alerts = re.split(r"\n      - alert: ", text)[1:]
    for alert in alerts:
        assert "severity: page" in alert or "severity: ticket" in alert, alert
        assert "summary:" in alert and "description:" in alert, alert


def test_alerts_about_an_agent_of_an_older_version(work):
    """One that has no spoa_llm_unrecorded_total yet, and records nothing, or half: an alert fires as for a newer one."""
    def case(alert, records, unrecorded, fires):
        series = {"spoa_llm_decisions_total": "0+60x60", "spoa_llm_ledger_records_total": records, "spoa_llm_unrecorded_total": unrecorded}
        return {"interval": "1m", "input_series": [{"series": name + '{job="spoa-llm",instance="a"}', "values": values}
                                                   for name, values in series.items() if values],
                "promql_expr_test": [{"expr": 'count(ALERTS{alertname="%s",alertstate="firing"})' % alert, "eval_time": "55m",
                                      "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}]}
    cases = []
    for alert, few in (("SpoaLlmNothingRecorded", "0+0x60"), ("SpoaLlmRecordsBehind", "0+30x60")):
        cases += [case(alert, records, unrecorded, records == few) for unrecorded in ("", "0+0x60") for records in (few, "0+60x60")]
        cases.append(case(alert, few, "0+60x60", False))
    (work / "cases.yml").write_text(json.dumps({"rule_files": [str(ROOT / "dist" / "alerts.yml")], "evaluation_interval": "5m", "tests": cases}))
    run = promtool("test", "rules", str(work / "cases.yml"))
    assert run.returncode == 0, run
