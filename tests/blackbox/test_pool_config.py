"""Pools in the configuration: what is refused and where, what `check`, `explain` and `backends` say of them."""
import json
import re
import signal

import pytest

import harness
from harness import cli, secret, write_config

KEY = secret("pool-config")
A = {"upstream": "https://a.test", "auth": "env:A"}
B = {"upstream": "https://b.test", "auth": "env:B"}


def route(*members, **more):
    return dict({"model_prefix": "m-", "name": "m", "pool": list(members) or [A, B]}, **more)


def errors(work, *routes):
    """Returns the lines of a configuration with `routes`, and the errors of `check` about it, each as (line, column, text)."""
    whole = '{"routes": [\n%s\n]}' % ",\n".join(json.dumps(one, indent=1) if isinstance(one, dict) else one for one in routes)
    file = write_config(work, whole)
    done = cli("check", "-c", file, "--json")
    found = json.loads(done.out)["errors"]
    assert done.code == (78 if found else done.code), done
    return whole.split("\n"), [(one["line"], one["column"], one["problem"]) for one in found]


# What is wrong, the text at which the error points (its beginning in the line), and what it says.
WRONG = [
    (route(A, {"auth": "env:B", "name": "b"}), "{", 'a member of a pool needs an "upstream"'),
    (route(A, 7), "7", "a member of a pool must be an object"),
    (route(pool=[]), "[]", '"pool" must be an array of 1 to 16 members'),
    (route(pool={}), "{}", '"pool" must be an array of 1 to 16 members'),
    (route(*[dict(A, name="m%d" % i, auth="env:A%d" % i) for i in range(17)]), "[", '"pool" must be an array of 1 to 16 members'),
    (route(upstream="https://c.test"), '"upstream": "https://c', '"upstream" is for the members of the route\'s "pool"'),
    (route(auth="env:C"), '"auth": "env:C', '"auth" is for the members'),
    (route(paths="any"), '"paths"', '"paths" is for the members'),
    (route(timeout=3), '"timeout"', '"timeout" is for the members'),
    (route(backend="mine"), '"backend"', '"backend" is for the members'),
    (route(balance="best"), '"best"', '"balance" must be "first", "weighted" or "least"'),
    (route(retry_on=429), "429", '"retry_on" must be an array of statuses'),
    (route(retry_on=[429, 404]), "404", '"retry_on" takes 429, 500, 502, 503, 504 and 529'),
    (route(retry_on=["429"]), '"429"', '"retry_on" takes'),
    (route(retries=16), "16", '"retries" must be a whole number of further members from 0 to 15'),
    (route(retries=-1), "-1", '"retries" must be a whole number'),
    (route(pool_header="yes"), '"yes"', '"pool_header" must be true or false'),
    (route(dict(A, weight=0), B), "0", '"weight" must be a whole number from 1 to 256'),
    (route(dict(A, weight=257), B), "257", '"weight" must be a whole number from 1 to 256'),
    (route(dict(A, weight=1.5), B), "1.5", '"weight" must be a whole number from 1 to 256'),
    (route(dict(A, name="Upper"), B), '"Upper"', 'the "name" of a member must be 1 to 32 lower-case letters, digits and dashes'),
    (route(dict(A, name="x" * 33), B), '"xxx', 'the "name" of a member must be'),
    (route(dict(A, name=""), B), '""', 'the "name" of a member must be'),
    (route(dict(A, name="-i"), B), '"-i"', 'the "name" of a member must be'),
    (route(dict(A, model_prefix="x"), B), '"model_prefix": "x"', 'a member of a pool has no "model_prefix"'),
    (route(dict(A, tap=True), B), '"tap"', 'a member of a pool has no "tap"'),
    (route(dict(A, pool=[A]), B), '"pool": [', 'a member of a pool has no "pool"'),
    (route(dict(A, auth="KEY")), '"KEY"', '"auth" must be "passthrough", "env:NAME" or "file:PATH"'),
    (route(dict(A, auth_header="x"), B), '"x"', '"auth_header" must be'),
    (route(A, {"upstream": "https://b.test"}), "{", "the members of a pool must all replace the client's credential"),
    (route({"upstream": "https://b.test"}, A), "{", "the members of a pool must all replace the client's credential"),
    (route(dict(A, name="x"), dict(B, name="x")), "{", 'the pool has another member named "x"'),
    (route(A, dict(A, auth="env:B")), "{", 'the pool has another member named "a-test"'),
    (route(dict(A, name="x"), dict(A, name="y")), "{", 'the members "x" and "y" have the same upstream and credential'),
    (route({"upstream": "https://a.test", "paths": "any"}), '"paths"', '"paths" is for a route whose "auth" is env: or file:'),
    (route(dict(A, upstream="http://a.test", sni="x.test"), B), '"sni"', '"sni" is for an upstream that is reached by https://'),
    ({"model_prefix": "m", "upstream": "https://a.test", "balance": "first"}, '"balance"', '"balance" is for a route with a "pool"'),
    ({"model_prefix": "m", "upstream": "https://a.test", "retry_on": [429]}, '"retry_on"', '"retry_on" is for a route with a "pool"'),
    ({"model_prefix": "m", "upstream": "https://a.test", "retries": 1}, '"retries"', '"retries" is for a route with a "pool"'),
    ({"model_prefix": "m", "upstream": "https://a.test", "pool_header": True}, '"pool_header"', '"pool_header" is for a route with a "pool"'),
    ({"model_prefix": "m", "upstream": "https://a.test", "weight": 1}, '"weight"', 'a route has no "weight"; it has model_prefix'),
    ({"model_prefx": "m", "model_prefix": "m"}, '"model_prefx"', 'a route has no "model_prefx"; is "model_prefix" meant? It has model_prefix'),
    (route(dict(A, wieght=1), B), '"wieght"', 'a member of a pool has no "wieght"; is "weight" meant? It has '),
]


@pytest.mark.parametrize("wrong, at, text", WRONG, ids=[text[:60] for _, _, text in WRONG])
def test_mistakes(work, wrong, at, text):
    lines, found = errors(work, wrong)
    assert len(found) == 1 and text in found[0][2], found
    line, column, _ = found[0]
    assert lines[line - 1][column - 1:].startswith(at), (found, lines[line - 1])


def test_two_that_clash(work):
    """A "backend" in the configuration that has the name of a pool's own backend is an error."""
    _, found = errors(work, route(), {"model_prefix": "x", "upstream": "https://c.test", "backend": "pool.m"})
    assert len(found) == 1 and '"pool.m" is the backend of this route\'s pool' in found[0][2]
    _, found = errors(work, route(), {"model_prefix": "x", "pool": [dict(A, backend="pool.m-x")]})
    assert found == []
    _, found = errors(work, route(), route(model_prefix="x"))
    assert len(found) == 1 and 'a second route named "m"' in found[0][2]


def test_the_variable_has_no_pools(work):
    """HEADROOM_UPSTREAM_ROUTES is read as Headroom reads it: keys that Headroom does not know, as those of a pool, are ignored with a warning."""
    for keys in ({"pool": [A]}, {"pool": [A], "balance": "least"}, {"retries": 1}):
        table = json.dumps([dict({"model_prefix": "m", "upstream": "https://a.test"}, **keys)])
        done = cli("backends", env={"HEADROOM_UPSTREAM_ROUTES": table})
        assert done.code == 0 and "pool" not in done.out and "is for a route" in done.err or "is for routes in the configuration file" in done.err, done


def test_check(work):
    done = cli("check", "-c", write_config(work, {"routes": [route(retry_on=[429, 500, 504], balance="weighted"), route(dict(A, name="x"), name="two", model_prefix="n")]}),
               env={"A": KEY})
    assert re.search(r"WARNING +route m +-> \"retry_on\" has 500, 504, which an upstream may also answer .* billed twice", done.out), done
    assert re.search(r"ok +route m +-> pool.m +a pool of 2: by weight", done.out)
    assert re.search(r"ok +route m/a-test +-> llm-a.test-pool +env:A", done.out)
    assert re.search(r"PROBLEM +route m/b-test +-> llm-b.test-pool +env:B: the variable is not set", done.out)
    assert "no member of its pool" not in done.out and "billed twice" not in done.out.split("route two")[1]
    done = cli("check", "-c", write_config(work, {"routes": [route()]}))
    assert "no member of its pool can be used" in done.out and "1 of the routes would refuse every request" in done.out
    # HAProxy would not start with a spoe.conf from before there were pools.
    spoe = (harness.ROOT / "spoe.conf").read_text().replace("spoe-group llm-declined", "spoe-group llm-other")
    (work / "spoe.conf").write_text(spoe)
    done = cli("check", "-c", write_config(work, {"routes": [route()]}), "--haproxy", str(work / "spoe.conf"))
    assert "has no group llm-declined" in done.out
    done = cli("check", "-c", write_config(work, {"routes": [A and dict(A, model_prefix="m")]}), "--haproxy", str(work / "spoe.conf"))
    assert "llm-declined" not in done.out


def test_explain(work):
    file = write_config(work, {"routes": [route(A, dict(B, weight=3, paths=["/v1/files"]), balance="weighted", retries=1)]})

    def explain(*args, **env):
        return cli("explain", "-c", file, *args, env=env)
    done = explain("--model", "m-1", A=KEY)
    assert done.code == 0 and "pool:      by weight, one of these 2; if it cannot be reached or answers 429 503 529, another one, at most 2 in all\n" in done.out, done
    assert "a-test           https://a.test/v1/chat/completions env:A, weight 1\n" in done.out
    assert "env:B, weight 3: PASSED OVER, no credential: the variable is not set\n" in done.out
    done = explain("--model", "m-1")
    assert "REFUSED:   502 upstream_auth_unavailable" in done.out and "no member of the pool has a usable credential" in done.out
    told = json.loads(explain("--model", "m-1", "--json", B=KEY).out)
    assert told["backend"] == "pool.m" and told["deny"] is False and "auth_header" not in told
    assert told["pool"]["balance"] == "weighted" and told["pool"]["retry_on"] == [429, 503, 529] and told["pool"]["retries"] == 1
    assert [(one["name"], one["offered"], one["weight"], one["backend"]) for one in told["pool"]["members"]] == [
        ("a-test", False, 1, "llm-a.test-pool"), ("b-test", True, 3, "llm-b.test-pool")]
    told = json.loads(explain("--model", "m-1", "--path", "/v1/files", "--json", A=KEY, B=KEY).out)
    assert [one["offered"] for one in told["pool"]["members"]] == [False, True] and "paths" in told["pool"]["members"][0]["passed_over"]
    told = json.loads(explain("--model", "m-1", "--path", "/v1/batches", "--json", A=KEY, B=KEY).out)
    assert (told["deny"], told["status"], told["code"]) == (True, 403, "endpoint_not_allowed")


def test_names_in_haproxy(work):
    """`backends` writes a backend for the pool, named after the route; one for each member, which plain routes do not share; and a leg for each member of each
    pool, whose name changes with its upstream, its credential, its pool and its member."""
    def made(*routes):
        done = cli("backends", "-c", write_config(work, {"routes": list(routes)}))
        assert done.code == 0, done
        return done.out
    text = made(route(), route(name="Odd name!", model_prefix="o"), dict(A, model_prefix="plain"))
    backends = re.findall(r"(?m)^backend (\S+)", text)
    assert len(backends) == len(set(backends)) and {"pool.m", "llm-a.test", "llm-a.test-pool", "llm-b.test-pool", "leg.tried"} <= set(backends)
    assert [name for name in backends if re.fullmatch(r"pool\.Odd-name--[0-9a-f]{8}", name)]
    legs = re.findall(r"(?m)^frontend (leg\.\S+)\.in", text)
    assert len(legs) == len(set(legs)) == 6 and all(len(leg) <= 44 for leg in legs)
    first = set(re.findall(r"(?m)^frontend (leg\.a\S+)", made(route())))
    for other in (route(dict(A, auth="env:C"), B), route(dict(A, auth_header="api-key"), B), route(dict(A, upstream="http://a.test"), B), route(name="n")):
        assert not first & set(re.findall(r"(?m)^frontend (leg\.a\S+)", made(other)))
    assert first == set(re.findall(r"(?m)^frontend (leg\.a\S+)", made(route(dict(A, weight=7), B, balance="least", retries=0))))
    # The leg's name changes with the member's name, because the agent tells HAProxy by these names which members must not get a request.
    assert not first & set(re.findall(r"(?m)^frontend (leg\.a\S+)", made(route(dict(A, name="z"), B))))
    # HAProxy takes none of the members' names for a word of its own.
    odd = [{"upstream": "http://[::1]:1", "auth": "env:A"}, {"upstream": "https://next_member", "auth": "env:A"}, dict(A, name="next"), dict(A, name="i", auth="env:B")]
    assert re.findall(r"(?m)^    server (\S+) \"unix", made(route(*odd))) == ["0-1", "next-member", "next", "i", "next_member"]
    # Without a pool, nothing of this is written.
    plain = made(dict(A, model_prefix="plain"))
    assert "pool" not in plain and "leg" not in plain
    # The pool of a route that is not enabled is not written.
    assert "pool" not in made(route(enabled=False))


def test_more_errors_than_are_listed(work, agents):
    """Reading stops in the middle of a pool then. What looks at the routes nevertheless must not miss its members: `check` says the errors, and an
    agent keeps its old routes."""
    wrong = {"routes": [route(dict(A, **{"odd%d" % i: 1 for i in range(60)}), B)]}
    done = cli("check", "-c", write_config(work, wrong))
    assert done.code == 78 and "errors are not listed" in done.err, done
    # With the tap the pool itself gets a name too, but it was read before its condition was found missing.
    half = {"tap": True, "routes": [dict(route(), **{"model_prefix": 7, **{"odd%d" % i: 1 for i in range(60)}})]}
    assert cli("check", "-c", write_config(work, half)).code == 78
    agent = agents({"routes": [route()]}, env={"A": KEY, "B": KEY})
    agent.file.write_text(json.dumps(dict(wrong, listen=agent.address)))
    agent.process.kill(signal.SIGHUP)
    harness.until(lambda: agent.lines("event=reload_failed "), 5, "the reload fails")
    assert agent.process.running() and not agent.lines("event=worker_crashed ")
