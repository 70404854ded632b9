"""The official clients and aimock, all from npm, and how a test uses them: tests/rig/sdk/client.mjs makes the calls and
tests/rig/sdk/aimock.mjs answers them. Both run on a Node.js that comes with them, in build/sdk."""
import base64
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import urllib.request

import pytest

import evidence
import harness
from harness import CLIENT_KEY, until
from upstream import Request

SOURCE = harness.ROOT / "tests" / "rig" / "sdk"
PLACE = harness.ROOT / "build" / "sdk"


# ---- installation


def lacking(reason):
    """Without npm or its registry there is nothing to test with. Where npm is to be had, CI does not go on without."""
    if os.environ.get("CI") and shutil.which("npm"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def node_of(place):
    """The Node.js that npm installed here, else one of the machine's that is new enough."""
    for node in sorted(place.glob("node_modules/node-linux-*/bin/node")) + [shutil.which("node")]:
        with contextlib.suppress(OSError, TypeError, ValueError):
            run = subprocess.run([node, "-p", "parseInt(process.versions.node)"], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, timeout=20)
            if int(run.stdout) >= 22:
                return str(node)
    return None


def install():
    """The packages of the lock file in build/sdk, once for each state of it. Returns the path of Node.js."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = PLACE / ".installed", hashlib.sha256()
        for name in ("package.json", "package-lock.json"):
            wanted.update((SOURCE / name).read_bytes())
        if not stamp.exists() or stamp.read_text() != wanted.hexdigest() or not node_of(PLACE):
            if not shutil.which("npm"):
                lacking("npm is not installed")
            stamp.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, PLACE)
            try:
                run = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
                                      "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"], cwd=PLACE,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     timeout=300)
            except subprocess.TimeoutExpired:
                lacking("npm ci took more than 300 s")
            if run.returncode:
                said = re.findall(r"npm (?:error|ERR!) (.+)", run.stdout.decode("utf-8", "replace"))
                lacking("npm ci failed: " + "; ".join(said[:4])[:500])
            if not node_of(PLACE):
                lacking("npm has no Node.js for this machine, and its own is older than 22")
            stamp.write_text(wanted.hexdigest())
        for script in SOURCE.glob("*.mjs"):
            shutil.copy(script, PLACE)
        return node_of(PLACE)


# ---- the upstreams


class Upstream:
    """One of aimock's servers; to harness.Gateway what upstream.Mock is."""

    def __init__(self, servers, name, key, port):
        self.servers, self.name, self.key, self.port = servers, name, key, port

    def url(self, path=""):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    @property
    def authority(self):
        return "127.0.0.1:%d" % self.port

    @property
    def requests(self):
        return [one for one in self.servers.received() if one.mock is self]

    def journal(self, tag):
        """What aimock understood."""
        asked = urllib.request.Request(self.url("/__aimock/journal?testId=" + tag), headers={"x-api-key": self.key})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)


class Servers:
    """aimock's process and the record of what it received."""

    def __init__(self, node, directory, keys):
        evidence.SPARED.add("record")     # of what the upstream got
        self.record, self.read, self.seen, self.ended = directory / "record", 0, [], {}
        self.record.touch()
        self.errors = open(directory / "aimock.log", "w+")
        self.popen = subprocess.Popen(
            [node, PLACE / "aimock.mjs", self.record, json.dumps({name: {"key": key} for name, key in keys.items()})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=harness.environment())
        line = self.popen.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise AssertionError("aimock did not start\n" + self.errors.read())
        self.named = {name: Upstream(self, name, keys[name], port) for name, port in json.loads(line).items()}

    def received(self):
        with open(self.record, "rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.read += len(line)
                one = json.loads(line)
                if "whole" in one:
                    self.ended[one.get("tag")] = one["whole"]
                    continue
                flat = one["headers"]
                headers = list(zip(flat[::2], flat[1::2]))
                head = "\r\n".join([one["line"]] + ["%s: %s" % pair for pair in headers]).encode("latin-1", "replace")
                request = Request(self.named[one["name"]], 0, one["line"], headers, head)
                request.body = base64.b64decode(one["body"])
                self.seen.append(request)
        return list(self.seen)

    def cut_off(self, tag):
        """Whether the client broke off an answer to that call."""
        self.received()
        return self.ended.get(tag) is False

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(10)
        self.popen.stdout.close()
        self.errors.close()


# ---- the clients


class Client:
    """client.mjs, one process for all calls."""

    def __init__(self, node):
        self.popen = subprocess.Popen([node, PLACE / "client.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      env=harness.environment(), cwd=PLACE)
        assert self.popen.stdout.readline() == b"{}\n", "tests/rig/sdk/client.mjs did not start"
        self.numbers = itertools.count(1)
        self.waiting = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            answer = json.loads(line)
            if answer["id"] in self.waiting:    # else wait() has given up
                self.waiting[answer["id"]].put(answer)
        for waiting in list(self.waiting.values()):
            waiting.put(None)

    def start(self, **call):
        number = next(self.numbers)
        # Before the call, because its answer may come at once: two threads that both made the queue would not have the same one.
        self.waiting[number] = queue.Queue()
        self.popen.stdin.write(json.dumps(dict(call, id=number)).encode() + b"\n")
        self.popen.stdin.flush()
        return number

    def wait(self, number, seconds=30):
        try:
            answer = self.waiting[number].get(timeout=seconds * harness.SLOW)
        except queue.Empty:
            answer = None
        finally:
            del self.waiting[number]
        assert answer, "no answer of client.mjs"
        return answer

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(10)
        self.popen.stdout.close()


NUMBERS = itertools.count(1)


class Call:
    """One call of an SDK's through a gateway, under way until something of its outcome is asked for."""

    def __init__(self, client, gateway, sdk, call, mode, params, key=CLIENT_KEY, abort=False, **options):
        self.client, self.gateway, self.sdk, self.tag = client, gateway, sdk, "sdk-%d" % next(NUMBERS)
        headers = {"x-client-request-id": self.tag}
        if call == "realtime":
            params = dict(params, headers=headers)
        self.number = client.start(sdk=sdk, call=call, mode=mode, params=params, key=key, headers=headers, abort=abort,
                                   base="http://%s:%d" % gateway.address, options=options)
        self.answer = None

    def done(self):
        if self.answer is None:
            self.answer = self.client.wait(self.number)
            got = json.dumps(self.answer["got"], ensure_ascii=False)
            assert not harness.leaks(got), "credentials %s in an answer: %s" % (harness.leaks(got), got)
        return self.answer

    @property
    def got(self):
        return self.done()["got"]

    @property
    def sent(self):
        return self.done()["sent"]

    @property
    def error(self):
        assert "error" in self.got, "no error: %r" % self.got
        return self.got["error"]

    @property
    def seen(self):
        return self.gateway.seen(self.tag)

    def succeeded(self, attempts=1):
        assert "error" not in self.got, self.got
        assert len(self.sent) == attempts, self.sent
        return self.got

    def only(self, upstream, times=1):
        """Checks that `upstream` got `times` requests, and no other upstream any. Returns the last one."""
        self.done()
        # aimock may answer before it has read a request, which is on record when it ended.
        with contextlib.suppress(AssertionError):
            until(lambda: len(self.seen) >= times, 2)
        assert [one.mock.name for one in self.seen] == [upstream.name] * times, "expected at %s: %r, got %r" % (
            upstream.name, self.seen, self.got)
        return self.seen[-1]

    def refused(self, status, name, attempts=1):
        """Checks that the SDK raised its own error class after `attempts` requests, none of which reached an upstream."""
        error = self.error
        assert error["status"] == status and name in error["classes"], error
        assert {"APIError", "ApiError"} & set(error["classes"]), error
        assert [one["status"] for one in self.sent] == [status] * attempts, self.sent
        self.gateway.forbidden.add(self.tag)
        assert not self.seen, self.seen
        return error

    def handled(self, model):
        """HAProxy's own count of the requests for that model: its log lines, by the code of each refusal. The last is
        written after the answer was sent, those before it in front of the SDK's next attempt."""
        self.done()
        return until(lambda: re.findall(r'"model":"%s",.*?"code":"(\w*)"' % model, self.gateway.haproxy.text()), 5,
                     "a log line for " + model)
