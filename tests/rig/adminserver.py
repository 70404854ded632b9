"""What the tests of the admin server share: an agent with credentials to look for, its endpoints, a reader of /events."""
import http.client
import json

import pytest

import evidence
import harness
import loglines
import spop
from harness import cli, until
from loglines import DAY, Maker

POST = {"X-Requested-With": "spoa-llm"}
DATA = ["/metrics", "/stats", "/savings", "/stats-history", "/explain?model=m", "/operation", "/requests", "/events"]
FILES = [path.name for path in (harness.ROOT / "agent" / "ops" / "page").iterdir() if path.suffix in (".js", ".css")] + ["chart.js"]
PAGE = {"/": "text/html", **{"/" + name: "text/css" if name.endswith(".css") else "text/javascript" for name in FILES}}
OPEN = ["/livez", "/readyz", *PAGE]
ROUTES = [{"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:GLM_KEY"},
          {"model_prefix": "gone-", "upstream": "https://gone.example", "auth": "file:/nonexistent/key"},
          {"model_prefix": "*"}]
BODY = b'{"model":"%s","messages":[]}'


@pytest.fixture
def admin(work, agents):
    """start(**config): an agent with a ledger whose admin server is on TCP, with credentials to look for."""
    def start(entries=0, token=None, env=None, **config):
        home = work / "ledger"
        home.mkdir(exist_ok=True)
        (work / "prices.json").write_text(json.dumps(loglines.PRICES))
        log = "127.0.0.1:%d" % harness.free_port()
        config = dict({"admin_listen": "127.0.0.1:%d" % harness.free_port(), "routes": ROUTES, "ledger": str(home),
                       "prices": str(work / "prices.json"), "log_listen": ["udp@" + log], "threads": 2}, **config)
        env = dict({"GLM_KEY": harness.secret("glm"), "SPOA_LLM_LOG_KEY": harness.secret("log-key")}, **(env or {}))
        if token:
            config["admin_token"] = token
        if entries:
            made = Maker(seed=5, span_ms=40 * DAY).make(entries)
            (work / "log").write_text("".join(entry.line + "\n" for entry in made))
            done = cli("ledger", "import", work / "log", "-c", harness.write_config(work, config, "import.json"), env=env)
            assert done.code == 0, done
        agent = agents(config, env=env)
        agent.env, agent.home, agent.log_address = env, home, log
        until(lambda: harness.ledger_made(home) and harness.accepting(agent.admin), 5, "ledger and admin server are there")
        return agent
    return start


def decide(agent, model="m"):
    return agent.ask(id="i", method="POST", path="/v1/chat/completions", ctype="application/json",
                     body=BODY % model.encode(), buffered=40, length=40)


class Events:
    """Reads /events, unchunked."""

    def __init__(self, agent, headers=None):
        self.connection = http.client.HTTPConnection("localhost", timeout=10)
        self.connection.sock = spop.connect(agent.admin, 10)
        self.connection.request("GET", "/events", headers=dict({"Host": agent.admin}, **(headers or {})))
        self.response = self.connection.getresponse()

    def next(self):
        fields = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            evidence.search(line, "an event of the admin server")
            if not line and fields:
                return fields
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.sock and self.connection.sock.close()
        self.connection.close()
