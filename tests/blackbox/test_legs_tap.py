"""Legs with the tap that ships: the ledger's rows, reloads and upgrades while streams run, a HAProxy in a chroot."""
import json
import os
import re
import signal
import threading

import pytest

import harness
from harness import bearer, secret, until
from plaintap import TappedGateway
from realtap import RealTap, Recorded
from test_legs import KEY, OTHER, Stream, routes


def test_rows(haproxy, make_mock):
    """A stream's row is exact through the tap. What HAProxy answers in place of an upstream has the same row through the tap and straight."""
    mock = make_mock("rows")
    gateway = Recorded(haproxy, [mock], {"routes": routes(mock)}, make_tap=lambda path, legs: RealTap(path, legs, report=False), env={"KEY": KEY, "OTHER": OTHER})
    with gateway:
        expected = {}
        for target in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
            answer = gateway.post(target, {"model": "rep-1", "stream": True})
            expected[answer.header("x-request-id")] = (200, "stream", 11, 7)
        pairs = []
        port = mock.port
        for fault in ("raw", "down"):
            if fault == "raw":
                mock.raw = b"no HTTP\r\n\r\n"
            else:
                mock.down()
            pairs.append([gateway.ask(model, stream=True).header("x-request-id") for model in ("rep-1", "off-1")])
            mock.reset()
        mock.port = port
        mock.up()
        rows = gateway.by_id(len(expected) + 2 * len(pairs))
        until(lambda: all(one["usage_from"] == "stream" for id, one in gateway.by_id(len(rows)).items() if id in expected), 10, lambda: repr(gateway.rows()))
        rows = gateway.by_id(len(rows))
        for id, want in expected.items():
            row = rows[id]
            assert (row["status"], row["usage_from"], row["input"], row["output"]) == want and row["backend"].startswith("llm-"), row
        for through, straight in pairs:
            same = [{key: value for key, value in rows[id].items() if not key.endswith("_ms") and key not in (
                "id", "model", "tap", "termination", "bytes_in", "bytes_out", "route", "rowid")} for id in (through, straight)]
            assert same[0] == same[1], same
        # Its code is told to people and metrics as without the tap.
        assert len(gateway.agent.lines("event=refused_by_haproxy .*code=upstream_(error|unavailable)")) == 4


def headers_of(count, size):
    return [("x-stainless-%d" % n, "b" * size) for n in range(count)]


# name: what makes a head of about n bytes, or of n headers: (target's query, headers)
HEADS = {"query": lambda n: ("?q=" + "a" * n, []),
         "headers": lambda n: ("", headers_of(n // 1000, 980) + headers_of(1, n % 1000)),
         "count": lambda n: ("", headers_of(n, 1))}


@pytest.mark.parametrize("buffer, name", [("262144", name) for name in HEADS] + [("16384", "query"), ("16384", "headers")])
def test_long_heads(haproxy, make_mock, buffer, name):
    """A request with the longest head that HAProxy takes passes with a tap, as without. Short heads, and long ones of answers, pass through it."""
    mock = make_mock("heads")
    with Recorded(haproxy, [mock], {"routes": routes(mock)}, make_tap=lambda path, legs: RealTap(path, legs, report=False), env={"KEY": KEY, "OTHER": OTHER},
                  limits={"LLM_BUFSIZE": buffer, "LLM_BUFSIZE_LARGE": "none"}) as gateway:
        def ask(model, n):
            query, headers = HEADS[name](n)
            try:
                return gateway.post("/v1/chat/completions" + query, {"model": model, "stream": True}, bearer() + headers).status
            except (EOFError, OSError):     # refused, and closed before all was read
                return 0
        taken, refused = 1000, 5000 if name == "count" else int(buffer)
        while refused - taken > 1:
            n = (taken + refused) // 2
            taken, refused = (n, refused) if ask("off-1", n) == 200 else (taken, n)
        # Headers that the way through the tap adds, and what HAProxy takes for each, make a few hundred bytes.
        steps = (0, 1, 2, 3, 5, 8) if name == "count" else (0, 16, 50, 100, 200, 400, 1000)
        assert [ask("rep-1", taken - less) for less in steps] == [200] * len(steps), taken
        mock.extra_headers = [("x-long", "y" * (int(buffer) // 3))]
        answers = [gateway.post("/v1/chat/completions?q=" + "a" * n, {"model": "rep-1", "stream": True}) for n in (min(19000, int(buffer) // 5), int(buffer) // 2)]
        mock.reset()
        assert [one.status for one in answers] == [200, 200] and all(one.header("x-long") == "y" * (int(buffer) // 3) for one in answers)
        through, straight = (one.header("x-request-id") for one in answers)

        def rows():
            return {row["id"]: row["usage_from"] for row in gateway.rows()}
        until(lambda: rows().get(through) == "stream" and straight in rows(), 10, lambda: repr(gateway.rows()[-2:]))
        assert rows()[straight] != "stream"


def test_a_large_picture(haproxy, make_mock):
    """Gemini's picture in an answer that is no stream, and larger than HAProxy's buffer: the tap reads the usage behind it."""
    mock = make_mock("picture")
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 1290, "totalTokenCount": 1302}
    parts = [{"inlineData": {"mimeType": "image/png", "data": "iVBOR" * 900000}}]
    body = json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}).encode()
    mock.respond = lambda request: (200, [("content-type", "application/json")], body)
    with Recorded(haproxy, [mock], {"routes": routes(mock)}, make_tap=lambda path, legs: RealTap(path, legs, report=False), env={"KEY": KEY, "OTHER": OTHER}) as gateway:
        through, straight = (gateway.post("/v1beta/models/%s-image:generateContent" % route, {"contents": []}) for route in ("rep", "off"))
        assert through.response.body == straight.response.body == body
        ids = [one.header("x-request-id") for one in (through, straight)]

        def told():
            rows = {row["id"]: (row["usage_from"], row["input"], row["output"]) for row in gateway.rows()}
            return [rows.get(id) for id in ids]
        until(lambda: told() == [("stream", 12, 1290), ("unknown", None, None)], 10, lambda: repr(told()))


def test_streams_through_reloads(haproxy, make_mock):
    """HAProxy reloads, and the tap is replaced, while streams run and new ones come: each is whole, and reported once."""
    mock = make_mock("reloaded")
    gateway = TappedGateway(haproxy, [mock], {"routes": routes(mock)}, make_tap=RealTap, env={"KEY": KEY, "OTHER": OTHER})
    models, asked = ("rep-1", "star", "key-1") * 3, 0
    with gateway:
        for event in ("reload", "upgrade"):
            mock.gate = threading.Event()
            streams = [Stream(gateway, model) for model in models]
            gate, mock.gate = mock.gate, None
            before = gateway.haproxy
            if event == "reload":
                gateway.haproxy = harness.Process("haproxy", [haproxy, "-db", "-f", str(gateway.cfg), "-sf", str(before.pid)],
                                                  gateway.dir / "reloaded.log", harness.environment(gateway.haproxy_env))
                until(lambda: "Proxy llm stopped" in before.text(), 20, before.tail)
            else:
                gateway.tap.upgrade()
            with gateway.connect() as connection:
                for model in models:
                    # A HAProxy that reloads closes what its clients do not use at the moment.
                    gateway.ask(model, stream=True, connection=connection if event == "upgrade" else None).only(mock)
                    assert gateway.ask(model, stream=True).status == 200
            gate.set()
            for stream in streams:
                stream.rest()
                assert stream.whole and b"[DONE]" in stream.data, stream.data
            asked += 3 * len(models)
            if event == "reload":
                before.end(signal.SIGINT)      # HAProxy waits some seconds for the connections that it keeps open to the tap
                before.check()

        def reported():
            reports = gateway.tap.read_reports()
            assert len({one["id"] for one in reports}) == len(reports) and {one["end"] for one in reports} <= {"whole"}, reports
            return len(reports) == asked
        until(reported, 10, lambda: "%d of %d reports" % (len(gateway.tap.reports), asked))


def test_a_haproxy_that_lacks_the_leg(haproxy, make_mock):
    """Its file may be older than the agent's routes: the request goes without the tap, with its credential."""
    mock = make_mock("lacks")
    with TappedGateway(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER},
                       edit=lambda text: re.sub(r"(?m)(^backend | track )leg\.", r"\1other.", text)) as gateway:
        answer = gateway.ask("rep-1", stream=True)
        assert answer.only(mock).header("authorization") == "Bearer " + KEY and not gateway.went(answer)


def test_many_legs(haproxy, make_mock):
    """120 routes with an upstream and a credential each: HAProxy starts, each leg is reached and adds its own credential, and one leg is checked for all."""
    mock, keys = make_mock("many"), {"KEY%d" % n: secret("many-%d" % n) for n in range(120)}
    many = [{"model_prefix": "m%d-" % n, "upstream": mock.url("/b%d" % n), "auth": "env:KEY%d" % n} for n in range(120)]
    with TappedGateway(haproxy, [mock], {"routes": many}, make_tap=lambda path, legs: RealTap(path, legs, report=False), env=keys) as gateway:
        for n in range(120):
            got = gateway.ask("m%d-x" % n, stream=True).only(mock)
            assert got.header("authorization") == "Bearer " + keys["KEY%d" % n] and got.path.startswith("/b%d/v1" % n)
        legs = gateway.backends.split("backend llm-tap")[1]
        assert len(re.findall(r"(?m)^frontend leg\.", legs)) == 123 == len(list(gateway.legs.iterdir())) and len(re.findall(r" check inter ", legs)) == 2
        # Three connections are kept from each use of a leg: to the tap, to the leg, to the upstream; the second one has both its ends here.
        assert len(os.listdir("/proc/%d/fd" % gateway.haproxy.pid)) < 123 + 120 * 4 + 60


class Chrooted(TappedGateway):
    """HAProxy in a chroot, in which it sees all sockets at other paths."""

    def start(self):
        self.place = self.dir / "root"
        self.place.mkdir()
        self.config["listen"] = "unix@%s/agent.sock" % self.place
        self.edit = lambda text: text.replace("\nglobal\n", "\nglobal\n    chroot %s\n" % self.place, 1)
        super().start()

    def start_haproxy(self):
        self.haproxy_env.update(LLM_AGENT="unix@/agent.sock", LLM_TAP="unix@/tap.sock", LLM_LEGS_INSIDE="/legs")
        super().start_haproxy()


@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
def test_in_a_chroot(haproxy, make_mock):
    """Through the tap, and straight to the leg when the tap is gone."""
    mock = make_mock("chroot")
    gateway = Chrooted(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER})
    with gateway:
        answer = gateway.ask("rep-1", stream=True)
        assert answer.only(mock).header("authorization") == "Bearer " + KEY and gateway.went(answer)
        gateway.tap.kill()
        answer = gateway.ask("rep-1", stream=True)
        assert answer.only(mock).header("authorization") == "Bearer " + KEY and not gateway.went(answer)
