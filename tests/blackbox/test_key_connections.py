"""HAProxy takes the hash of a client's key from the connection's memory where the header is the same as before: no request gets the hash of another key, and nothing
shows what is remembered."""
import json
import re

import pytest

import harness
import keys
from clients import ClientGateway
from harness import secret, until

ALICE, BOB, CARL, OFF, STRANGER = (keys.key(name) for name in ("alice", "bob", "carl", "disabled", "stranger"))
MINE = secret("own")
CLIENTS = [keys.entry("alice", ALICE), keys.entry("bob", BOB), keys.entry("carl", CARL, requests_per_minute=1), keys.entry("off", OFF, enabled=False)]
TARGET = "/v1/files"        # goes where the caller's own credential goes
LAST = "A" if ALICE[-1] != "A" else "B"


def auth(value):
    return ("authorization", value)


# Headers of a request -> the statuses that it may get, and whose its log line says it is.
CASES = {
    "no key": ([auth("Bearer " + MINE)], (200,), ""),
    "alice": ([auth("Bearer " + ALICE)], (200,), "alice"),
    "bob": ([auth("Bearer " + BOB)], (200,), "bob"),
    "a small scheme": ([auth("bearer " + ALICE)], (200,), "alice"),
    "x-api-key": ([("x-api-key", ALICE)], (200,), "alice"),
    "x-api-key of bob's": ([("x-api-key", BOB)], (200,), "bob"),
    "x-llm-key": ([("x-llm-key", ALICE), auth("Bearer " + MINE)], (200,), "alice"),
    "x-llm-key of bob's": ([("x-llm-key", BOB), auth("Bearer " + MINE)], (200,), "bob"),
    "x-goog-api-key": ([("x-goog-api-key", BOB)], (200,), "bob"),
    "api-key": ([("api-key", ALICE)], (200,), "alice"),
    "a limit of requests": ([auth("Bearer " + CARL)], (200, 429), "carl"),
    "unknown": ([auth("Bearer " + STRANGER)], (401,), ""),
    "disabled": ([("x-api-key", OFF)], (401,), "off"),
    "one letter more": ([auth("Bearer %sA" % ALICE)], (401,), ""),
    "one letter less": ([("x-api-key", ALICE[:-1])], (401,), ""),
    "another last letter": ([auth("Bearer " + ALICE[:-1] + LAST)], (401,), ""),
    "no scheme": ([auth(ALICE)], (400,), ""),
    "a scheme in x-api-key": ([("x-api-key", "Bearer " + ALICE)], (400,), ""),
    "two values": ([auth("Bearer " + ALICE), auth("Bearer " + ALICE)], (400,), ""),
    "two keys": ([auth("Bearer " + ALICE), ("x-api-key", BOB)], (400,), ""),
    "a key elsewhere": ([auth("Bearer " + ALICE), ("cookie", "a=" + ALICE)], (400,), ""),
}


def each_after_each(items):
    """Returns a sequence in which each of `items` stands once behind each of them, itself included."""
    return [one for at, item in enumerate(items) for one in [item, *(x for later in items[at + 1:] for x in (item, later))]] + items[:1]


def lines(gateway, answers):
    """The log lines of `answers`, in that order."""
    wanted = [answer.header("x-request-id") for answer in answers]

    def all_there():
        found = {line["id"]: line for line in map(json.loads, (text for text in gateway.haproxy.text().splitlines() if text.startswith("{") and text.endswith("}")))}
        return [found[one] for one in wanted] if all(one in found for one in wanted) else None
    return until(all_there, 10, "each request has its log line")


@pytest.fixture(scope="module")
def upstream(make_mock):
    return make_mock("d")


def gateway_of(haproxy, upstream, **more):
    config = {"routes": [{"model_prefix": "*", "upstream": upstream.url()}], **{name + "_target": upstream.url() for name in ("openai", "anthropic", "gemini")}}
    return ClientGateway(haproxy, [upstream], config, CLIENTS, **more)


def test_every_sequence_in_every_way_is_what_its_headers_say(haproxy, upstream):
    limited = []
    with gateway_of(haproxy, upstream) as gateway:
        for way in "h1", "h2c":
            gateway.way = way
            with gateway.connect() as connection:
                names = each_after_each(list(CASES))
                answers = [gateway.call("GET", TARGET, CASES[name][0], connection=connection) for name in names]
            told = lines(gateway, answers)
            assert len({line["src"] for line in told}) == 1, "more than one connection"
            for before, name, answer, line in zip([None] + names, names, answers, told):
                headers, statuses, client = CASES[name]
                assert answer.status in statuses and line["client"] == client and line.get("keyed", 0) == (200 in statuses and client != ""), (way, before, name, answer.status, line)
                limited += [name] if answer.status == 429 else []
        assert set(limited) == {"a limit of requests"}

        # A key that is taken away counts no longer, though its connection still stands and brought it with each request.
        with gateway.connect() as connection:
            def status():
                return gateway.call("GET", TARGET, CASES["bob"][0], connection=connection).status
            assert [status(), status()] == [200, 200]
            gateway.write([one for one in CLIENTS if one["name"] != "bob"])
            until(lambda: status() == 401, 10, "bob's key is refused")


def test_streams_of_one_connection_do_not_mix_their_keys(haproxy, upstream):
    cases = [CASES[name] for name in ("alice", "bob", "no key", "x-api-key of bob's", "x-llm-key", "unknown")]
    with gateway_of(haproxy, upstream, way="h2c") as gateway, gateway.connect() as connection:
        for _ in range(5):
            answers = connection.ask_at_once([("GET", TARGET, [("Host", "gw.test")] + headers) for headers, _, _ in cases * 4])
            for (headers, statuses, client), answer, line in zip(cases * 4, answers, lines(gateway, answers)):
                assert answer.status in statuses and line["client"] == client, (headers, answer, line)


def shown(text):
    """haproxy.cfg, whose answers say whether HAProxy computed a hash for the request, and how long the header is that it remembers then."""
    text, count = re.subn(r"sha2\(256\),set-var\(txn\.llm_key\)", "sha2(256),set-var(txn.hashed),set-var(txn.llm_key)", text)
    assert count == 5
    more = "".join("    http-after-response set-header %s %%[%s]\n" % pair for pair in (("x-hashed", "var(txn.hashed),hex,length"), ("x-shown", "var(sess.llm_shown),length")))
    return text.replace("    filter spoe engine llm", more + "    filter spoe engine llm", 1)


def test_a_key_is_hashed_once_a_connection(haproxy, upstream):
    with gateway_of(haproxy, upstream, edit=shown) as gateway:
        def told(connection, *headers):
            answer = gateway.call("GET", TARGET, headers, connection=connection)
            return answer.status, answer.header("x-hashed"), answer.header("x-shown")
        places = [("authorization", "Bearer %s"), ("x-api-key", "%s"), ("x-llm-key", "%s"), ("x-goog-api-key", "%s"), ("api-key", "%s")]
        for name, form in places:
            with gateway.connect() as connection:
                length = str(len(form % ALICE))
                assert told(connection, (name, form % ALICE)) == (200, "64", length)
                for _ in range(2):
                    assert told(connection, (name, form % ALICE)) == (200, "", length), name
                assert told(connection, auth("Bearer " + MINE)) == (200, "", length), "a request without a key"
                assert told(connection, (name, form % BOB)) == (200, "64", length)
                assert told(connection, (name, form % ALICE)) == (200, "64", length), "only the last key is remembered"
                # What a connection remembers is bounded, whatever a client sends.
                for many in 128, 129, 9000:
                    value = (form % "sk-spoa-").ljust(many, "x")
                    assert told(connection, (name, value)) == ((401, "64", "128") if many == 128 else (401, "", "128")), (name, many)


def test_a_hash_that_could_not_be_kept_leaves_none_of_another_key(haproxy, upstream):
    """A rule in front fills what room HAProxy has for the variables of a request, so that the hash of its key finds none. (An empty variable takes 50 to 100 bytes.)"""
    room, asked = 4096, []

    def cramped(text):
        return text.replace("global\n", "global\n    tune.vars.txn-max-size %d\n" % room, 1).replace(
            "        acl llm_keyed ", "        tcp-request content set-var(txn.fill) req.fhdr(x-fill)\n        acl llm_keyed ", 1)

    def answer(args):
        if "buffered" not in args:
            return {"welcome": True}        # HAProxy looks less closely at a key that the agent knew some seconds ago
        asked.append(args.get("key"))
        return {"deny": True, "status": 403, "code": "model_not_allowed", "message": "no"}
    with gateway_of(haproxy, upstream, edit=cramped, fake=answer) as gateway, gateway.connect() as connection:
        def key_of(*headers):
            gateway.call("GET", TARGET, headers, connection=connection)
            return asked.pop()
        assert key_of(auth("Bearer " + ALICE)) == keys.sha256(ALICE)
        assert key_of(auth("Bearer " + BOB), ("x-fill", "x" * (room - 100))) is None, "the key's hash has found room"
        assert key_of(auth("Bearer " + BOB)) == keys.sha256(BOB)


def test_nothing_shows_what_a_connection_remembers():
    assert "sess." not in harness.SPOE_CONF.read_text()
    allowed = (r"acl llm_remembers   var\(sess\.llm_key\) -m found", r"acl llm_same_\w+ +req\.fhdr\([a-z-]+,1\),secure_memcmp\(sess\.llm_shown\)",
               r"tcp-request content set-var\(txn\.llm_key\) var\(sess\.llm_key\) if .*",
               r"tcp-request content set-var\(sess\.llm_key\) req\.fhdr\([a-z-]+\),unset-var\(sess\.llm_key\),set-var\(sess\.llm_shown\),(?:bytes\(7\),)?sha2\(256\),set-var\(txn\.llm_key\) if .*")
    for line in harness.EXAMPLE.read_text().splitlines():
        line = line.strip()
        assert line.startswith("#") or "sess." not in line or any(re.fullmatch(one, line) for one in allowed), line
