"""`make demo`: the gateway with mock upstreams, a handful of requests, what became of each, and what they cost; then two clients with keys and budgets.

Stays up for your own curl until Ctrl-C; with DEMO_ONCE=1 it ends by itself, with exit 1 if anything was not as told.
"""
import json
import os
import re
import shutil
import signal
import socket
import sys
import time

import harness
import keys
from pools import declines
from upstream import Mock

OPERATOR, BUSY, SPARE, CLIENT, LOG_KEY = (harness.secret(name) for name in ("operator", "busy", "spare", "client", "log-key"))
PORT = os.environ.get("DEMO_PORT") or "8080"
if not re.fullmatch("[0-9]{1,5}", PORT) or not 0 < int(PORT) < 65536:
    sys.exit("demo: DEMO_PORT is a port from 1 to 65535, not %s" % PORT)
PORT = int(PORT)


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

# The clients with a key of the gateway's own: as `spoa-llm client add` gets them.
CLIENTS = (("alice", "--project", "search", "--budget", "10/month"), ("bob", "--budget", "0.00052/day"))


def limited(body_of, most):
    """The same request, whose answer may have `most` tokens: so many the agent reserves."""
    def body(model, stream):
        path, asked = body_of(model, stream)
        return path, dict(asked, max_tokens=most)
    return body


# Who asks what; where the key stands; and as above. In x-llm-key it stands beside the provider's own credential.
KEYED = (
    ("alice", "OpenAI chat", limited(chat, 100), "authorization", "glm-4.6", "ollama", "operator", 200),
    ("alice", "Anthropic messages", messages, "x-api-key", "glm-4.6", "ollama", "operator", 200),
    ("bob", "OpenAI chat", limited(chat, 8), "x-llm-key", "gpt-5.5", "openai", "client", 200),
    ("bob", "OpenAI chat", limited(chat, 8), "x-llm-key", "gpt-5.5", None, None, 429),
    ("bob", "Anthropic messages", messages, "x-llm-key", "claude-sonnet-4-5", None, None, 429),
)


class Gateway(harness.Gateway):
    """With a ledger, a tap for the streams, and two clients. `keys`: {name of a client: its key}."""

    tap = None

    def start(self):
        log, report = "unix@%s/log.sock" % self.dir, "dgram@%s/tap.dgram" % self.dir
        (self.dir / "ledger").mkdir()
        clients, self.keys = self.dir / "clients.json", {}
        clients.write_text('{"clients": []}')
        for name, *flags in CLIENTS:
            self.keys[name] = keys.printed(keys.run(clients, "add", name, *flags), name)
        self.config.update(ledger=str(self.dir / "ledger"), log_listen=log, tap=True, tap_listen=report, clients=str(clients))
        self.env["SPOA_LLM_LOG_KEY"] = LOG_KEY
        self.limits.update(LLM_LOG_RING=log, SPOA_LLM_LOG_KEY=LOG_KEY, LLM_TAP="unix@%s/tap.sock" % self.dir, LLM_LEGS=str(self.dir), LLM_CLIENTS="on")
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

    def recorded(self, count):
        """Waits until the ledger has so many requests, and their streams to the token."""
        def known():
            rows = self.rows() if harness.ledger_made(self.dir / "ledger") else []
            return len(rows) == count and all(row["usage_from"] == "stream" for row in rows if row["stream"] and row["status"] == 200)
        harness.until(known, 10, lambda: "the ledger has not all requests, or not all streams to the token: %s" % self.rows(), step=0.05)

    def savings(self):
        """What `spoa-llm savings` says of REQUESTS."""
        self.recorded(len(REQUESTS))
        return harness.cli("savings", "--since", "1h", "--ledger", self.dir / "ledger").out

    def clients(self):
        """What `spoa-llm client list` says after REQUESTS and KEYED."""
        self.recorded(len(REQUESTS) + len(KEYED))
        return harness.cli("client", "list", "-c", self.agent.file).out


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def became(exchange, upstream, credential, status):
    """Returns what became of a request, as a part of its line, and whether that is as it should be."""
    arrived = sorted(exchange.seen, key=lambda request: request.mock.name != "busy")
    got = ", ".join(request.mock.name for request in arrived) or None
    credentials = {"client": (CLIENT,), "operator": (OPERATOR, BUSY, SPARE)}
    whose = [name for name, values in credentials.items() if any(request.has(value) for request in arrived for value in values)]
    ok = (got, whose, exchange.status) == (upstream, [credential] if credential else [], status)
    return "%-13s %-13s %d  %s" % (got or "nobody", " and ".join(whose) + "'s" if whose else "-", exchange.status, "ok" if ok else "NOT AS EXPECTED"), ok


def ask(gateway, what, body_of, model, stream, *must):
    path, body = body_of(model, stream)
    if body_of is messages:
        headers = [("x-api-key", CLIENT), ("anthropic-version", "2023-06-01")]
    else:
        headers = [("Authorization", "Bearer " + CLIENT)]
    told, ok = became(gateway.post(path, body, headers), *must)
    print("  %-19s %-18s %-9s %s" % (what, model, "streamed" if stream else "plain", told), flush=True)
    return ok


def ask_as(gateway, who, what, body_of, place, model, *must):
    """Asks as the client `who`. A request that is refused has the gateway's answer printed below its line."""
    path, body = body_of(model, False)
    headers = [(place, "Bearer " + gateway.keys[who] if place == "authorization" else gateway.keys[who])]
    if place == "x-llm-key":
        headers.append(("x-api-key", CLIENT) if body_of is messages else ("Authorization", "Bearer " + CLIENT))
    if body_of is messages:
        headers.append(("anthropic-version", "2023-06-01"))
    exchange = gateway.post(path, body, headers)
    told, ok = became(exchange, *must)
    print("  %-7s %-19s %-18s %s" % (who, what, model, told), flush=True)
    if exchange.status != 200:
        print("          %s" % exchange.response.body.decode().strip())
        ok = ok and b"insufficient_quota" in exchange.response.body and exchange.header("x-should-retry") == "false"
    return ok


def indented(text):
    return "".join("  " + line if line.strip() else line for line in text.splitlines(keepends=True))


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
        print(indented(gateway.savings()), flush=True, end="")
        print("\nTwo clients have keys of the gateway's own, and budgets:\n\n%s" % "".join("  spoa-llm client add %s\n" % " ".join(client) for client in CLIENTS))
        print("  %-7s %-19s %-18s %-13s %-13s %s" % ("client", "request", "model", "reached", "with the", "status"))
        ok = all([ask_as(gateway, *request) for request in KEYED]) and ok
        print("\nalice's key stands where a provider's key would, and the operator's takes its place. bob's stands in x-llm-key, beside bob's own key of the provider. No\n"
              "upstream sees a key of the gateway's. bob's first request cost more than half of what bob may spend a day, so the rest does not suffice for another\n"
              "one. What each has spent, and has left (`spoa-llm client list`):\n", flush=True)
        print(indented(gateway.clients()), flush=True, end="")
        if not once:
            print("\nTry it yourself:\n\n  curl -i http://127.0.0.1:%d/v1/chat/completions -H 'authorization: Bearer mine' \\\n"
                  "    -d '{\"model\":\"glm-4.6\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}'\n\n"
                  "x-mock in the answer names the upstream. As bob: -H 'x-llm-key: %s'. Ctrl-C ends it." % (PORT, gateway.keys["bob"]), flush=True)
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
