"""HAProxy's log lines on their way to the agent: which local users can read and write them, and what is lost. Each test has a machine of its own
(namespaces.py), so the shipped defaults are used as they are."""
import grp
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import harness
from ledgers import KEY, LedgerGateway, begun_stream, routes
from namespaces import apart
from upstream import Mock

STRANGER = 65534
PLACES = ("/run/spoa-llm", "/var/lib/haproxy/run/spoa-llm")

class Stranger:
    """Another user of the machine. Tries everything at once, then listens while the block runs; afterwards has `managed`, `bound`, `heard`."""

    def __init__(self, ports=(9602,), seconds=0.7):
        # Its text is given to it, because another user may not be allowed to read this folder.
        self.process = subprocess.Popen([sys.executable, "-c", (harness.ROOT / "tests/rig/stranger.py").read_text()], text=True, cwd="/",
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=STRANGER, group=STRANGER, extra_groups=[])
        self.process.stdin.write(json.dumps([PLACES, ports, seconds]))
        self.process.stdin.close()

    def __enter__(self):
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.managed, self.bound, self.heard = json.loads(self.process.stdout.read())
        assert self.process.wait(10) == 0


def unit_sockets(name):
    """The sockets of a socket unit in dist/, made as systemd makes them: a list."""
    text = (harness.ROOT / "dist" / name).read_text()

    def setting(key, otherwise):
        return (re.findall(r"^%s=(.*)$" % key, text, re.M) or [otherwise])[-1]
    made = []
    for way, address in re.findall(r"^Listen(Stream|Datagram)=(.*)$", text, re.M):
        kind = socket.SOCK_STREAM if way == "Stream" else socket.SOCK_DGRAM
        if address[0] == "/":
            old = os.umask(0o777 & ~int(setting("DirectoryMode", "0755"), 8))
            os.makedirs(os.path.dirname(address), exist_ok=True)
            os.umask(old)
            sock = socket.socket(socket.AF_UNIX, kind)
            sock.bind(address)
            os.chown(address, 0, grp.getgrnam(setting("SocketGroup", "root")).gr_gid)
            os.chmod(address, int(setting("SocketMode", "0666"), 8))
        else:
            host, _, port = address.rpartition(":")
            sock = socket.socket(socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, int(port)))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        made.append(sock)
    return made


class Inherited:
    """Log sockets that the agent inherits, as LedgerGateway wants them."""
    port = 9602
    addresses = ["127.0.0.1:9602", "udp@127.0.0.1:9602"]

    def __init__(self, sockets):
        self.all = sockets

    def close(self):
        for sock in self.all:
            sock.close()


class Shipped(LedgerGateway):
    """Agent and HAProxy with the log addresses that they have by default."""
    before_agent = ()

    def start(self):
        del self.config["log_listen"]
        self.config.update(self.addresses)
        for name in ("LLM_LOG_RING", "LLM_LOG_UDP"):
            del self.limits[name]
        super().start()

    def start_haproxy(self):
        for name in ("LLM_AGENT", "LLM_LOG_RING", "LLM_LOG_UDP"):
            del self.haproxy_env[name]
        super().start_haproxy()

    def __init__(self, haproxy, mock, addresses=None, **more):
        self.addresses = addresses or {"listen": "unix@/run/spoa-llm/spoa.sock"}
        super().__init__(haproxy, [mock], {"routes": routes(mock)}, **more)


def ask(gateway, ids):
    exchange = gateway.ask("gpt-l")
    assert exchange.status == 200, exchange.response
    ids.append(exchange.response.header("x-request-id"))


def refused(gateway, count=3):
    """Requests while no agent answers: HAProxy refuses and logs them."""
    for _ in range(count):
        assert gateway.ask("gpt-l").status == 503


def check(stranger, when):
    assert not stranger.managed, "%s, another user could %s" % (when, ", ".join(stranger.managed))
    assert not stranger.heard, "%s, another user bound %s and heard %r" % (when, stranger.bound, stranger.heard[:2])


@pytest.mark.parametrize("how", ["by-hand", "systemd"])
@apart(queue=512)
def test_no_other_user_reads_or_writes_a_line(haproxy, how):
    """With the shipped defaults, and with the shipped units and HAProxy in its chroot: before the agent was started, while it runs, after its worker
    was killed, and after all of it was killed."""
    mock = Mock("logchannel")
    os.mkdir("/run/spoa-llm", 0o755)
    more = {}
    if how == "systemd":
        config = json.loads((harness.ROOT / "dist/spoa-llm.json").read_text())
        sockets = unit_sockets("spoa-llm.socket") + unit_sockets("spoa-llm-log.socket")
        more = {"sockets": Inherited(sockets), "addresses": {key: config[key] for key in ("listen", "log_listen") if key in config},
                "edit": lambda text: text.replace("\nglobal\n", "\nglobal\n    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n")}
    with Stranger(seconds=0.3) as stranger:
        pass
    check(stranger, "before the agent was started")
    with Shipped(haproxy, mock, **more) as gateway:
        ids = []
        with Stranger() as stranger:
            for _ in range(5):
                ask(gateway, ids)
        check(stranger, "while the agent runs")
        assert set(ids) <= set(gateway.by_id(len(ids)))
        os.kill(gateway.agent.pid, signal.SIGKILL)
        with Stranger() as stranger:
            harness.until(lambda: gateway.ask("gpt-l").status == 200, 10, "the next worker")
        check(stranger, "when the worker was killed")
        gateway.agent.kill()
        with Stranger(seconds=2.5) as stranger:
            refused(gateway)
            time.sleep(1.2)     # for HAProxy's ring, which connects again
        check(stranger, "while no agent runs")
        gateway.start_agent()
        harness.until(lambda: gateway.ask("gpt-l").status == 200, 10, "answers again")
        count = len(gateway.rows())
        assert count >= len(ids) + 1
        assert not gateway.agent.lines("event=(log_line_foreign|log_listen_open|log_queue_short|socket_unused)")
    mock.close()


@apart()
def test_an_inherited_udp_socket_is_not_shared(haproxy):
    """systemd gives each socket SO_REUSEADDR, with which a stranger could bind it too. The agent takes that away before it reads: the stranger binds nothing
    while it runs, and nothing when it was killed, because the socket is still there."""
    sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", Inherited.port))
    sockets[0].listen(64)
    sockets[1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    mock = Mock("shared")
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}, sockets=Inherited(sockets)) as gateway:
        # Each address is warned of.
        assert len(gateway.agent.lines("event=log_listen_open address=(udp@)?127.0.0.1:9602 ")) == 2
        for when in ("while the agent runs", "when it was killed"):
            with Stranger(seconds=0.5) as stranger:
                ids = []
                if when == "while the agent runs":
                    for _ in range(3):
                        ask(gateway, ids)
                else:
                    refused(gateway)
            assert not stranger.bound and not stranger.heard, when
            if when == "while the agent runs":
                assert set(ids) <= set(gateway.by_id(len(ids)))
                gateway.agent.kill()
    mock.close()


# ---- where the agent makes its sockets itself


def open_to_all(place):
    os.chmod(place, 0o777)


def sticky(place):
    os.chmod(place, 0o1777)


def others_group(place):
    os.chown(place, 0, STRANGER)
    os.chmod(place, 0o775)


def others_own(place):
    os.chown(place, STRANGER, STRANGER)


def others_above(place):
    os.chmod(place.parent, 0o777)


def owner_above(place):
    os.chown(place.parent, STRANGER, 0)


def others_link(place):
    place.rename(place.parent / "real")
    place.symlink_to(place.parent / "real")
    os.chown(place, STRANGER, STRANGER, follow_symlinks=False)


def link_into_the_open(place):
    place.rmdir()
    there = place.parent.parent / "open" / "deeper"
    there.mkdir(parents=True)
    os.chmod(there.parent, 0o777)
    place.symlink_to(there)


OPEN = [open_to_all, sticky, others_group, others_own, others_above, owner_above, others_link, link_into_the_open]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory to another user needs root")
def test_a_directory_that_another_user_can_write_to(work):
    """The agent does not start with a socket there, of whichever option: the stranger could put his own in its place, at the latest while no agent runs."""
    for number, (opened, option) in enumerate([(one, "log_listen") for one in OPEN] + [(sticky, "listen"), (sticky, "admin_listen")]):
        place = work / ("m%d" % number) / "run" / "llm"
        place.mkdir(parents=True)
        os.chmod(place.parent.parent, 0o755)
        opened(place)
        config = {"listen": "unix@%s/a%d.sock" % (work, number), "ledger": str(work / "l"), "admin_listen": [], "log_listen": "unix@%s/l.sock" % work}
        for address in ("unix@%s/x.sock" % place,) + (("dgram@%s/x.sock" % place,) if option == "log_listen" else ()):
            config[option] = address
            done = harness.cli("run", "-c", harness.write_config(work, config), env={"SPOA_LLM_ADMIN_LISTEN": ""} if option == "admin_listen" else {})
            assert done.code == 69 and "another socket at this path" in done.err and str(place.parent.parent if "link_into" in opened.__name__ else place.parent) \
                in done.err, (opened.__name__, option, done)
            assert not (place / "x.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory to another user needs root")
def test_a_directory_that_only_the_trusted_can_write_to(work, agents):
    """Root's and the agent's own directories, with any group that may only look, below a sticky one and behind root's symbolic link."""
    os.mkdir(work / "all")
    os.chmod(work / "all", 0o1777)
    for number, mode in enumerate((0o700, 0o750, 0o2755, 0o770)):
        place = work / "all" / ("m%d" % number)
        place.mkdir()
        os.chmod(place, mode)
        if mode == 0o750:
            os.chown(place, 0, STRANGER)
        (work / "all" / ("link%d" % number)).symlink_to(place)
        agents({"listen": "unix@%s/all/link%d/a.sock" % (work, number), "routes": []})


# ---- what is lost


RELOADS, STREAMS = 50, 20


class Gate:
    """What the mock's streams wait for after their first event."""

    def __init__(self):
        self.event = threading.Event()

    def wait(self, _):
        return self.event.wait(120)

    def set(self):
        self.event.set()


class Streams:
    """Streams through HAProxy that have begun."""

    def __init__(self, gateway, count):
        self.connections, self.ids = [], []
        for _ in range(count):
            connection, request_id = begun_stream(gateway)
            self.ids.append(request_id)
            self.connections.append(connection)

    def end(self):
        """Reads them to their end; the mock's gate is open."""
        for connection in self.connections:
            data = b""
            while b"message_stop" not in data[-400:]:
                data = data[-400:] + connection.sock.recv(65536)
            connection.close()
        self.connections = []


def reload(gateway):
    """HAProxy's old process keeps its streams."""
    old = gateway.haproxy
    gateway.haproxy = harness.Process("haproxy", [gateway.haproxy_binary, "-db", "-f", str(gateway.cfg), "-sf", str(old.pid)],
                                      gateway.dir / ("haproxy-%d.log" % time.monotonic_ns()), harness.environment(gateway.haproxy_env))
    harness.until(lambda: "Proxy llm stopped" in old.text() or not old.running(), 20, lambda: "the old process stops to listen\n" + old.tail())
    return old


def lost(haproxy, reloads):
    """How many ends of `reloads` times STREAMS streams are not in the ledger. All of them end in an old process of HAProxy, those of
    the first `reloads` / 5 + 1 reloads while the agent is stopped for 2 seconds."""
    mock = Mock("lost")
    os.mkdir("/run/spoa-llm", 0o755)
    with Shipped(haproxy, mock) as gateway:
        ids, kept, old = [], [], []
        mock.gate = Gate()
        for number in range(reloads):
            streams = Streams(gateway, STREAMS)
            ids += streams.ids
            kept.append(streams)
            old.append(reload(gateway))
            stall = number == reloads // 5
            if number < reloads // 5:
                continue
            if stall:
                gateway.agent.process.stop()
            mock.gate.set()
            for streams in kept:
                streams.end()
            kept = []
            if stall:
                time.sleep(2)
                gateway.agent.process.kill(signal.SIGCONT)
                harness.until(lambda: gateway.ask("gpt-l").status == 200, 20, "answers again")
            mock.gate = Gate()
        missing = set(ids)

        def all_there():
            missing.difference_update(row["id"] for row in gateway.rows())
            return not missing
        try:
            harness.until(all_there, 5, "the ledger has them all", step=0.1)
        except AssertionError:
            pass
        for process in old:
            process.end(signal.SIGINT)
        warned = bool(gateway.agent.lines("event=log_queue_short"))
    mock.close()
    assert len(set(ids)) == reloads * STREAMS
    return len(missing), warned


@apart(queue=4096)
def test_reloads_and_a_stall_lose_nothing(haproxy):
    """With the queue that the package and docker compose set; a fifth of the thousand ends that LOG_RELOADS=50 means."""
    assert lost(haproxy, int(os.environ.get("LOG_RELOADS", RELOADS // 5))) == (0, False)


@apart(queue=10)
def test_a_short_queue_is_told(haproxy):
    """The kernel's default: what is lost, and that the agent says so at its start."""
    missing, warned = lost(haproxy, 5)
    assert missing > 0 and warned
