"""Names and addresses: hosts with IPv4, IPv6 and both, dead addresses, changes and failures of DNS. Each test has a network, an /etc and a DNS
server of its own."""
import contextlib
import pathlib
import socket
import threading
import time

import pytest

import harness
import namespaces
from harness import until
from nameserver import REFUSED, SERVFAIL, NameServer
from upstream import Mock

PORT = 8000
OWN = namespaces.apart(empty=("/run", "/var/lib/haproxy", "/etc"))
LIVE = ("192.0.2.10", "192.0.2.20", "2001:db8::10", "2001:db8::20")
DEAD = ("192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "2001:db8::11", "2001:db8::12", "2001:db8::13")
# Of these names each host reaches what it has the family for.
ZONE = {
    "both.test": ["192.0.2.10", "2001:db8::10"],
    "first-dead.test": ["192.0.2.11", "192.0.2.10", "2001:db8::11", "2001:db8::10"],
    "last-dead.test": ["192.0.2.10", "192.0.2.12", "2001:db8::10", "2001:db8::12"],
    "mostly-dead.test": ["192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.20", "2001:db8::11", "2001:db8::12", "2001:db8::13", "2001:db8::20"],
    "four.test": ["192.0.2.10"],
    "six.test": ["2001:db8::10"],
    "four-alive.test": ["192.0.2.10", "2001:db8::11"],
    "six-alive.test": ["192.0.2.11", "2001:db8::10"],
    "alias.test": "first-dead.test",
    "my_service.test": ["192.0.2.10", "2001:db8::10"],
    "unknown-four.test": ["192.0.2.10", "2001:db8::dead"],      # no route to it
}
MANY = ["127.0.1.%d" % n for n in range(1, 120)]       # more than an answer holds without EDNS
KINDS = {
    "ipv4": [name for name in ZONE if name not in ("six.test", "six-alive.test")],
    "ipv6": [name for name in ZONE if name not in ("four.test", "four-alive.test", "unknown-four.test")],
    "dual": list(ZONE),
}


@contextlib.contextmanager
def host(kind):
    """A machine with addresses of this kind, and a server at each that is alive."""
    pathlib.Path("/etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n192.0.2.10 of-hosts.test\n")
    pathlib.Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    if kind == "ipv4":
        namespaces.without_ipv6()
    mocks = []
    for address in LIVE + DEAD:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind in ("dual", "ipv6" if family == socket.AF_INET6 else "ipv4"):
            namespaces.have(address)
            if address in LIVE:
                mocks.append(Mock(address, host=address, family=family, port=PORT))
    # What the test itself talks to is at 127.0.0.1 on every kind of host.
    with contextlib.ExitStack() as stack:
        for mock in mocks:
            stack.callback(mock.close)
        yield {mock.name: mock for mock in mocks}


def routes(names):
    return [{"model_prefix": name, "upstream": "http://%s:%d" % (name, PORT)} for name in names]


def gateway(haproxy, mocks, names, **more):
    return harness.Gateway(haproxy, mocks.values(), dict({"routes": routes(names)}, **more))


@pytest.mark.parametrize("kind", KINDS)
@OWN
def test_every_address_that_lives_serves(haproxy, kind):
    """Requests are served from the first one on, also if most addresses are dead or of the other family."""
    with host(kind) as mocks, NameServer(ZONE), gateway(haproxy, mocks, KINDS[kind]) as gate:
        for name in KINDS[kind]:
            answers = [gate.ask(name) for _ in range(12)]
            assert {answer.status for answer in answers} == {200}, (name, answers)


@OWN
def test_more_addresses_than_are_used(haproxy):
    with host("dual"), NameServer({"many.test": MANY}), contextlib.closing(Mock("many", host="0.0.0.0", port=PORT + 1)) as mock, \
            harness.Gateway(haproxy, [mock], {"routes": [{"model_prefix": "many.test", "upstream": "http://many.test:%d" % mock.port}]}) as gate:
        def used():
            assert gate.ask("many.test").status == 200
            return len({request.address for request in mock.requests})
        until(lambda: used() >= 4, 10, "four of the addresses are used")


@OWN
def test_all_addresses_are_used(haproxy):
    names = ["all.test"]
    with host("dual") as mocks, NameServer({"all.test": LIVE}), gateway(haproxy, mocks, names) as gate:
        def used():
            assert gate.ask("all.test").status == 200
            return {name for name, mock in mocks.items() if mock.requests} == set(LIVE)
        until(used, 10, lambda: "requests to %s only" % [name for name, mock in mocks.items() if mock.requests])


@OWN
def test_packets_that_get_lost(haproxy):
    """An address that does not answer at all delays the first requests, and fails none."""
    namespaces.lose("198.51.100.0/24", "2001:db8:5::/64")
    namespaces.have("198.51.100.1")
    namespaces.have("2001:db8:5::1")
    with host("dual") as mocks, NameServer({"lost.test": ["198.51.100.9", "192.0.2.10", "2001:db8:5::9"]}), \
            gateway(haproxy, mocks, ["lost.test"]) as gate:
        assert [gate.ask("lost.test").status for _ in range(6)] == [200] * 6


class Load:
    """Requests one after the other in the background; `statuses` has what came."""

    def __init__(self, gate, model, clients=3):
        self.gate, self.model, self.statuses, self.over = gate, model, [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        while not self.over.is_set():
            self.statuses.append(self.gate.ask(self.model).status)
            time.sleep(0.02)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


@OWN
def test_dns_changes_and_fails(haproxy):
    """Requests follow a change of the addresses. None fails, not even those in flight at the old address; and none when DNS fails afterwards."""
    with host("dual") as mocks, NameServer({"moves.test": ["192.0.2.10", "2001:db8::10"]}) as dns, \
            gateway(haproxy, mocks, ["moves.test"]) as gate:
        old = [mocks["192.0.2.10"], mocks["2001:db8::10"]]
        for mock in old:
            mock.gate = threading.Event()
        streamed, streams = [], []
        while not all(mock.requests for mock in old):
            streams.append(threading.Thread(target=lambda: streamed.append(gate.ask("moves.test", stream=True))))
            streams[-1].start()
            until(lambda: sum(len(mock.requests) for mock in old) == len(streams), 5, "a stream has begun")
            assert len(streams) < 20, "one of the two addresses is not used"
        with Load(gate, "moves.test") as load:
            dns.zone["moves.test"] = ["192.0.2.20", "2001:db8::20"]
            until(lambda: all(len(mocks[name].requests) > 20 for name in ("192.0.2.20", "2001:db8::20")), 15, "requests at the new addresses")
            before = [len(mock.requests) for mock in old]
            for mock in old:
                mock.gate.set()
            for stream in streams:
                stream.join()
            assert [answer.response.body.count(b"[DONE]") for answer in streamed] == [1] * len(streams)
            for mock in old:
                mock.down()
            for break_it in ("silent", SERVFAIL, REFUSED):
                if break_it == "silent":
                    dns.silent = True
                else:
                    dns.silent, dns.code = False, break_it
                asked = len(dns.asked)
                until(lambda: len(dns.asked) > asked + 12, 30, "more questions to the name server")
            dns.code = None
            dns.zone.clear()        # the name does not exist any more
            asked = len(dns.asked)
            until(lambda: len(dns.asked) > asked + 16, 30, "more questions to the name server")
        assert set(load.statuses) == {200} and [len(mock.requests) for mock in old] == before


@OWN
def test_a_reload_has_addresses_at_once(haproxy):
    """No request fails while a new HAProxy waits for its name servers."""
    with host("dual") as mocks, NameServer(ZONE) as dns, gateway(haproxy, mocks, ["both.test"]) as gate:
        dns.delay = 0.1
        with Load(gate, "both.test") as load:
            for _ in range(2):
                old = gate.haproxy
                gate.haproxy = harness.Process("haproxy", [haproxy, "-db", "-f", str(gate.cfg), "-sf", str(old.pid)], gate.dir / ("haproxy-%d.log" % old.pid),
                                               harness.environment(gate.haproxy_env))
                until(lambda: not old.running(), 20, lambda: "the old process ends\n" + old.tail())
                old.end()
        assert set(load.statuses) == {200}, load.statuses


@pytest.mark.parametrize("lines", ["nameserver ::1", "# comment\noptions edns0 trust-ad\nsearch a.test b.test\nnameserver fe80::1%lo\nnameserver 127.0.0.1"], ids=["ipv6", "more"])
@OWN
def test_resolv_conf_as_it_comes(haproxy, lines):
    with host("dual") as mocks, NameServer(ZONE), NameServer(ZONE, ("::1", 53)):
        pathlib.Path("/etc/resolv.conf").write_text(lines + "\n")
        with gateway(haproxy, mocks, ["first-dead.test"]) as gate:
            assert {gate.ask("first-dead.test").status for _ in range(6)} == {200}


@OWN
def test_without_resolv_conf(haproxy):
    """HAProxy starts without /etc/resolv.conf if the name servers are named, if there is nothing to look up, or with `none`; and a name of
    /etc/hosts that DNS does not know is served."""
    with host("dual") as mocks, NameServer(ZONE, ("127.0.0.1", 5353)), NameServer(ZONE, ("::1", 5353)) as second:
        pathlib.Path("/etc/resolv.conf").unlink()
        with gateway(haproxy, mocks, ["six-alive.test", "of-hosts.test"], name_servers=["127.0.0.1:5353", "[::1]:5353", "192.0.2.11"]) as gate:
            until(lambda: gate.ask("six-alive.test").status == 200, 10, "an answer by the name servers of the option")
            assert {gate.ask(name).status for name in ("six-alive.test", "of-hosts.test") for _ in range(4)} == {200}
            until(lambda: second.asked, 5, "each name server is asked")
        with gateway(haproxy, mocks, ["192.0.2.10"]) as gate:
            assert gate.ask("192.0.2.10").status == 200
        with gateway(haproxy, mocks, ["of-hosts.test"], name_servers="none") as gate:
            assert {gate.ask("of-hosts.test").status for _ in range(4)} == {200} and "resolvers" not in gate.backends


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@OWN
def test_localhost_of_either_family(haproxy, address):
    """localhost is served by whichever of its two addresses the upstream listens at."""
    with host("dual"):
        mock = Mock("local", host=address, family=socket.AF_INET6 if ":" in address else socket.AF_INET, port=PORT)
        with contextlib.closing(mock), harness.Gateway(haproxy, [mock], {"routes": routes(["localhost"])}) as gate:
            assert {gate.ask("localhost").status for _ in range(6)} == {200}


@OWN
def test_localhost_is_ipv4_while_that_listens(haproxy):
    """What another user lets listen at ::1 gets no request."""
    with host("dual"):
        four, six = Mock("four", port=PORT), Mock("six", host="::1", family=socket.AF_INET6, port=PORT)
        with contextlib.closing(four), contextlib.closing(six), harness.Gateway(haproxy, [four, six], {"routes": routes(["localhost"])}) as gate:
            for _ in range(6):
                gate.ask("localhost").only(four)


@pytest.mark.parametrize("given, servers", [
    ([], []), ("none", []), (["10.0.0.53"], ["10.0.0.53:53"]), ("10.0.0.53:5353,::1", ["10.0.0.53:5353", "[::1]:53"]),
    (["[2001:db8::53]", "[2001:db8::53]:5353"], ["[2001:db8::53]:53", "[2001:db8::53]:5353"])], ids=str)
def test_name_servers_are_written(haproxy, work, given, servers):
    file = harness.write_config(work, {"name_servers": given, "openai_target": "http://name.test", "anthropic_target": "http://127.0.0.1:1"})
    done = harness.cli("backends", "-c", file)
    assert done.code == 0, done
    assert [line.split()[2] for line in done.out.splitlines() if line.startswith("    nameserver")] == servers
    assert ("resolvers" in done.out) == bool(servers) and "parse-resolv-conf" not in done.out


@pytest.mark.parametrize("wrong", ["dns.test", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:", "10.0.0", "[::1", "::1]:53", "[::1]53", "[10.0.0.1]:53", "10.0.0.1 x",
                                   "/etc/other.conf", "::1:99999"])
def test_what_is_no_name_server_is_refused(work, wrong):
    done = harness.cli("check", "-c", harness.write_config(work, {"name_servers": [wrong]}))
    assert done.code == 78 and "name_servers" in done.err and "[IPV6]:PORT" in done.err, done


@pytest.mark.parametrize("given", [["none", "10.0.0.53"], ["10.0.0.53", "none"], "none,10.0.0.53"], ids=str)
def test_none_stands_alone(work, given):
    done = harness.cli("check", "-c", harness.write_config(work, {"name_servers": given}))
    assert done.code == 78 and "name_servers" in done.err and "beside addresses" in done.err, done


def test_the_number_of_addresses(work):
    for number in (1, 2, 9):
        done = harness.cli("backends", "-c", harness.write_config(work, {"upstream_addresses": number}))
        assert ("server-template ipv4- 2-%d api.openai.com:443" % number in done.out) == (number > 1), done
        assert done.out.count("server-template") == (6 if number > 1 else 0)
