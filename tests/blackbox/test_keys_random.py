"""Keys in random places of a request's head, spelled in random ways: none reaches an upstream or a log, and whoever is let in is who the key says."""
import base64
import json
import random
import re
import urllib.parse

import pytest

import keys
import wire
from clients import ClientGateway
from evidence import RANDOM
from harness import JSON, chat, secret
from pools import NAMES, pool
from test_client_keys import WEBSOCKET

ALICE, BOB, STRANGER = (keys.key(name) for name in ("alice", "bob", "nobody"))
OPERATOR = secret("operator")
COUNT = 400
# The header of Basic is looked at if it is the only `authorization`; percent-encoding is looked for in the path and the query.
HEADERS = ["Authorization", "x-api-key", "X-Api-Key", "api-key", "x-goog-api-key", "x-llm-key", "X-LLM-Other", "Cookie", "Proxy-Authorization", "User-Agent", "X-Client",
           "X-Headroom-Project", "Referer", "x-codex-turn-metadata", "sec-websocket-protocol", "Accept", "Content-Type", "Origin", "anthropic-beta", "traceparent"]
VALUES = ["%s", "%s", "Bearer %s", "bearer %s", "BEARER %s", "Bearer  %s", " %s", "%s ", "%s\t", "Bearer %s,", "%s,x", "x,%s", '"%s"', "a=%s; b=c", "realtime, openai-insecure-api-key.%s", "x.%s, y", "%sA",
          "%s%%", "~%s", "sssk-%s", "Bearer\x0b%s", "Token %s", "%s\xe9", "\xe9%s"]
NAMES_OF_PARAMETERS = ["key", "key", "Key", "k%65y", "api_key", "model", "token", "key[]", "+key", "", "?key"]
QUERIES = ["%s=%s", "a=1&%s=%s", "%s=%s&b=2", "a=1;%s=%s", "&%s=%s&", "%s=%s;x", "a=%%zz&%s=%s", "a=%%00&%s=%s"]


def value(r, key):
    spelled = r.choice([key, key, key, key.upper(), key.replace("sk-spoa", "Sk-Spoa"), key[:-1], key + key, BOB, "another", STRANGER])
    return r.choice(VALUES) % spelled


def escaped(r, key):
    """Percent-encodes letters of the prefix, up to three times; not every percent sign is encoded again."""
    for _ in range(r.choice([0, 1, 1, 2, 3])):
        key = "".join("%%%02x" % ord(c) if (c == "%" and r.random() < .8) or (at < 12 and r.random() < .3) else c for at, c in enumerate(key))
    return key


def request(r, tag):
    key = r.choice([ALICE, ALICE, BOB])
    headers, query, path = [], "", "/v1/chat/completions"
    for _ in range(r.choice([1, 1, 2, 2, 3])):
        where = r.random()
        if where < .6:
            headers.append((r.choice(HEADERS), value(r, key)))
        elif where < .9:
            query += ("&" if query else "?") + r.choice(QUERIES) % (r.choice(NAMES_OF_PARAMETERS), escaped(r, key))
        else:
            path = r.choice(["/%s/x", "/p/%s/v1/chat/completions", "/v1/%s", "/v1/chat/completions/%s"]) % escaped(r, key)
    if r.random() < .05:
        headers = [("Authorization", "Basic " + base64.b64encode(("u" * r.randrange(4) + ":" + key).encode()).decode())]
    fields = [("Host", "gw"), ("x-client-request-id", tag)] + headers
    if r.random() < .15:
        return wire.request("GET", "/v1/realtime?model=gpt-1" + query.replace("?", "&", 1), fields + WEBSOCKET)
    fields += [] if any(name == "Content-Type" for name, _ in headers) else JSON
    return wire.request("POST", path + query, fields, chat(r.choice(["gpt-1", "op-1", "pool-1"])))


def decoded(text):
    """A text as it is, and as those who decode it find it."""
    texts = [text]
    for _ in range(3):
        texts.append(urllib.parse.unquote(texts[-1], errors="replace"))
    return "\n".join(texts)


def has_key(text):
    """Whether a server finds a key's prefix in the head of a request, or behind Basic."""
    return "sk-spoa-" in decoded(text).lower() or any(b"sk-spoa-" in base64.b64decode(one + "==") for one in re.findall(r"(?i)basic[ \t]+([A-Za-z0-9+/=]+)", text))


@pytest.fixture(scope="module")
def mocks(make_mock):
    return {name: make_mock(name) for name in NAMES}


def test_no_spelling_of_a_key_reaches_an_upstream(haproxy, mocks):
    r = random.Random(RANDOM.getrandbits(32))
    routes = [{"model_prefix": "op-", "upstream": mocks["a"].url(), "auth": "env:OPERATOR"}, pool(mocks, "pool", "bc"), {"model_prefix": "*", "upstream": mocks["d"].url()}]
    with ClientGateway(haproxy, list(mocks.values()), {"routes": routes}, [keys.entry("alice", ALICE), keys.entry("bob", BOB)], "on", env={"OPERATOR": OPERATOR},
                       owners={OPERATOR: [mocks["a"]]}) as gateway:
        statuses, sent = {}, {}
        for _ in range(COUNT):
            tag = gateway.tag()
            data = request(r, tag)
            with gateway.connect() as connection:
                connection.send(data)
                response = connection.head()
            statuses.setdefault(response.status, []).append(data)
            sent[response.header("x-request-id")] = data
            for seen in gateway.seen(tag):
                head = "\n".join([seen.method + " " + seen.target] + ["%s: %s" % pair for pair in seen.headers])
                assert not has_key(head), (data, head)
        assert {200, 400, 401} <= set(statuses), {status: len(all_of) for status, all_of in statuses.items()}
        for line in gateway.haproxy.text().splitlines():
            assert not has_key(line), line
            told = json.loads(line) if line.startswith("{") else {}
            if "keyed" in told:
                whose = {"alice": ALICE, "bob": BOB}[told["client"]]
                assert whose in decoded(sent[told["id"]].decode("latin-1")), (told, sent[told["id"]])
