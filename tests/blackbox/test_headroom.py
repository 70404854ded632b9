"""`spoa-llm ledger headroom`, which writes the file of Headroom's dashboard: its figures against an independent count."""
import json
import re
import stat
import time
from fractions import Fraction

import loglines
from ledgers import NOW, day, ledger, round_half  # noqa: F401
from loglines import DAY, HOUR, Maker


# ---- Headroom's file


def test_headroom(day):
    """The file has exactly Headroom's fields, each with the independent count."""
    state = json.loads(day.ledger("headroom").out)
    assert set(state) == {"schema_version", "lifetime", "display_session", "history", "projects"}
    assert state["schema_version"] == 3
    lifetime = {"requests", "tokens_saved", "compression_savings_usd", "total_input_tokens", "total_input_cost_usd"}
    assert set(state["lifetime"]) - lifetime == {"cache_read_tokens", "cache_savings_usd"}
    check_headroom(state["lifetime"], day.wants)
    assert set(state["display_session"]) - set(state["lifetime"]) == {"savings_percent", "started_at", "last_activity_at"}

    expected = {}
    for want in day.wants:
        if want["project"]:
            expected.setdefault(want["project"], []).append(want)
    assert set(state["projects"]) == set(expected)
    for name, wants in expected.items():
        entry = state["projects"][name]
        assert set(entry) == lifetime | {"last_activity_at"}
        check_headroom(entry, wants, cost=False)
        latest = max(want["time_ms"] for want in wants)
        assert entry["last_activity_at"] == stamp(latest - latest % HOUR)
    saved = [entry["tokens_saved"] for entry in state["projects"].values()]
    assert saved == sorted(saved, reverse=True)

    # The figures of the history are cumulative, each point is later than the point before, and the last point has the totals.
    history = state["history"]
    for before, after in zip(history, history[1:]):
        assert before["timestamp"] < after["timestamp"]
        assert before["total_input_tokens"] <= after["total_input_tokens"]
    for point in history:
        assert set(point) == {"timestamp", "provider", "model", "total_tokens_saved", "compression_savings_usd",
                              "total_input_tokens", "total_input_cost_usd", "cache_read_tokens", "cache_savings_usd"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", point["timestamp"])
        assert point["provider"] == {"cl": "anthropic", "gp": "openai", "ge": "gemini"}.get(point["model"][:2], "unknown")
    last = history[-1]
    assert (last["total_tokens_saved"], last["total_input_tokens"]) == (
        state["lifetime"]["tokens_saved"], state["lifetime"]["total_input_tokens"])
    assert last["total_input_cost_usd"] == state["lifetime"]["total_input_cost_usd"]
    # The increase from the point before to a model's point of an hour is what that model used in that hour.
    recent = stamp(NOW - 3 * DAY)[:13]
    for model in ("glm-4.6", "=cmd|' /C calc'!A0"):
        hours = {}
        for before, point in zip([dict.fromkeys(last, 0)] + history, history):
            if point["model"] == model and point["timestamp"] >= recent:
                hours[point["timestamp"][:13]] = point["total_input_tokens"] - before["total_input_tokens"]
        wants = [want for want in day.wants if want["model"] == model and stamp(want["time_ms"])[:13] >= recent]
        mine = {}
        for want in wants:
            used = sum(want[name] or 0 for name in ("input", "cache_read", "cache_write"))
            mine[stamp(want["time_ms"])[:13]] = mine.get(stamp(want["time_ms"])[:13], 0) + used
        assert hours == {hour: used for hour, used in mine.items() if used}


def stamp(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


def usd(nano):
    """The dollars that the file has for `nano` nano-dollars: a JSON number of six decimals, rounded half away from zero."""
    return float(Fraction(round_half(nano, 1000), 10**6))


def check_headroom(entry, wants, cost=True):
    total = loglines.sums(wants)
    assert entry["requests"] == total["requests"] - total["refused"]
    assert entry["tokens_saved"] == total["saved"]
    assert entry["compression_savings_usd"] == usd(total["saved_compression"])
    assert entry["total_input_tokens"] == total["input"] + total["cache_read"] + total["cache_write"]
    if cost:
        assert entry["cache_savings_usd"] == usd(total["saved_cache"])
        assert entry["cache_read_tokens"] == total["cache_read"]


def test_headroom_input_cost(ledger):
    """total_input_cost_usd is what the input cost. Only models whose prices do not depend on the prompt's size are used here."""
    entries = [entry for entry in Maker(seed=12).make(3000) if not entry.want["model"].startswith("claude-sonnet")]
    ledger.take(entries)
    state, spent = json.loads(ledger.ledger("headroom").out), 0
    for entry in entries:
        want = entry.want
        if want["price_from"] in ("table", "partial"):
            tokens = {"input": want["input"], "output": 0, "read": want["cache_read"], "write": want["cache_write"], "saved": 0}
            spent += loglines.TABLE.apply(want["model"], "", tokens)[2]
    assert abs(state["lifetime"]["total_input_cost_usd"] - spent / 1e9) < 1e-4
    shares = sum(entry["total_input_cost_usd"] for entry in state["projects"].values())
    nobody = loglines.sums([entry.want for entry in entries if not entry.want["project"]])["cost"]
    all_cost = loglines.sums([entry.want for entry in entries])["cost"]
    assert abs(shares - spent / 1e9 * (all_cost - nobody) / all_cost) < 1e-3


def test_headroom_session(ledger):
    """The session begins after the last pause of more than 60 minutes between two requests. A pause of exactly an hour does not end it."""
    at, times = NOW - 20 * HOUR, []
    for minutes in [0, 30, 5, 61, 59, 60, 1, 45, 60, 2]:
        at += minutes * 60000
        times.append(at)
    entries = requests_at(times)
    ledger.take(entries)
    session = json.loads(ledger.ledger("headroom").out)["display_session"]
    mine = [entry.want for entry in entries[3:]]
    check_headroom(session, mine)
    assert session["started_at"] == stamp(mine[0]["time_ms"]) and session["last_activity_at"] == stamp(mine[-1]["time_ms"])
    total = loglines.sums(mine)
    sent = total["saved"] + total["input"] + total["cache_read"] + total["cache_write"]
    assert abs(session["savings_percent"] - 100 * total["saved"] / sent) <= .006


def requests_at(times):
    """One reported request at each time."""
    entries = []
    for n, at in enumerate(times):
        entry = Maker(seed=at).one(kind="reported")
        entry.fields.update(te=at + entry.fields["ta"], id="r-%d" % n)
        entry.want["time_ms"] = at
        entry.line = json.dumps(entry.fields)
        entries.append(entry)
    return entries


def test_headroom_session_of_many_days(ledger):
    """The session begins in the middle of a day whose hours are not in the history any more, only the day as a whole."""
    start = NOW - NOW % DAY - 10 * DAY + 14 * HOUR + 7
    entries = requests_at([start - 12 * HOUR, start - 3 * HOUR] + list(range(start, NOW, HOUR - 60000)))
    ledger.take(entries)
    state = json.loads(ledger.ledger("headroom").out)
    check_headroom(state["display_session"], [entry.want for entry in entries[2:]])
    assert state["display_session"]["started_at"] == stamp(start)
    check_headroom(state["lifetime"], [entry.want for entry in entries])


def test_headroom_of_long_ago(ledger):
    """Requests from before the history's first point count in the totals. There is no session, because the last request is too long ago."""
    entries = requests_at([NOW - 700 * DAY, NOW - 380 * DAY, NOW - 200 * DAY, NOW - 20 * DAY])
    ledger.take(entries)
    state = json.loads(ledger.ledger("headroom").out)
    check_headroom(state["lifetime"], [entry.want for entry in entries])
    assert [point["timestamp"][:10] for point in state["history"]] == [stamp(entry.want["time_ms"])[:10] for entry in entries[2:]]
    used = [sum(entry.want[name] for name in ("input", "cache_read", "cache_write")) for entry in entries]
    assert [point["total_input_tokens"] for point in state["history"]] == [sum(used[:3]), sum(used)]
    assert state["display_session"]["requests"] == 0 and state["display_session"]["started_at"] is None


def test_headroom_file_is_replaced_as_a_whole(ledger):
    ledger.take(Maker(seed=13).make(50))
    out = ledger.directory / "proxy_savings.json"
    ledger.ledger("headroom", "--output", out)
    first = out.read_text()
    assert json.loads(first) == json.loads(ledger.ledger("headroom", "--output", "-").out)
    out.chmod(0o640)
    inode = out.stat().st_ino
    ledger.ledger("headroom", "--output", out)
    assert out.stat().st_ino != inode and stat.S_IMODE(out.stat().st_mode) == 0o640 and out.read_text() == first
    assert sorted(path.name for path in ledger.directory.iterdir() if "savings" in path.name) == ["proxy_savings.json"]
    done = ledger.ledger("headroom", "--output", ledger.directory / "no" / "such", code=73)
    assert "No such file" in done.err


def test_headroom_of_an_empty_ledger(ledger):
    (ledger.directory / "log").write_text("")
    ledger.ledger("import", ledger.directory / "log")
    state = json.loads(ledger.ledger("headroom").out)
    assert state["history"] == [] and state["projects"] == {} and state["lifetime"]["requests"] == 0
    assert state["display_session"]["started_at"] is None and state["display_session"]["last_activity_at"] is None
