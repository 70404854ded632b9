"""The figures behind the page: /savings, /operation, /requests and /request with every filter and split, against what `spoa-llm savings`,
`ledger export` and `upstreams` say of the same requests."""
import json
import random

import pytest

from adminserver import admin  # noqa: F401
from harness import cli


@pytest.fixture
def site(admin):
    """get(path): the JSON of the answer; savings(*flags), export(*flags): what the commands print."""
    class Site:
        def __init__(self):
            self.agent = admin(entries=900)

        def get(self, path):
            got = self.agent.http(path=path)
            assert got.status == 200, got
            return got.json()

        def error(self, path):
            got = self.agent.http(path=path)
            assert got.status == 400, got
            return got.json()["error"]

        def savings(self, *flags):
            done = cli("savings", "--json", *flags, "-c", self.agent.file, env=self.agent.env)
            assert done.code == 0, done
            return json.loads(done.out)

        def export(self, *flags):
            done = cli("ledger", "export", *flags, "-c", self.agent.file, env=self.agent.env)
            assert done.code == 0, done
            return [json.loads(line) for line in done.out.splitlines()]
    return Site()


def test_one_request(site):
    rows = site.export()
    for row in random.sample(rows, 20):
        got = site.get("/request?id=" + row["id"])
        assert got["request"] == row
        cost = got["explained"]["cost"]
        if isinstance(cost, list):
            assert abs(sum(item["amount_nanodollars"] for item in cost) - row["cost_nanodollars"]) <= len(cost), cost
        assert bool(got["explained"]["refusal"]) == bool(row["code"]) and "deny" in got["route"]
    assert site.agent.http(path="/request?id=nobody").status == 404
    assert "id is needed" in site.error("/request")


def test_list(site):
    rows = site.export()[::-1]
    got = site.get("/requests?limit=50&offset=100")
    assert got["total"] == len(rows) and [row["id"] for row in got["rows"]] == [row["id"] for row in rows[100:150]]
    assert got["rows"][0] == rows[100]
