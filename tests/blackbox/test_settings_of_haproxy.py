"""HAProxy's settings beside the agent's: `spoa-llm check` says where HAProxy looks for an agent that is not there, and which origins are none."""
import os
import socket

import harness
from test_check import findings

FILES = ["--haproxy", harness.EXAMPLE, "--haproxy", harness.SPOE_CONF]
KEY = {"SPOA_LLM_LOG_KEY": harness.secret("check-settings")}


def said(work, name, value, **config):
    """What is said of the setting: [(state, text)]."""
    (work / "ledger").mkdir(exist_ok=True)
    found, _ = findings("-c", harness.write_config(work, dict({"ledger": str(work / "ledger")}, **config)), *FILES, env=dict(KEY, **({name: value} if value is not None else {})))
    return [(state, text) for state, part, which, text in found if (part, which) == ("haproxy", name)]


def told(work, name, value, **config):
    [one] = said(work, name, value, **config) or [(None, "")]
    return one


def test_an_agent_that_haproxy_does_not_find(work):
    """Whoever listens at an address of another host, or of another name, may be the agent: nothing is said then."""
    inside = ["unix@/run/spoa-llm/spoa.sock", "unix@/var/lib/haproxy/run/spoa-llm/spoa.sock"]
    tcp = {"listen": ["127.0.0.1:9000", "[::1]:9001"]}
    every = {"listen": ["*:9000", "[::]:9001"], "allow_remote": True}
    rows = [
        # LLM_AGENT, the agent's options, what is said
        (None, {}, "ok"), ("unix@/run/spoa-llm/spoa.sock", {}, "ok"), ("/run/spoa-llm/spoa.sock", {}, "ok"), ("unix@/run//spoa-llm/./spoa.sock", {}, "warning" if not os.path.isdir("/run/spoa-llm") else "ok"),
        ("unix@/run/spoa-llm/spoa.sok", {}, "warning"), ("unix@/run/spoa.sock", {}, "warning"), ("unix@/other/spoa.sock", {"listen": inside}, "warning"),
        # In a chroot of HAProxy's, and of the agent's.
        ("unix@/run/spoa-llm/spoa.sock", {"listen": inside[1:]}, "ok"), ("unix@" + "/srv/run/spoa-llm/spoa.sock", {}, "ok"),
        ("127.0.0.1:9000", tcp, "ok"), ("localhost:9000", tcp, "ok"), ("localhost:9001", tcp, "ok"), ("[::1]:9001", tcp, "ok"), ("::1:9001", tcp, "ok"), ("ipv4@127.0.0.1:9000", tcp, "ok"),
        ("127.0.0.1:9001", tcp, "warning"), ("[::1]:9000", tcp, "warning"), ("127.0.0.2:9000", tcp, "warning"), ("localhost:9002", tcp, "warning"), ("127.0.0.1:9002", {}, "warning"),
        ("0.0.0.0:9000", tcp, "ok"), ("[::]:9001", tcp, "ok"),
        ("127.0.0.3:9000", every, "ok"), ("[::1]:9001", every, "ok"), ("127.0.0.1:9001", every, "ok"), ("[::1]:9000", every, "warning"),
        ("agent:9002", tcp, None), ("192.0.2.1:9002", tcp, None), ("abns@agent", tcp, None), ("[2001:db8::1]:9002", {}, None), ("", {}, None),
        # Of another kind.
        ("unix@/run/spoa-llm/log.sock", {}, "problem"), ("unix@/run/spoa-llm/log.dgram", {}, "problem"), ("127.0.0.1:9603", {"admin_listen": ["127.0.0.1:9603"]}, "warning"),
        ("/run/spoa-llm/tap.dgram", {}, "problem"),
    ]
    for value, config, state in rows:
        got, text = told(work, "LLM_AGENT", value, **config)
        assert got == state, (value, config, got, text)
        if state in ("warning", "problem"):
            assert "is %s in this environment" % value in text and "refuses every request (503 gateway_unavailable)" in text and "restart HAProxy" in text, text
            assert all(address in text for address in config.get("listen", ["unix@/run/spoa-llm/spoa.sock"])), text


def test_a_socket_under_another_path_is_the_same(work):
    (work / "link").symlink_to(work)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(work / "a.sock"))
        os.link(work / "a.sock", work / "b.sock")
        for path, state in (("link/a.sock", "ok"), ("./a.sock", "ok"), ("b.sock", "ok"), ("link/c.sock", "warning"), ("nowhere/a.sock", "warning")):
            assert told(work, "LLM_AGENT", "unix@%s/%s" % (work, path), listen=["unix@%s/a.sock" % work])[0] == state, path


def test_records_that_nobody_takes(work):
    tcp = {"log_listen": ["127.0.0.1:9602", "udp@127.0.0.1:9604"]}
    rows = [
        ("LLM_LOG_RING", None, {}, "ok"), ("LLM_LOG_UDP", None, {}, "ok"),
        ("LLM_LOG_RING", "unix@/run/spoa-llm/log", {}, "warning"), ("LLM_LOG_UDP", "unix@/run/spoa-llm/log", {}, "warning"),
        # A stream where datagrams are taken, and the other way round.
        ("LLM_LOG_RING", "unix@/run/spoa-llm/log.dgram", {}, "problem"), ("LLM_LOG_UDP", "unix@/run/spoa-llm/log.sock", {}, "problem"), ("LLM_LOG_UDP", "/run/spoa-llm/spoa.sock", {}, "problem"),
        ("LLM_LOG_RING", "127.0.0.1:9602", tcp, "ok"), ("LLM_LOG_UDP", "127.0.0.1:9604", tcp, "ok"), ("LLM_LOG_UDP", "udp@localhost:9604", tcp, "ok"),
        ("LLM_LOG_RING", "127.0.0.1:9604", tcp, "warning"), ("LLM_LOG_UDP", "127.0.0.1:9602", tcp, "warning"), ("LLM_LOG_UDP", "127.0.0.1:9602", {}, "warning"),
        ("LLM_LOG_UDP", "127.0.0.1", tcp, None), ("LLM_LOG_UDP", "collector:514", tcp, None), ("LLM_LOG_UDP", "ring@own", tcp, None),
        # Nobody waits for records without a ledger.
        ("LLM_LOG_UDP", "unix@/run/spoa-llm/log", {"ledger": ""}, None),
    ]
    for name, value, config, state in rows:
        got, text = told(work, name, value, **config)
        assert got == state, (name, value, config, got, text)
        assert state not in ("warning", "problem") or ("is %s in this environment" % value in text and "the ledger lacks them" in text and '"log_listen"' in text), text


def test_where_a_setting_stands(work):
    """A preset value counts unless HAProxy's environment has another one, so that it is no problem by itself."""
    other, config = work / "other.cfg", harness.write_config(work, {"listen": ["127.0.0.1:9000"]})
    for text, wanted in (("", "%s, unless HAProxy's environment says otherwise, and" % harness.EXAMPLE), ("LLM_AGENT=/no.sock\n", "is /no.sock in %s, and" % other),
                         ('global\n setenv LLM_AGENT "/no.sock" # why\n', "is /no.sock in %s, and" % other), ("LLM_AGENT=127.0.0.1:9000\n", None),
                         ('global\n setenv LLM_AGENT "${HERE}/no.sock"\n', ""),
                         # As for a second agent.
                         ("backend llm-agent\n server other localhost:9000 check\n", ""), ("backend llm-b\n server other localhost:9000 check\n", "unless")):
        other.write_text(text)
        found, _ = findings("-c", config, *FILES, "--haproxy", other)
        got = [(state, text) for state, part, name, text in found if name == "LLM_AGENT"]
        assert [state for state, _ in got] == (["ok"] if wanted is None else ["warning"] if wanted else []) and all((wanted or "") in text for _, text in got), (text, got)
    # Without the gateway's own files it is not known what HAProxy takes.
    assert not [one for one in findings("-c", config, "--haproxy", harness.SPOE_CONF, env={"LLM_AGENT": "/no", "LLM_CORS_ORIGINS": "x"})[0] if one[2] in ("LLM_AGENT", "LLM_CORS_ORIGINS")]


GOOD = ["https://chat.example.com", "http://localhost:3000", "http://127.0.0.1", "https://a.test:8443", "http://[::1]:3000", "https://xn--bcher-kva.test", "chrome-extension://abcdefgh",
        "tauri://localhost", "https://a_b.test", "http://a.test:443", "https://a.test:80"]
BAD = {
    "https://a.test/": ("ends in a slash", "https://a.test"), "https://a.test/x/y": ("has a path", "https://a.test"), "https://a.test?x": ("has a path", "https://a.test"),
    "a.test": ("has no scheme", "https://a.test"), "localhost:3000": ("has no scheme", "https://localhost:3000"), "//a.test": ("has no host", None),
    "HTTPS://A.Test": ("has capital letters", "https://a.test"), "https://a.test:443": ("leaves away", "https://a.test"), "http://a.test:80/": ("ends in a slash", "http://a.test"),
    "https://me:pw@a.test": ("has a user", "https://a.test"), "https://*.a.test": ("stands for nothing", None), "https://a.test,https://b.test": ("has a comma", None),
    "https://b\u00fccher.test": ("no browser sends", None), "https://": ("has no host", None), "https://a.test:": ("no number as its port", None), "https://a.test:8x": ("no number as its port", None),
    "http://[::1": ("no number as its port", None), "*": ("counts only alone", None), "none": ("counts only alone", None), "null": ("sandboxed", None), "'https://a.test'": ("no browser sends", None),
}


def test_origins(work):
    for value in GOOD + [" ".join(GOOD), "*"]:
        assert said(work, "LLM_CORS_ORIGINS", value) == [("ok", "is " + value)], value
    assert not said(work, "LLM_CORS_ORIGINS", None) and not said(work, "LLM_CORS_ORIGINS", "none") and not said(work, "LLM_CORS_ORIGINS", "")
    for item, (why, right) in BAD.items():
        [(state, text)] = said(work, "LLM_CORS_ORIGINS", "%s %s" % (GOOD[0], item))
        assert state == "warning" and ('has "%s", which ' % item) in text and why in text and "restart HAProxy" in text, text
        assert ('write "%s" instead' % right in text) == (right is not None) and ("write origins as in" in text) == (right is None), text
    both = said(work, "LLM_CORS_ORIGINS", " ".join(BAD))
    assert len(both) == len(BAD), both
    for value in ("* ", " none", " ", GOOD[0] + "\t", " " + GOOD[0]):
        [(state, text)] = said(work, "LLM_CORS_ORIGINS", value)
        assert state == "problem" and "does not start" in text and "Take the blank away" in text, text


def test_haproxy_does_not_start_with_a_blank_at_an_end(haproxy):
    """As `check` says. Blanks between origins may be several."""
    for value, starts in ((GOOD[0] + "  \t" + GOOD[1], True), (GOOD[0] + " ", False), (" " + GOOD[0], False)):
        fine, told = harness.accepted(haproxy, harness.EXAMPLE, {"LLM_CORS_ORIGINS": value, "LLM_SPOE_CONF": str(harness.SPOE_CONF), "SPOA_LLM_LOG_KEY": KEY["SPOA_LLM_LOG_KEY"]})
        assert fine == (starts or harness.version_of(haproxy) >= (3, 4)), (value, told)
        assert fine or "missing closing '}' in condition" in told, told


def test_origins_in_a_file(work):
    """In quotes, blanks belong to the value."""
    other, config = work / "other", harness.write_config(work, {})
    for text, bad in (('LLM_CORS_ORIGINS="https://a.test https://b.test/"\n', ["https://b.test/"]), ("LLM_CORS_ORIGINS=a.test b.test\n", ["a.test", "b.test"]),
                      ('global\n    setenv LLM_CORS_ORIGINS "https://a.test b.test"\n', ["b.test"]), ("global\n    setenv LLM_CORS_ORIGINS https://a.test  \n", []), ("LLM_CORS_ORIGINS= https://a.test \n", [])):
        other.write_text(text)
        found, _ = findings("-c", config, *FILES, "--haproxy", other)
        got = [text for state, part, name, text in found if name == "LLM_CORS_ORIGINS" and state == "warning"]
        assert len(got) == len(bad) and not [one for one in found if one[:3] == ("problem", "haproxy", "LLM_CORS_ORIGINS")] and all('in %s, has "%s"' % (other, item) in text for item, text in zip(bad, got)), (text, got)
