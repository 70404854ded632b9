"""`make demo`: the gateway with mock upstreams, a handful of requests, what became of each, and what they cost.

Stays up for your own curl until Ctrl-C; with DEMO_ONCE=1 it ends by itself, with exit 1 if anything was not as told.
"""
import json
import os
import shutil
import signal
import socket
import sys
import time

import harness
from pools import declines
from upstream import Mock

OPERATOR, BUSY, SPARE, CLIENT, LOG_KEY = (harness.secret(name) for name in ("operator", "busy", "spare", "client", "log-key"))
PORT = int(os.environ.get("DEMO_PORT", "8080"))


def chat(model, stream):
    body = {"messages": [{"role": "user", "content": "hello"}], "model": model, "stream": stream}
    return "/v1/chat/completions", dict(body, stream_options={"include_usage": True}) if stream else body


def responses(model, stream):
    return "/v1/responses", {"input": "hello", "model": model, "stream": stream}


def messages(model, stream):
    return "/v1/messages", {"max_tokens": 16, "messages": [{"role": "user", "content": "hello"}], "model": model,
                            "stream": stream}


# What is asked, which model, streamed; and what must come of it: upstreams in the order in which they were asked, whose credentials they got, status.
REQUESTS = (
    ("OpenAI chat", chat, "glm-4.6", False, "ollama", "operator", 200),
    ("OpenAI chat", chat, "glm-4.6", True, "ollama", "operator", 200),
    ("OpenAI chat", chat, "gpt-5.5", False, "openai", "client", 200),
    ("OpenAI responses", responses, "gpt-5.5", False, "openai", "client", 200),
    ("OpenAI responses", responses, "gpt-5.5", True, "openai", "client", 200),
    ("Anthropic messages", messages, "claude-sonnet-4-5", False, "anthropic", "client", 200),
    ("Anthropic messages", messages, "claude-sonnet-4-5", True, "anthropic", "client", 200),
    ("Anthropic messages", messages, "glm-4.6", False, "ollama", "operator", 200),
    ("OpenAI chat", chat, "o3-mini", False, "busy, openai", "operator", 200),
    ("OpenAI chat", chat, "kimi-k2", False, None, None, 502),
)


class Gateway(harness.Gateway):
    """With a ledger, and a tap for the streams."""

    tap = None

    def start(self):
        log, report = "unix@%s/log.sock" % self.dir, "dgram@%s/tap.dgram" % self.dir
        (self.dir / "ledger").mkdir()
        self.config.update(ledger=str(self.dir / "ledger"), log_listen=log, tap=True, tap_listen=report)
        self.env["SPOA_LLM_LOG_KEY"] = LOG_KEY
        self.limits.update(LLM_LOG_RING=log, SPOA_LLM_LOG_KEY=LOG_KEY, LLM_TAP="unix@%s/tap.sock" % self.dir, LLM_LEGS=str(self.dir))
        self.tap = harness.Process("tap", harness.argv("tap", "--listen", "unix@%s/tap.sock" % self.dir, "--legs", self.dir, "--report", report,
                                                       "--control", "unix@%s/tap-control.sock" % self.dir), self.dir / "tap.log", harness.environment())
        super().start()

    def close(self, quiet=False):
        super().close(quiet)
        if self.tap:
            self.tap.end()

    def rows(self):
        done = harness.cli("ledger", "export", "--ledger", self.dir / "ledger")
        return [json.loads(line) for line in done.out.splitlines()]

    def savings(self):
        """What `spoa-llm savings` says, as soon as the ledger has all requests, and their streams to the token."""
        def known():
            rows = self.rows() if harness.ledger_made(self.dir / "ledger") else []
            return len(rows) == len(REQUESTS) and all(row["usage_from"] == "stream" for row in rows if row["stream"] and row["status"] == 200)
        harness.until(known, 10, lambda: "the ledger has not all requests, or not all streams to the token: %s" % self.rows(), step=0.05)
        return harness.cli("savings", "--since", "1h", "--ledger", self.dir / "ledger").out


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def ask(gateway, what, body_of, model, stream, upstream, credential, status):
    path, body = body_of(model, stream)
    if body_of is messages:
        headers = [("x-api-key", CLIENT), ("anthropic-version", "2023-06-01")]
    else:
        headers = [("Authorization", "Bearer " + CLIENT)]
    exchange = gateway.post(path, body, headers)
    arrived = sorted(exchange.seen, key=lambda request: request.mock.name != "busy")
    got = ", ".join(request.mock.name for request in arrived) or None
    credentials = {"client": (CLIENT,), "operator": (OPERATOR, BUSY, SPARE)}
    whose = [name for name, values in credentials.items() if any(request.has(value) for request in arrived for value in values)]
    ok = (got, whose, exchange.status) == (upstream, [credential] if credential else [], status)
    print("  %-19s %-18s %-9s %-13s %-13s %d  %s" % (
        what, model, "streamed" if stream else "plain", got or "nobody", " and ".join(whose) + "'s" if whose else "-",
        exchange.status, "ok" if ok else "NOT AS EXPECTED"), flush=True)
    return ok


def main():
    once = os.environ.get("DEMO_ONCE") == "1"
    if not free(PORT):
        print("demo: port %d is taken; choose another one: make demo DEMO_PORT=8081" % PORT, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mocks = ollama, anthropic, openai, busy = Mock("ollama"), Mock("anthropic"), Mock("openai"), Mock("busy")
    busy.respond = declines(429, 30)
    config = {
        "openai_target": openai.url(), "anthropic_target": anthropic.url(),
        "routes": [
            {"model_prefix": "glm-", "upstream": ollama.url(), "auth": "env:OLLAMA_API_KEY", "reference_model": "gpt-5"},
            {"model_prefix": "claude-", "protocol": "anthropic"},
            {"model_prefix": "o3-", "pool": [
                {"name": "busy", "upstream": busy.url(), "auth": "env:BUSY_API_KEY"}, {"name": "openai", "upstream": openai.url(), "auth": "env:SPARE_API_KEY"}]},
            {"model_prefix": "kimi-", "upstream": ollama.url(), "auth": "env:NOT_SET_API_KEY"},
            {"model_prefix": "*", "auth": "passthrough"}]}
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    gateway = Gateway(binary, mocks, config, env={"OLLAMA_API_KEY": OPERATOR, "BUSY_API_KEY": BUSY, "SPARE_API_KEY": SPARE}, port=PORT,
                              owners={OPERATOR: [ollama], BUSY: [busy], SPARE: [openai], CLIENT: [openai, anthropic]})
    try:
        print("client -> HAProxy %d.%d on 127.0.0.1:%d -> spoa-llm decides -> one of 4 mock upstreams\n" % (
            *harness.version_of(binary), PORT))
        print("  %-19s %-18s %-9s %-13s %-13s %s" % (
            "request", "model", "", "reached", "with the", "status"))
        ok = all([ask(gateway, *request) for request in REQUESTS])
        print("\no3-mini has a pool: `busy` declined with 429, so `openai` served, each with its own credential. kimi-k2 was refused: its route's credential is\n"
              "not set, and no upstream saw the request. What they cost, the streams to the token:\n", flush=True)
        print("".join("  " + line if line.strip() else line for line in gateway.savings().splitlines(keepends=True)), flush=True)
        if not once:
            print("\nTry it yourself:\n\n  curl -i http://127.0.0.1:%d/v1/chat/completions -H 'authorization: Bearer mine' \\\n"
                  "    -d '{\"model\":\"glm-4.6\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}'\n\n"
                  "x-mock in the answer names the upstream. Ctrl-C ends it." % PORT, flush=True)
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                print()
    finally:
        gateway.close(quiet=sys.exc_info()[0] is not None)
        for mock in mocks:
            mock.close()
    return 0 if ok else 1


sys.exit(main())
