"""What the tests of the dashboard share: agents to look at, and the browser that looks."""
import json

import pytest

import harness
import loglines
from harness import cli
from loglines import DAY, Maker

LOG_KEY = harness.secret("dashboard-log")


class Agent(harness.Agent):
    """With a ledger, unless told otherwise, and the admin server."""

    def __init__(self, directory, entries=(), admin=None, env=None, ledger=True, **config):
        self.admin = admin or "127.0.0.1:%d" % harness.free_port()
        self.home = directory / "ledger"
        config = dict({"admin_listen": self.admin, "routes": loglines.ROUTES}, **config)
        if ledger:
            self.home.mkdir(exist_ok=True)
            (directory / "prices.json").write_text(json.dumps(loglines.PRICES))
            log = "127.0.0.1:%d" % harness.free_port()
            config.update(ledger=str(self.home), prices=str(directory / "prices.json"), log_listen=[log, "udp@" + log])
        if entries:
            (directory / "log").write_text("".join(entry.line + "\n" for entry in entries))
            file = harness.write_config(directory, config, "import.json")
            done = cli("ledger", "import", directory / "log", "-c", file)
            assert done.code == 0, done
        super().__init__(directory, config, env=dict({"SPOA_LLM_LOG_KEY": LOG_KEY}, **(env or {})))
        # The database is made in the first second in which there is nothing else to do.
        harness.until(lambda: harness.accepting(self.admin) and (not ledger or harness.ledger_made(self.home)), 5, "all is there")

    def savings(self, since, by):
        done = cli("savings", "--json", "--ledger", self.home, "--since", since, "--by", by)
        assert done.code == 0, done
        return json.loads(done.out)


@pytest.fixture
def page(chromium):
    chromium.reset()
    yield chromium
    assert chromium.js("window.pwned === undefined")
    chromium.leave()


@pytest.fixture(scope="module")
def full(module_work):
    """75 days of everything; not to be changed."""
    entries = Maker(seed=11, span_ms=75 * DAY).make(4000)
    with Agent(module_work, entries) as agent:
        agent.wants = [entry.want for entry in entries]
        yield agent


@pytest.fixture
def empty(work):
    with Agent(work) as agent:
        yield agent


def open_tables(page):
    page.js("for (const id of ['money-table', 'tokens-table']) document.getElementById(id).open = true; return 0")
    page.until("document.querySelectorAll('#tokens-table tbody tr').length > 0")
