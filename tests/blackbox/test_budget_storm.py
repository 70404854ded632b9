"""Clients that each ask for twice as much as their budgets are worth, 20 requests at once, while the agent's workers, or all of its processes, are killed, and the agent
is upgraded and reloaded. A budget is overrun only by what the agent could not know: how many tokens the input of requests in flight has, and how long answers
become whose requests set no limit. What the upstream served is what the ledger has, and what the accounts in the agent's memory have spent, to the
nano-dollar; nothing stays reserved. BUDGET_STORM=1000: so many clients, and more rounds; BUDGET_STORM_SEED=7: other requests and faults."""
import collections
import os
import time

import pytest

from budgetstorm import BUDGETED, BudgetStorm
from harness import cli, until

CLIENTS = int(os.environ.get("BUDGET_STORM", "45"))
SEED = int(os.environ.get("BUDGET_STORM_SEED", "1"))
LONG = CLIENTS >= 500
# The faults of each round. In the last ones all of the agent's processes are killed where nobody holds the budgets' memory, which forgets what is reserved.
ROUNDS = [["kill_all", "kill_worker", "upgrade_agent", "upgrade_and_kill", "reload"]] * (3 if LONG else 1) + [
    ["kill_all_and_forget", "kill_worker", "upgrade_agent"]] * (2 if LONG else 1)


def check(audit):
    dropped = audit.storm.dropped()
    assert len(audit.missing) <= dropped, "%d requests have no row, and HAProxy dropped %d lines: %s" % (len(audit.missing), dropped, audit.missing[:5])
    assert not audit.reserved_wrong, "accounts, what is reserved, and what has to be: %s" % audit.reserved_wrong[:5]
    assert not audit.spent_wrong, "accounts, what they spent by the agent's memory, by the rows, by the table: %s" % audit.spent_wrong[:5]
    assert not audit.row_wrong, "rows, and what the upstream served: %s" % audit.row_wrong[:5]
    over = audit.over()
    assert not over, "accounts, by how much they are overrun, what the estimates' errors and the kills of all explain: %s" % over[:5]
    assert not audit.limits(), audit.limits()[:5]


def say(storm, audit):
    told = collections.Counter((one["status"], one["code"]) for one in audit.outcomes)
    over = {kind: [one for name, one in audit.overrun.items() if one > 0 and (storm.clients[name].kind if name in storm.clients else "project") == kind] for kind in BUDGETED}
    print("%d requests, %s; %s; %d without a line, %d lines dropped; the kills of all forgot %s dollars; overrun of %s dollars: %s" % (
        len(audit.outcomes), dict(told), dict(storm.faults), len(audit.silent), len(audit.missing), sum(storm.forgotten.values()) / 1e9, sum(map(storm.budget, audit.accounts)) / 1e9,
        ", ".join("%s %d accounts, at most %s" % (kind, len(all), max(all, default=0) / 1e9) for kind, all in over.items())), flush=True)


@pytest.mark.timeout(300 if not LONG else 3600)
def test_no_budget_is_overrun(haproxy, work):
    # A month that ended in the storm would give every budget back.
    left = 86400 - time.time() % 86400
    if left < 120:
        time.sleep(left + 1)
    with BudgetStorm(haproxy, work, CLIENTS, SEED) as storm:
        until(lambda: storm.ask(storm.address) == 200, 10, "the gateway answers")
        clients = list(storm.clients.values())
        for faults in ROUNDS:
            storm.next = []
            storm.storm(storm.rng.sample(clients, len(clients)))
            while storm.load.running():
                storm.step(faults)
            audit = storm.settle()
            check(audit)
            say(storm, audit)
        # Nothing is left reserved, so that each client may have what is left of its budget.
        asks = [client for client in clients if client.kind in BUDGETED and client.kind != "project"]
        left = {client.name: client.nano - sum(audit.accounts[client.name]) for client in asks}
        storm.storm(asks, parallel=1, faults=False)
        audit = storm.settle()
        check(audit)
        last = {one["tag"].split("/")[0]: one for one in audit.outcomes[-len(asks):]}
        for client in asks:
            if client.kind != "untold":
                assert (last[client.name]["status"] == 200) == (left[client.name] >= client.worth), (client.name, client.kind, left[client.name], client.worth, last[client.name])
        verified = cli("ledger", "verify", "--ledger", storm.ledger_dir, seconds=120)
        assert verified.code == 0, verified
        say(storm, audit)
