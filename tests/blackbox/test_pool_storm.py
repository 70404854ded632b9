"""Pools under 500 requests/s while members, which are processes of their own, are killed and come back, drain, refuse connections, hang, decline and are
restarted by hand. No request fails as long as one member lives, but those that were at a member or on their way to it when it died; none is repeated that a
member may have run; each member only ever sees its own credential; the ledger says of each request what the members wrote down.

POOL_STORM_S=300: so many seconds instead of five, and then agents, taps and HAProxys are killed, upgraded and reloaded meanwhile, and the tap is switched off
and on. POOL_STORM_SEED=7: other requests and faults."""
import collections
import os
import random

import pytest

from harness import cli, until
from poolstorm import DEATHS, NAMES, StormGateway

SECONDS = int(os.environ.get("POOL_STORM_S", "0"))
SEED = int(os.environ.get("POOL_STORM_SEED", "1"))
RATE = 500
ON_THEIR_WAY = 8    # requests for each death of a member, at most, of the 100 that may be in flight


def others(gateway):
    """Returns the faults of the gateway's own processes, which happen beside those of members."""
    def switch_tap():
        for value in ("false", "true"):
            gateway.api("experimental-mode on; set var proc.llm_tap bool(%s)" % value)
            gateway.more()

    return [("agent upgraded", gateway.upgrade_agent), ("agent killed", gateway.kill_agent), ("worker killed", gateway.kill_worker),
            ("HAProxy reloaded", gateway.reload_haproxy), ("tap upgraded", lambda: gateway.tap.upgrade()), ("tap killed", lambda: gateway.tap.kill()),
            ("tap switched", switch_tap)]


@pytest.mark.timeout(300 + 3 * SECONDS)
def test_members_die_and_come_back(haproxy, work):
    rng, steps = random.Random(SEED), 0
    with StormGateway(haproxy, work, RATE) as gateway:
        until(gateway.good, 10, "all members are well")
        gateway.storm(RATE * (SECONDS or 5), SEED)
        more = others(gateway) if SECONDS else []
        while gateway.clients.running():
            gateway.step(rng, more)
            if steps % 4 == 0:
                gateway.restart(gateway.members[rng.choice(NAMES)])
            steps += 1
        # The rate is printed, but no reason to fail: on a busy machine the same requests take longer.
        print(gateway.clients.text().strip(), "on", haproxy)
        audit = gateway.audit()
        try:
            until(lambda: not audit.missing(gateway.by_id(0)), 10 if SECONDS else 30, "all rows", step=.1)
        except AssertionError:
            pass    # the audit below says which rows are missing
        rows, dropped = gateway.by_id(0), gateway.dropped + gateway.dropped_now()
        verified = cli("ledger", "verify", "--ledger", gateway.ledger_dir)
    counts, wrong = audit.failures(rows)
    done = collections.Counter(fault.name for fault in gateway.faults)
    print("%d requests, %d rows, %d attempts, %d steps: %s; failed: %s" % (
        len(audit.results), len(rows), sum(map(len, audit.attempts.values())), steps, dict(done), dict(counts)))
    assert not wrong, "%d requests failed: %s" % (len(wrong), wrong[:5])
    assert not audit.repeated(), audit.repeated()[:10]
    assert not audit.wrong, "a member got what is not its own: %s" % audit.wrong[:5]
    assert len(audit.results) == RATE * (SECONDS or 5)
    assert counts["on its way"] <= ON_THEIR_WAY * sum(done[name] for name in DEATHS), (counts, done)
    untrue = audit.untrue(rows)
    assert not untrue, "%d rows are not so: %s" % (len(untrue), untrue[:5])
    killed, silent, missing = audit.lost(rows)
    print("%d lines were lost with an agent, %d not written; HAProxy dropped %d datagrams" % (killed, silent, dropped))
    assert not missing, "%d rows are missing: %s" % (len(missing), missing[:5])
    # A line that is lost was lost twice: on its way through the ring, and as a datagram.
    assert killed <= dropped, (killed, dropped)
    # A request has a row, too, if its client got no answer and no member got it, but HAProxy did.
    assert len(rows) >= len(audit.results) - counts["reload"] - killed - silent, (len(rows), counts)
    assert verified.code == 0, verified
    assert steps and (not SECONDS or len(done) == 6 + 7), done
