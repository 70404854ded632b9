"""Drift: gateways of one fleet whose routes or clients differ are told of by their agents' metrics, `fleet list` and the view `drift`."""
import json
import re
import signal

import fleets
import harness
import postgres
import pytest
from test_ship import QUIET, Shipper, check_of, fleet_metrics, shippers  # noqa: F401

ROUTES = [{"model_prefix": "glm-", "upstream": "https://ollama.com", "name": "glm"}, {"model_prefix": "*"}]
CLIENTS = [{"name": "ann", "keys": [{"sha256": "1" * 64}], "budget": {"usd": "5.00", "per": "day"}}, {"name": "bob", "keys": [{"sha256": "2" * 64}]}]
NAMES = "bern", "faro", "nice"
DRIFT = "select gateway_name || ' ' || part from spoa_llm.drift where differs order by 1"


@pytest.fixture(scope="module")
def server():
    with postgres.Server(settings=QUIET) as one:
        yield one


class Place:
    """A gateway, its agent and its shipper."""

    def __init__(self, fleet, name, agents, shippers):  # noqa: F811
        self.gateway = fleets.Gateway(fleet, name)
        self.clients = self.gateway.directory / "clients.json"
        self.settings = dict(json.loads(self.gateway.config.read_text()), listen="unix@%s/a.sock" % self.gateway.directory,
                             log_listen=["127.0.0.1:%d" % harness.free_port()], fleet_listen=["dgram@%s/fleet" % self.gateway.directory],
                             clients=str(self.clients))
        self.write(CLIENTS)
        self.settings["routes"] = ROUTES
        harness.write_config(self.gateway.directory, self.settings)
        self.agent = agents(self.settings)
        self.shipper = shippers(self.gateway)

    def write(self, clients, **more):
        fresh = self.clients.with_suffix(".new")
        fresh.write_text(json.dumps({"clients": clients, **more}))
        fresh.rename(self.clients)

    def reload(self, routes):
        loaded = len(self.agent.lines("event=reloaded"))
        self.agent.file.write_text(json.dumps(dict(self.settings, routes=routes)))
        self.agent.process.kill(signal.SIGHUP)
        harness.until(lambda: len(self.agent.lines("event=reloaded")) > loaded, 10, self.agent.process.tail)

    def drift(self, routes, clients, seconds=30, ask=False):
        """Waits until the agent's metrics say so. A shipper asks every ten seconds, and, if it is started again (`ask`), at once."""
        if ask:
            self.shipper.again()
        wanted = {"routes": routes, "clients": clients}

        def got():
            metrics = fleet_metrics(self.agent)
            return {part: metrics.get('spoa_llm_fleet_drift{part="%s"}' % part) for part in wanted}
        harness.until(lambda: got() == wanted, seconds, lambda: "%s: %s, wanted %s" % (self.gateway.name, got(), wanted), step=.1)


def test_drift(server, agents, shippers):  # noqa: F811
    fleet = fleets.Fleet(server)
    bern, faro, nice = places = [Place(fleet, name, agents, shippers) for name in NAMES]
    for place in places:
        place.drift(0, 0)
    assert "differ" not in fleet.run("list").out and not fleet.sql(DRIFT)

    # Another order of clients, a route that is off: they mean the same.
    hashes = fleet.sql("select distinct routes_hash, clients_hash from spoa_llm.gateways")
    assert len(hashes) == 1 and all(re.fullmatch("[0-9a-f]{16}", one) for one in hashes[0]), hashes
    faro.write(CLIENTS[::-1])
    faro.reload([ROUTES[0], dict(ROUTES[0], name="off", model_prefix="kimi-", enabled=False), ROUTES[1]])

    # A budget on one gateway: that one differs, and says so at once; each of the others knows of one that differs.
    nice.write([dict(CLIENTS[0], budget={"usd": "6.00", "per": "day"}), CLIENTS[1]])
    nice.drift(0, 2)
    assert fleet.sql(DRIFT) == [["nice clients"]]
    assert fleet.sql("select routes_hash from spoa_llm.gateways group by 1") == [hashes[0][:1]]
    for place in bern, faro:
        place.drift(0, 1, ask=True)
    assert "event=ship_drift gateways=2 routes=0 clients=2" in nice.shipper.process.text()
    said = fleet.run("list").out.splitlines()
    at = next(n for n, line in enumerate(said) if line.startswith("nice "))
    assert re.fullmatch(r"  nice has other clients than most gateways, for \d+ (s|min)", said[at + 1]) and len(said) == 5, said
    told = {one["name"]: one for one in json.loads(fleet.run("list", "--json").out)["gateways"]}
    assert [bool(told[name]["clients_differ_since"]) for name in NAMES] == [False, False, True]
    assert not any(told[name]["routes_differ_since"] for name in NAMES)
    since = fleet.value("select extract(epoch from since) from spoa_llm.drift where differs")
    assert fleet.value("select extract(epoch from clients_since) from spoa_llm.gateways where name = 'nice'") == since

    # A writer sees who differs, and can set no hash but its own.
    assert bern.gateway.sql(DRIFT) == [["nice clients"]]
    assert "permission denied" in bern.gateway.sql("update spoa_llm.gateways set routes_hash = 'aa'", code=None).stderr
    assert "gateways_clients_hash_check" in bern.gateway.sql("select spoa_llm.compare('', 'x''y', true)", code=None).stderr

    before = faro.gateway.meta("clients_hash")
    # Most gateways follow: now the two are what most have, since the first one of them had it, and the third one differs.
    bern.write([CLIENTS[1], dict(CLIENTS[0], budget={"usd": "6.00", "per": "day"})])
    harness.until(lambda: fleet.sql(DRIFT) == [["faro clients"]], 10, lambda: fleet.sql(DRIFT), step=.1)
    bern.drift(0, 1, ask=True)
    assert fleet.value("select extract(epoch from since) from spoa_llm.drift where differs") == since
    # A key that is taken out is told, too: it would still be good on the others.
    faro.write([dict(CLIENTS[0], budget={"usd": "6", "per": "day"}), dict(CLIENTS[1], keys=[])])
    harness.until(lambda: faro.gateway.meta("clients_hash") not in (before, bern.gateway.meta("clients_hash")), 10, "another hash")
    faro.write([dict(CLIENTS[0], budget={"usd": "6", "per": "day"}), CLIENTS[1]])
    for place in places:
        place.drift(0, 0, ask=place is not nice)
    assert "event=ship_alike" in nice.shipper.process.text()

    # Routes: their order counts. A gateway that is not heard of, or that has retired, is no difference.
    faro.reload(ROUTES[::-1])
    faro.drift(2, 0)
    assert fleet.sql(DRIFT) == [["faro routes"]]
    bern.drift(1, 0, ask=True)
    faro.shipper.end()
    fleet.sql("update spoa_llm.gateways set seen = now() - interval '6 minutes' where name = 'faro'")
    bern.drift(0, 0, ask=True)
    assert check_of(bern.agent)["ok"]
