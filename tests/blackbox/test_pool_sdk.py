"""The official SDKs ask a route with a pool. If a member declines, they see one success; if all members do, they see the last member's error, and only then
come the SDKs' own retries. The same holds for streams, directly and through the tap."""
import json
import re

import pytest

import evidence
import harness
from harness import until
from pools import KEYS, PoolGateway, pool
from realtap import RealTap, Recorded
from sdk_rig import Call, Servers
from test_sdk import GREETING, KINDS, client, node  # noqa: F401
from test_tap_sdk import SHOWN

# The requests, as (SDK, way). With the way `tap` the answer streams through the tap, in the mode in which the SDK shows its caller the usage.
ROWS = [(sdk, way) for sdk in SHOWN for way in ("plain", "stream", "tap")]
STREAMS = [row for row in ROWS if row[1] != "plain"]
PLAIN = [row for row in ROWS if row[1] == "plain"]
# Each SDK's own class for an error.
CLASSES = {"openai": {429: "RateLimitError", 502: "InternalServerError", 503: "InternalServerError", 529: "InternalServerError"}}
CLASSES["anthropic"] = CLASSES["anthropic0"] = CLASSES["openai"]
CLASSES.update(genai=dict.fromkeys((429, 502, 503, 529), "ApiError"), vercel=dict.fromkeys((429, 502, 503, 529), "APICallError"))


def one(row):
    return "%s-%s" % (row[0].replace(".", ""), row[1])


def says(mock):
    """Returns a mock's `respond`. A model's name tells the answer's status and retry-after (`m-says429after2`); a model with another name is served."""
    def respond(request):
        told = re.search(rb"-says(\d{3})after(\d+)", request.target.encode() + request.body)
        if not told:
            return None
        body = {"type": "error", "error": {"message": "%s says no" % mock.name, "type": "kind_of_" + mock.name, "code": int(told[1]), "status": "SAYS"}}
        return int(told[1]), harness.JSON + [("Retry-After", told[2].decode())], json.dumps(body).encode()
    mock.respond = respond


@pytest.fixture(scope="module")
def aimock(node):  # noqa: F811
    directory = harness.workdir()
    servers = Servers(node, directory, {"d": KEYS["d"]})
    yield servers.named["d"]
    servers.close()
    evidence.discard(directory)


class SdkPools(Recorded, PoolGateway):
    def begin(self, client, row, name, model="1", mode=None, **options):  # noqa: F811
        """Begins one call of an SDK for the pool `name`. The option `maxRetries` says how often the SDK tries again by itself."""
        kind, way = SHOWN[row[0]][0], row[1]
        params = kind.params("%s-%s" % (name, model), "Hello")
        if kind.sdk == "vercel" and "maxRetries" in options:
            params["maxRetries"] = options.pop("maxRetries")
        mode = mode or (SHOWN[row[0]][1] if way == "tap" else way)
        return Call(client, self, kind.sdk, kind.call, mode, params, **dict(kind.options, **options))

    def recorded(self, calls, tapped):
        """Returns the ledger's rows of the last requests of `calls`, [(row of ROWS, Call)], in their order. Waits for the tap's report where `tapped(row)`."""
        ids = [call.got["headers"]["x-request-id"] for _, call in calls]

        def found():
            rows = {row["id"]: row for row in self.rows()}
            return all(id in rows and (row[1] != "tap" or tapped(rows[id])) for id, (row, _) in zip(ids, calls)) and [rows[id] for id in ids]
        return until(found, 10, lambda: [row for row in self.rows() if row["id"] in ids])


def asked(call):
    return "".join(sorted(request.mock.name for request in call.seen))


def failed(call, status, attempts=1):
    """Checks that the SDK raised its own error for `status` after `attempts` requests; returns all that it shows of the error."""
    error = call.error
    assert error["status"] == status and [sent["status"] for sent in call.sent] == [status] * attempts, (error, call.sent)
    sdk = call.sdk
    assert CLASSES[sdk][status] in error["classes"] or attempts > 1 and sdk == "vercel" and "RetryError" in error["classes"], error
    return json.dumps(error)


@pytest.fixture(scope="module")
def pools(haproxy, make_mock, aimock):
    mocks = {name: make_mock(name) for name in "abc"}
    says(mocks["a"])
    says(mocks["b"])
    mocks["c"].break_after = 1
    mocks["d"], mocks["g"] = aimock, make_mock("g")
    routes = []

    def add(row, case, **more):
        routes.append(dict(pool(mocks, "%s-%s" % (one(row), case), **more), tap=row[1] == "tap"))
    for row in ROWS:
        for case in ("429", "503", "529"):
            add(row, case, names="ad")
        add(row, "refused", names="gd")
        add(row, "key", names="ad")
    for row in PLAIN:
        add(row, "rests")
        for status in (429, 503, 529):
            add(row, "all%d" % status)
            add(row, "rest%d" % status)
        add(row, "none")
    for row in STREAMS:
        add(row, "cut", names="cd")
    # In the pools "none" no member has a credential, in the pools "key" the first member has none.
    env = {"%s_%s" % (member, name.replace("-", "_")): None for row in ROWS
           for member, name in (("A", one(row) + "-none"), ("B", one(row) + "-none"), ("A", one(row) + "-key"))}
    names = {variable for route in routes for variable in (member["auth"][4:] for member in route["pool"])}
    with SdkPools(haproxy, [mocks[name] for name in "abcdg"], {"routes": routes}, make_tap=lambda path, legs: RealTap(path, legs, report=False),
                  env={name: value for name, value in env.items() if name in names}) as gateway:
        gateway.by_name = mocks
        yield gateway


@pytest.mark.parametrize("case", ["429", "503", "529", "refused", "key"])
def test_one_success(pools, client, case):  # noqa: F811
    """However the first member declines, the SDK makes one request and gets the second member's answer, and each member was asked once."""
    tried = {"refused": ("g:unreachable", ""), "key": ("",)}.get(case, ("a:" + case,))
    if case == "refused":
        pools.by_name["g"].down()
    calls = [(row, pools.begin(client, row, "%s-%s" % (one(row), case), "says%safter1" % case if case.isdigit() else "1")) for row in ROWS]
    for row, call in calls:
        assert call.succeeded()["text"] == GREETING % "d", (row, call.got)
        assert asked(call) == ("ad" if case.isdigit() else "d"), (row, call.seen)
    for (row, call), told in zip(calls, pools.recorded(calls, lambda told: told["usage_from"] == "stream")):
        assert told["member"] == "d" and told["tried"] in tried and told["attempts"] == 1 + bool(told["tried"]), (row, told)
        assert told["tap"] == (row[1] == "tap") and (row[1] != "tap" or (told["input"], told["output"]) == (1234, 56)), (row, told)


def test_the_last_error(pools, client):  # noqa: F811
    """All members decline with a retry-after of one second. The SDK tries again as often as it does by itself, each time after that second, and then shows its
    caller the last member's error."""
    calls = [(row, status, pools.begin(client, row, "%s-all%d" % (one(row), status), "says%dafter1" % status, maxRetries=1 if status == 529 else 2))
             for row in PLAIN for status in (429, 503, 529)]
    for row, status, call in calls:
        attempts = 1 if call.sdk == "genai" else 2 if status == 529 else 3
        shown = failed(call, status, attempts)
        assert "b says no" in shown and "kind_of_a" not in shown and call.got["headers"]["retry-after"] == "1", (row, call.got)
        if call.sdk == "openai":
            assert (call.error["type"], call.error["code"]) == ("kind_of_b", status), call.error
        elif call.sdk.startswith("anthropic"):
            assert call.error["type"] == call.error["body"]["error"]["type"] == "kind_of_b", call.error
        assert asked(call) == "a" * attempts + "b" * attempts, (row, call.seen)
        times = [sent["at"] for sent in call.sent]
        assert all(later - earlier >= 990 for earlier, later in zip(times, times[1:])), (row, times)


def test_all_rest(pools, client):  # noqa: F811
    """All members rest. An SDK that may not try again raises its own error at once; one that may waits as long as the gateway says, and succeeds."""
    at_once, patient = [], []
    for number, row in enumerate(PLAIN):
        for status in (429, 503, 529):
            assert pools.ask("%s-rest%d-says%dafter100" % (one(row), status, status)).status == status
            at_once.append((row, status, pools.begin(client, row, "%s-rest%d" % (one(row), status), maxRetries=0)))
        if row[0] not in ("genai", "vercel-responses"):     # the first never tries again, the other finds the mock's answer too short
            status = (429, 503, 529)[number % 3]
            assert pools.ask("%s-rests-says%dafter2" % (one(row), status)).status == status
            patient.append((row, status, pools.begin(client, row, one(row) + "-rests", maxRetries=2)))
    for row, status, call in at_once:
        assert "upstream_resting" in failed(call, status) and 90 <= int(call.got["headers"]["retry-after"]) <= 100, (row, call.got)
        assert not call.seen
    for row, status, call in patient:
        assert call.succeeded(attempts=2)["text"] == "hi" and asked(call) == "a", (row, call.got)
        first, second = call.sent
        assert first["status"] == status and second["at"] - first["at"] >= 990, (row, call.sent)


def test_no_credential(pools, client):  # noqa: F811
    """No member has a credential. No SDK tries again by itself, except Vercel's, which does so after every 502."""
    calls = [(row, pools.begin(client, row, one(row) + "-none", maxRetries=0 if row[0].startswith("vercel") else 2)) for row in PLAIN]
    for row, call in calls:
        assert "upstream_auth_unavailable" in failed(call, 502) and not call.seen, (row, call.got)


def test_a_stream_that_breaks(pools, client):  # noqa: F811
    """A stream breaks off after its first event. The SDK raises an error and does not try again, no other member is asked, and the ledger says that the
    answer broke off."""
    # HAProxy 3.0 logs some of these ends as if the client had left, also on a route without a pool.
    ends = ("SD", "CD") if harness.version_of(pools.haproxy_binary) == (3, 0) else ("SD",)
    calls = [(row, pools.begin(client, row, one(row) + "-cut", mode="stream")) for row in STREAMS]
    for row, call in calls:
        assert call.error and len(call.sent) == 1 and asked(call) == "c", (row, call.got)
    for (row, call), told in zip(calls, pools.recorded(calls, lambda told: told["tap"] != 3)):
        assert (told["member"], told["attempts"], told["tried"], told["status"]) == ("c", 1, "", 200), (row, told)
        assert told["termination"] in ends and told["usage_from"] in ("estimated", "partial") and told["tap"] in ((1, 4) if row[1] == "tap" else (0,)), (row, told)
