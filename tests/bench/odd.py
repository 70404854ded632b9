"""`make bench-odd`: what becomes of odd requests at spoa-llm, at HAProxy with a Lua script, and at a small Python gateway.

    python3 tests/bench/odd.py [--haproxy PATH]

Mock upstreams say which of them got what, with whose credential; a verdict follows from that and from what the client got:

    served     one upstream got the request, with its own credential and no other, and its answer came back
    refused    the client got an error, and no upstream anything
    wrong      the client's credential reached an upstream beside the operator's; or what an upstream got names a model of another
               upstream, to a server that takes the first of two members, or the last, or ignores case, or that takes the model from
               the path where the API has it there; or it got a body other than the client's; or the client got no answer

All three have the same routes: glm- to ollama, kimi- to moonshot, whose credential is not configured, claude- to anthropic, gpt- to
openai. The rivals are in rivals/. odd.json is in build/bench.
"""
import argparse
import gzip
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rig  # noqa: E402
import harness  # noqa: E402
import wire  # noqa: E402
from chat import chat  # noqa: E402
from report import Report  # noqa: E402
from upstream import Mock  # noqa: E402
from ways import KEYS, NAMES, RIVALS, ROUTES, Ways  # noqa: E402

CLIENT = "sk-client-0123456789"
GATEWAYS = "cep"
JSON = [("Content-Type", "application/json")]
BEARER = [("Authorization", "Bearer " + CLIENT)]
TALK = '"messages":[{"role":"user","content":"hi"}]'
PLAIN = ('{"model":"glm-4.6",%s}' % TALK).encode()
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
           ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key." + CLIENT)]
FORM = b"".join(b"--b\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n" % part for part in (
    (b"file", b"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", bytes(range(256)) * 8), (b"model", b"", b"glm-4.6"))) + b"--b--\r\n"


BROKEN = "what decides is broken: agent killed, script or handler fails"
IN_README = 14


def large(size):
    """A chat whose model, glm-4.6, stands last."""
    return chat(size).replace(b'"model":"gpt-4.1-mini"', b'"model":"glm-4.6"     ')


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def requests():
    """Name -> method, target, headers, body, and whether it is sent in chunks."""
    def post(body, headers=(), target="/v1/chat/completions", ctype=JSON, chunked=False):
        return "POST", target, ctype + BEARER + list(headers), body, chunked
    return {
        "two different `model` members": post(('{"model":"glm-4.6",%s,"model":"gpt-5.5"}' % TALK).encode()),
        "`model`, and `Model` with another name": post(('{"model":"glm-4.6",%s,"Model":"gpt-5.5"}' % TALK).encode()),
        "a model in the path, another one in the body": post(PLAIN, target="/v1beta/models/gpt-5.5:generateContent"),
        "the model last in 900 KB": post(large(900 * 1024)),
        "the model last in 5 MB, beyond HAProxy's buffer": post(large(5 << 20)),
        "a body compressed with gzip": post(gzip.compress(PLAIN), [("Content-Encoding", "gzip")]),
        "a body compressed with zstd (Codex)": post(zstd(PLAIN), [("Content-Encoding", "zstd")]),
        "JSON that is cut off": post(PLAIN[:-3]),
        "JSON behind a byte order mark": post(b"\xef\xbb\xbf" + PLAIN),
        "a multipart form (audio)": post(FORM, target="/v1/audio/transcriptions", ctype=[("Content-Type", "multipart/form-data; boundary=b")]),
        "a route whose credential is not set": post(PLAIN.replace(b"glm-4.6", b"kimi-k2")),
        "the client's key in `?key=` too": post(PLAIN, target="/v1/chat/completions?key=" + CLIENT),
        "a WebSocket, the key as a subprotocol": ("GET", "/v1/realtime?model=glm-4.6", UPGRADE, None, False),
        BROKEN: post(PLAIN),
        # These are not in the README's table.
        "the key written `\\u006dodel`": post(PLAIN.replace(b'"model"', b'"\\u006dodel"')),
        "100,000 nested brackets": post(PLAIN[:-1] + b',"x":' + b"[" * 100000 + b"]" * 100000 + b"}"),
        "a JSON body called a form (curl -d)": post(PLAIN, ctype=[("Content-Type", "application/x-www-form-urlencoded")]),
        "a chunked body": post(PLAIN, chunked=True),
    }


# ---- what an upstream could read


def plain(body, coding):
    """The body without its content-encoding; None where it has another one than its header says."""
    try:
        if coding == "gzip":
            return gzip.decompress(body)
        if coding == "zstd":
            return subprocess.run(["zstd", "-q", "-d", "-c"], input=body, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return body


def models_in(path, body):
    """Every model that a server could read from what arrived."""
    in_path = re.search(r"/(?:models|deployments)/([^:/]+)", path)
    if in_path:
        return [in_path.group(1)]
    try:
        members = json.loads(body.decode("utf-8-sig"), object_pairs_hook=list)
        return [value for name, value in members if name.lower() == "model" and isinstance(value, str)]
    except (ValueError, RecursionError, TypeError):
        return []       # a form, or nothing that a server could read


def owner_of(model):
    return next((name for prefix, name in ROUTES if model.startswith(prefix)), None)


# ---- one request


def send(port, method, target, headers, body, chunked):
    """What the client gets: a Response, or None."""
    fields = [("Host", "gateway.test")] + headers
    connection = wire.Connection(("127.0.0.1", port), 10)
    try:
        return connection.ask(method, target, fields, None if chunked else body, [body[:20], body[20:]] if chunked else None)
    except (OSError, wire.Cut, ValueError):
        return None
    finally:
        connection.close()


def code_of(response):
    try:
        error = response.json()["error"]
        return error.get("code") if isinstance(error.get("code"), str) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def verdict(response, seen, sent):
    """(word, what happened). `sent`: the client's body without its content-encoding."""
    status = "no answer" if response is None else str(response.status)
    if not seen:
        return ("refused", " ".join(filter(None, (status, code_of(response))))) if response is not None and response.status >= 400 else ("wrong", status)
    faults = []
    for one in seen:
        theirs, own = one.has(CLIENT), KEYS[one.mock.name.upper() + "_API_KEY"]
        body = plain(one.body, one.header("content-encoding"))
        others = sorted({model for model in models_in(one.path, body or b"") if owner_of(model) not in (None, one.mock.name)})
        faults += ["%s may run %s" % (one.mock.name, model) for model in others]
        faults += ["%s got a body that it cannot read" % one.mock.name] if body != sent else []
        faults += ["%s got the client's key too" % one.mock.name] if theirs and one.has(own) else []
        faults += ["%s got another upstream's key" % one.mock.name] if any(one.has(key) for key in KEYS.values() if key != own) else []
    if response is None or response.status not in (101, 200):
        faults.append("the client got %s" % status)
    if faults or len(seen) > 1:
        return "wrong", "; ".join(faults or ["sent %d times" % len(seen)])
    return "served", "%s, with %s" % (one.mock.name, "the client's own key" if theirs else "its key")


def ask(port, mocks, request):
    for mock in mocks:
        mock.requests.clear()
    response = send(port, *request)
    _, _, headers, body, _ = request
    return verdict(response, [one for mock in mocks for one in mock.requests], plain(body or b"", dict(headers).get("Content-Encoding")))


def ask_all(ports, mocks, break_all):
    """Asks each gateway everything. `ports`: way -> port; `break_all()` breaks what decides, and may change the ports. Returns name of
    a request -> way -> (word, what happened)."""
    asked, found = requests(), {}
    for name, request in sorted(asked.items(), key=lambda item: item[0] == BROKEN):
        if name == BROKEN:
            break_all()
        found[name] = {way: ask(ports[way], mocks, request) for way in ports}
    return {name: found[name] for name in asked}


def start_mocks():
    return [Mock(name) for name in [name for _, name in ROUTES] + ["gemini"]]


# The credential of kimi- is not configured.
CONFIGURED = {name: key for name, key in KEYS.items() if name != "MOONSHOT_API_KEY"}


def break_all(it):
    """Kills the agent; the script and the handler meet a bug instead."""
    it.agents.pop("c").end(signal.SIGKILL)
    for way in "ep":
        process = it.proxies.pop(way)
        it.processes.remove(process)
        process.end(signal.SIGINT)
    script = it.dir / "broken.lua"
    script.write_text((RIVALS / "route.lua").read_text().replace("function(txn)\n", 'function(txn)\n    error("a bug")\n', 1))
    it.start_e(script)
    it.start_p("fault")


def measure(haproxy):
    mocks = start_mocks()
    try:
        with Ways(haproxy, GATEWAYS, authority={mock.name: mock.authority for mock in mocks}, keys=CONFIGURED) as it:
            return ask_all(it.ports, mocks, lambda: break_all(it))
    finally:
        for mock in mocks:
            mock.close()


def cell(word, what):
    return "%s: %s" % ("**wrong**" if word == "wrong" else word, what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", default=shutil.which("haproxy") or "/usr/sbin/haproxy")
    args = parser.parse_args()
    found, report = measure(args.haproxy), Report()
    rows = [[name] + [cell(*by[way]) for way in GATEWAYS] for name, by in found.items()]
    head = ["the request has"] + [NAMES[way] for way in GATEWAYS]
    report.table("odd", "", head, rows[:IN_README])
    report.note("odd", "*served*: one upstream got the request as it was, with its own credential and no other; *refused*: the client got this error, and no "
                "upstream anything; *wrong*: an upstream got a credential, a body or a model that was not for it.")
    report.table("odd-more", "", head, rows[IN_README:])
    words = {way: [by[way][0] for by in found.values()] for way in GATEWAYS}
    for way in GATEWAYS:
        print("%-15s %s" % (NAMES[way], ", ".join("%d %s" % (words[way].count(word), word) for word in ("served", "refused", "wrong"))))
    rig.TOOLS.mkdir(parents=True, exist_ok=True)
    (rig.TOOLS / "odd.json").write_text(json.dumps({"haproxy": "%d.%d" % harness.version_of(args.haproxy), "results": found, "blocks": report.markdown()},
                                                   indent=1) + "\n")
    return 1 if "wrong" in words["c"] else 0


if __name__ == "__main__":
    sys.exit(main())
