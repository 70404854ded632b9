"""`spoa-llm status`: how the agent is, for a person and, with --check, for monitoring by exit codes 0, 1 and 2."""
import json
import re
import socket

import harness
import terminals
from harness import cli
from processes import until


def config(work, **more):
    (work / "ledger").mkdir(exist_ok=True)
    return dict({"ledger": str(work / "ledger"), "log_listen": ["dgram@%s/log" % work],
                 "routes": [{"model_prefix": "m-", "upstream": "https://x.test", "auth": "env:K"}]}, **more)


def status(agent, *args, env=None):
    return cli("status", *args, "-c", agent.file, "--admin-listen", agent.admin, env=env)


def test_of_an_agent_that_is_well(agents, work):
    agent = agents(config(work), env={"K": harness.secret("k")})
    agent.ask(body=b'{"model":"m-1"}')
    done = status(agent)
    assert done.code == 0 and done.out.startswith("OK\n") and "WARNING" not in done.out, done
    assert re.search(r"^agent +version \S+, running for ", done.out, re.M) and re.search(r"^ok +routes +1 routes$", done.out, re.M), done
    assert re.search(r"^HAProxy .* 1 request since the agent's start, 0 of them refused$", done.out, re.M), done
    # The agent makes its ledger after it is ready.
    page = until(lambda: (lambda out: out if "last hour" in out else None)(status(agent).out), 20, "the ledger")
    assert re.search(r"^last hour +0 requests, ", page, re.M) and re.search(r"^30 days ", page, re.M), page
    agent.ask(body=b'{"model":"m-1"}')   # HAProxy is heard
    done = status(agent, "--check")
    assert done.code == 0 and re.fullmatch(r"SPOA-LLM OK - all checks are well \| requests=2c refused=0c requests_per_s=\S+ connections=\d+\n", done.out), done
    code, out = terminals.run("status", "-c", agent.file, "--admin-listen", agent.admin)
    assert code == 0 and "\x1b[32mok" in out


def test_of_an_agent_with_a_fault(agents, work):
    """A check that fails and lets requests be answered is a warning; an agent that drains or is gone is critical."""
    agent = agents(config(work))
    agent.ask(body=b'{"model":"m-1"}')
    done = status(agent, "--check")
    assert done.code == 1 and done.out.startswith("SPOA-LLM WARNING - credentials: 1 of 1 credentials are missing (m-)"), done
    done = status(agent)
    assert done.code == 0 and done.out.startswith("WARNING: credentials: ") and re.search(r"^WARNING +credentials .*\n {24}\S", done.out, re.M), done   # below it what to do
    agent.kill()
    done = status(agent, "--check")
    assert done.code == 2 and done.out.startswith("SPOA-LLM CRITICAL - no agent answers at "), done
    done = status(agent)
    assert '; is `spoa-llm run` running, with this "admin_listen"?\n' in done.out, done
    assert done.code == 69 and done.out.startswith("CRITICAL: no agent answers at ") and re.search(r"^(today|ledger) ", done.out, re.M), done


def answering(path, stats):
    """The status of an agent that says this of itself."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        out = {}
        for flag in ("--check", None):
            with harness.start("status", *([flag] if flag else []), "-c", path.parent / "agent.json", stdout=-1, stderr=-1) as process:
                other = listener.accept()[0]
                other.recv(65536)
                other.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(stats).encode())
                other.close()
                code, text = process.wait(20), process.stdout.read()
                out[flag] = code, text if isinstance(text, str) else text.decode()
    path.unlink()
    return out["--check"], out[None][1]


def test_of_haproxy_and_alerts(work):
    """What the page says is to be looked at, `status` says too: a HAProxy that has not asked, or no longer asks, and alerts."""
    path = work / "admin"
    harness.write_config(work, {"admin_listen": "unix@%s" % path}, "agent.json")
    well = {"checks": [{"part": "routes", "ok": True, "detail": "1 routes"}], "alerts": [], "haproxy": {"heard_ms": 400, "connections": 1}}
    check, page = answering(path, well)
    assert check[0] == 0 and check[1].startswith("SPOA-LLM OK - all checks are well") and re.search(r"^ok +HAProxy +last heard 0.4 s ago$", page, re.M), (check, page)
    for heard, code, said in ((None, 1, "WARNING - HAProxy: no HAProxy has asked yet"), (12300, 2, "CRITICAL - HAProxy: last heard 12.3 s ago")):
        check, page = answering(path, dict(well, haproxy={"heard_ms": heard, "connections": 0}))
        assert check[0] == code and check[1].startswith("SPOA-LLM " + said), check
        assert re.search(r"^%s +HAProxy .*\n +Does HAProxy run" % said.split()[0], page, re.M), page
    alert = {"name": "SpoaLlmUpstreamErrors", "severity": "page", "since": 1, "what": "half of all answers of x fail", "advice": "Look at the provider."}
    check, page = answering(path, dict(well, alerts=[alert]))
    assert check[0] == 1 and check[1].startswith("SPOA-LLM WARNING - SpoaLlmUpstreamErrors: half of all answers of x fail |"), check
    assert re.search(r"^WARNING +SpoaLlmUpstreamErrors +half of all answers of x fail\n +Look at the provider\.$", page, re.M), page
    # Alerts that fire, and a check that fails, for one reason are told once, at the worst level of them.
    missing = "1 of 2 credentials are missing (glm-), so their routes refuse every request"
    alerts = [dict(alert, name=name, check="credentials", what=what, advice="Put it there.") for name, what in (
        ("SpoaLlmCredentialMissing", missing), ("SpoaLlmAuthUnavailable", "requests refused: 7"))] + [dict(alert, check=None)]
    for blocking, level in ((False, "WARNING"), (True, "CRITICAL")):
        checks = well["checks"] + [{"part": "credentials", "ok": False, "blocking": blocking, "detail": missing}]
        check, page = answering(path, dict(well, alerts=alerts, checks=checks))
        assert check[0] == 1 + blocking and check[1].startswith("SPOA-LLM %s - SpoaLlmCredentialMissing: %s; SpoaLlmUpstreamErrors: half of" % (level, missing)), check
        assert re.search(r"^%s +SpoaLlmCredentialMissing +%s; requests refused: 7\n +Put it there\.$" % (level, re.escape(missing)), page, re.M), page
        assert page.count(missing) == 2 and not re.search("^[A-Z]+ +(credentials|SpoaLlmAuthUnavailable) ", page, re.M), page


def test_with_a_token(agents, work):
    """The token comes from where the configuration says, and stands nowhere. Who cannot read it learns whether the agent is ready."""
    token = harness.secret("token")
    viewer = harness.secret("viewer")
    agent = agents(config(work, admin_token="env:TOKEN", viewer_token="env:VIEWER"), env={"K": harness.secret("k"), "TOKEN": token, "VIEWER": viewer})
    agent.ask(body=b'{"model":"m-1"}')
    for env in ({"TOKEN": token}, {"VIEWER": viewer}, {"TOKEN": "", "VIEWER": viewer}):
        done = status(agent, "--check", env=env)
        assert done.code == 0 and "all checks are well | " in done.out, done
    for env in ({}, {"TOKEN": "other"}, {"TOKEN": "a\nb"}, {"TOKEN": "x" * 5000}):
        done = status(agent, "--check", env=env)
        assert (done.code, done.out) == (0, 'SPOA-LLM OK - ready; details need "viewer_token" or "admin_token", which this user cannot read\n'), done


def test_of_what_is_no_agent(work):
    """What listens there and says nothing, or something else, is critical within seconds."""
    path = work / "admin"
    file = harness.write_config(work, {"admin_listen": "unix@%s" % path})
    for answer, said in ((b"", "does not answer within 5 s"), (b"hello\r\n\r\n", "does not answer within 5 s"),
                         (b"HTTP/1.1 200 OK\r\n\r\nhello", "is no agent"), (b"HTTP/1.1 500 No\r\n\r\n{}", "is no agent")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            with harness.start("status", "--check", "-c", file, stdout=-1, stderr=-1) as process:
                other = listener.accept()[0]
                assert other.recv(65536).startswith(b"GET /stats HTTP/1.0\r\nHost: localhost\r\n")
                other.sendall(answer)
                other.close()
                assert process.wait(20) == 2
                out = process.stdout.read()
                assert said in (out if isinstance(out, str) else out.decode()), out
        path.unlink()
    done = cli("status", "--check", "--admin-listen", "none")
    assert done.code == 2 and '"admin_listen" is none' in done.out, done
