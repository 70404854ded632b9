"""A gateway whose routes have pools, upstreams that decline, and what the log lines say of members."""
import itertools
import json
import math

import harness
from harness import secret, until
from plaintap import Tapped
from upstream import Mock, Request

NAMES = "abcd"
KEYS = {name: secret("pool-" + name) for name in NAMES + "efght"}


class PoolGateway(harness.Gateway):
    """A gateway whose HAProxy has a directory for the sockets of legs. `mocks`: the upstreams, each with a name of one letter. A variable of a member's
    credential gets the key of that name from KEYS; one that `env` sets to None is not set."""

    def __init__(self, haproxy, mocks, config, env=None, owners=None, **more):
        variables = dict(env or {})
        for route in config["routes"]:
            for member in route.get("pool", []):
                if member.get("auth", "").startswith("env:"):
                    variables.setdefault(member["auth"][4:], KEYS.get(member["name"]))
        for missing in [name for name, value in variables.items() if value is None]:
            del variables[missing]
        self.by_name = {mock.name: mock for mock in mocks}
        own = {KEYS[name]: [mock] for name, mock in self.by_name.items()}
        super().__init__(haproxy, mocks, config, env=variables, owners=dict(own, **(owners or {})), **more)

    def start_haproxy(self):
        self.legs = self.dir / "legs"
        self.legs.mkdir(exist_ok=True)
        self.haproxy_env.setdefault("LLM_LEGS", str(self.legs))
        super().start_haproxy()

    def close(self, quiet=False):
        """Checks that no upstream got a request without its end, except upstreams that have died, or that answer before they have the whole request."""
        try:
            super().close(quiet)
        finally:
            cut = [request for mock in self.by_name.values() if isinstance(mock, Mock) and not mock.takes_parts for request in mock.requests if not request.whole]
            assert quiet or not cut, cut

    def line(self, answer):
        """Returns the log line of the request that `answer` (an Exchange) belongs to, as a dict."""
        wanted = '"id":"%s"' % answer.header("x-request-id")

        def found():
            return [line for line in self.haproxy.text().splitlines() if wanted in line and line.endswith("}")]
        return json.loads(until(found, 5, lambda: "no log line with %s" % wanted)[0])

    def served(self, answer, member, tried=""):
        """Checks that the log line names `member` as the one that served, and `tried` as the members before it; that each of them was asked once; and that
        neither the upstreams nor the client saw a header by which the pool's backends talk to each other. Returns the log line."""
        line = self.line(answer)
        assert (line.get("member"), line.get("tried")) == (member, tried), line
        declined = [one.split(":")[0] for one in tried.split(",") if one and one.split(":")[1].isdigit()]
        assert asked(answer) == "".join(sorted(declined + [member])), (asked(answer), line)
        for request in answer.seen:
            assert not [name for name, _ in request.headers if name.lower().startswith("x-llm")], request
        assert not [name for name, _ in answer.headers if name.lower().startswith("x-llm")], answer.response
        return line


class TappedPoolGateway(Tapped, PoolGateway):
    pass


class Early(Mock):
    """An upstream that declines as soon as it has a request's head, and takes the body in after that."""

    takes_parts = True

    def _read(self, sock, buffer, number):
        while b"\r\n\r\n" not in buffer:
            data = sock.recv(4096)
            if not data:
                return None, b""
            buffer += data
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        request = Request(self, number, lines[0], [tuple(line.split(": ", 1)) for line in lines[1:]], head)
        with self.lock:
            self.requests.append(request)
        sock.sendall(b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        size = request.header("content-length")
        while len(buffer) < int(size) if size else not buffer.endswith(b"\r\n0\r\n\r\n"):
            data = sock.recv(65536)
            if not data:
                break
            buffer += data
        return None, b""


def pool(mocks, name, names="ab", more=None, **options):
    """Returns a route for the models that begin with NAME-, with a pool of the mocks `names`. Each member's credential has a variable of its own, so that a
    decline in another pool does not let the member rest. `more`: {member: further keys of it}; `options`: further keys of the route."""
    members = [dict({"name": one, "upstream": mocks[one].url(), "auth": "env:%s_%s" % (one.upper(), name.replace("-", "_"))}, **(more or {}).get(one, {}))
               for one in names]
    return dict({"model_prefix": name + "-", "name": name, "pool": members}, **options)


def declines(status, retry_after=None, body=b'{"error":{"message":"no"}}'):
    """Returns a function for a mock's `respond`, which answers each request with `status`, and with `retry_after` unless that is None."""
    headers = [("Content-Type", "application/json")] + ([("Retry-After", retry_after)] if retry_after is not None else [])
    return lambda request: (status, headers, body)


def likely(tries, share, chance=1e-7):
    """Returns the bounds, least and most, of how many of `tries` succeed, if each does with the probability `share`. Fewer than the least, and more than the
    most, each have a probability below `chance`."""
    parts = [math.comb(tries, count) * share ** count * (1 - share) ** (tries - count) for count in range(tries + 1)]
    below, above = list(itertools.accumulate(parts)), list(itertools.accumulate(reversed(parts)))
    return sum(1 for one in below if one < chance), tries - sum(1 for one in above if one < chance)


def asked(answer):
    """Returns the names of the upstreams that received the request of `answer`, in alphabetical order, one letter for each time."""
    return "".join(sorted(request.mock.name for request in answer.seen))


def bring_back(mocks):
    """Has each upstream of `mocks` accept connections and answer as at the beginning."""
    for mock in mocks.values():
        if mock.stopping.is_set():
            mock.up()
        mock.reset()
