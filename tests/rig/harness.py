"""The agent and HAProxy with the shipped configuration, as real processes (processes.py), and mock upstreams behind them (upstream.py)."""
import functools
import http.client as http_client
import itertools
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess

import evidence
import spop
import wire
from evidence import MARK, SECRETS, children_of, secret, workdir  # noqa: F401
from exchange import CLIENT_KEY, JSON, Exchange, bearer, chat, check_refusal  # noqa: F401
from processes import (  # noqa: F401
    BROKEN, LIVE, ROOT, SLOW, VALGRIND, Process, accepting, built, cpu_of, free_port, leaks, ledger_made, reload_haproxy, state_of,
    until)

AGENT = os.environ.get("SPOA_LLM", str(ROOT / "build" / "spoa-llm"))
EXAMPLE = pathlib.Path(os.environ.get("LLM_EXAMPLE_CFG", ROOT / "haproxy.cfg.example"))
SPOE_CONF = pathlib.Path(os.environ.get("LLM_EXAMPLE_SPOE", ROOT / "spoe.conf"))


# How a client's request comes. h1: HTTP/1.1 in clear. h2c: HTTP/2 in clear, with prior knowledge. h2-tls: HTTP/2 over TLS, by ALPN.
WAYS = ("h1", "h2c", "h2-tls")


def environment(extra=None):
    """An environment without the developer's own credentials and targets, and with `extra`."""
    env = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LANG": "C.UTF-8",
           "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1"),
           "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1"),
           "TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "exitcode=66")}
    if "LLVM_PROFILE_FILE" in os.environ:
        env["LLVM_PROFILE_FILE"] = os.environ["LLVM_PROFILE_FILE"]
    if VALGRIND:
        env["LD_PRELOAD"] = str(ROOT / "build" / "selfexe.so")
    env.update(extra or {})
    return env


def argv(*args):
    prefix = ["valgrind", "--quiet", "--trace-children=yes", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
              "--suppressions=%s" % (ROOT / "tests" / "static" / "valgrind")] if VALGRIND else []
    return prefix + [AGENT] + [str(arg) for arg in args]


class Done:
    def __init__(self, popen):
        self.code, self.out, self.err = popen.returncode, popen.stdout, popen.stderr

    def __repr__(self):
        return "exit %d\n---- stdout\n%s\n---- stderr\n%s" % (self.code, self.out, self.err)


def start(*args, env=None, before=(), **more):
    """Starts a command of the agent by evidence.Popen. `env`: its whole environment, by default environment(). `before`: a command that
    starts it, for example a shell."""
    return evidence.Popen([*before, *argv(*args)], environment() if env is None else env, **more)


def run(*args, timeout=None, **more):
    """Runs a command of the agent to its end, and returns what subprocess.run() would. Its output is captured, unless `more` says otherwise."""
    with start(*args, **dict({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}, **more)) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def cli(*args, env=None, seconds=60, cwd=None, before=()):
    """Runs a command of the agent to its end, and fails if its output has what must never be there. Returns a Done."""
    done = run(*args, env=environment(dict({"SPOA_LLM_ADMIN_LISTEN": "none"} if args[:1] == ("run",) else {}, **(env or {}))),
               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds * SLOW, cwd=cwd, before=before)
    done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    done = Done(done)
    assert not BROKEN.search(done.out + done.err), done
    assert not leaks(done.out + done.err), "credentials %s in the output of %s" % (leaks(done.out + done.err), args)
    assert done.code >= 0, "killed by signal %d\n%r" % (-done.code, done)
    return done


def write_config(directory, config, name="spoa-llm.json"):
    path = directory / name
    evidence.SPARED.add(name)
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    return path


class Answer:
    """What an HTTP server answered: status, headers (names in lower case), body."""

    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %r %s" % (self.status, self.headers, self.text[:2000])


def http(address, method="GET", path="/", headers=None, body=None, timeout=30.0):
    """Makes one request over a connection of its own, and searches the answer for credentials."""
    evidence.sent((headers or {}).items())
    address = address if isinstance(address, str) else address[0]
    connection = http_client.HTTPConnection("localhost", timeout=timeout * SLOW)
    connection.sock = spop.connect(address, timeout * SLOW)
    try:
        host = {} if headers and "Host" in headers else {
            "Host": "localhost" if address[:5] == "unix@" else address}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        body = body.encode() if isinstance(body, str) else body
        fields = dict(host, **(headers or {}))
        if body is not None and "Content-Length" not in fields:
            fields["Content-Length"] = str(len(body))
        for name, value in fields.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = Answer(connection.getresponse())
    finally:
        connection.close()
    whole = repr(answer.headers) + answer.text
    evidence.search(whole, "the answer to %s %s" % (method, path[:200]))
    assert not leaks(whole), "the credentials %s in the answer to %s %s" % (leaks(whole), method, path)
    return answer


def log_line(fields, key):
    """One of HAProxy's log lines as it sends them, RFC 5424, with the key."""
    return ('<134>1 2026-11-01T00:00:00.000000+00:00 host haproxy 12 - [llm@32473 key="%s"] %s' % (key, json.dumps(fields, separators=(",", ":")))).encode()


_NUMBER = itertools.count(1)


class Agent:
    """`spoa-llm run`. `config` is a dict (its `listen` filled in) or the text of a file. `before`: a command that becomes the agent."""

    def __init__(self, directory, config=None, args=(), env=None, wait=True, before=()):
        self.directory = directory
        number = next(_NUMBER)
        config = {} if config is None else config
        if isinstance(config, dict) and "listen" not in config:
            config = dict(config, listen="unix@%s/a%d.sock" % (directory, number))
        # By default all agents would share one TCP port.
        self.admin = "unix@%s/admin%d.sock" % (directory, number)
        if isinstance(config, dict) and "admin_listen" in config:
            self.admin = config["admin_listen"] if isinstance(config["admin_listen"], str) else config["admin_listen"][0]
        else:
            env = dict({"SPOA_LLM_ADMIN_LISTEN": self.admin}, **(env or {}))
        self.config = config
        self.file = write_config(directory, config, "agent%d.json" % number)
        evidence.configured([self.file.read_text("utf-8", "replace"), *args, *(env or {}).values()], env or {})
        self.address = None
        if isinstance(config, dict):
            listen = config["listen"]
            self.address = listen if isinstance(listen, str) else listen[0]
        self.process = Process("agent", [*before, *argv("run", "-c", self.file, *args)], directory / ("agent%d.log" % number),
                               environment(env))
        self.expect_exit = {0}
        if wait:
            self.ready()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(quiet=kind is not None)

    def ready(self):
        until(lambda: "event=ready" in self.text() or '"event":"ready"' in self.text()
              or not self.process.running(), 10, lambda: "agent not ready\n" + self.process.tail())
        assert self.process.running(), "the agent ended with %s\n%s" % (
            self.process.popen.returncode, self.process.tail())

    def text(self):
        return self.process.text()

    def lines(self, pattern=""):
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def log(self, pattern, seconds=5):
        """Waits for a line of the log."""
        return until(lambda: self.lines(pattern), seconds,
                     lambda: "no log line like %s\n%s" % (pattern, self.process.tail()))[-1]

    def upgrade(self):
        before = len(self.lines("event=upgraded"))
        self.process.kill(signal.SIGUSR2)
        until(lambda: len(self.lines("event=upgraded")) > before or self.lines("event=upgrade_failed"), 30,
              lambda: "the upgrade\n" + self.process.tail())
        assert not self.lines("event=upgrade_failed"), self.process.tail()

    def client(self, **changes):
        return spop.Client(self.address, timeout=10.0 * SLOW, **changes)

    def ask(self, **question):
        with self.client() as client:
            return client.ask(**question)

    def http(self, method="GET", path="/", headers=None, body=None, address=None, timeout=30.0):
        """One request to the admin server."""
        return http(address or self.admin, method, path, headers, body, timeout)

    @property
    def pid(self):
        """The id of the worker process; of the newest one while it takes over from another."""
        return until(lambda: children_of(self.process.pid), 5, "the master has a worker")[-1]

    def rss(self):
        """Resident memory of the worker process in bytes."""
        status = pathlib.Path("/proc/%d/status" % self.pid).read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def memory(self):
        """Bytes of the master and the worker together: all of it, where a page that processes share is divided among them, and what is theirs alone."""
        rollups = [pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text() for pid in (self.process.pid, self.pid)]
        return [sum(int(re.search(r"^%s:\s+(\d+)" % key, rollup, re.M).group(1)) for rollup in rollups) * 1024 for key in ("Pss", "Anonymous")]

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def kill(self):
        self.expect_exit = {-signal.SIGKILL}
        self.process.kill(signal.SIGKILL)
        self.process.wait()

    def close(self, quiet=False):
        # Credentials by files may have changed since.
        evidence.configured([self.file.read_text("utf-8", "replace")] if self.file.exists() else [], {})
        code = self.process.end()
        if not quiet:
            self.process.check()
            assert code in self.expect_exit, "agent exit code %d\n%s" % (code, self.process.tail())


# ---- HAProxy


POOLS = "-dMglobal"       # has HAProxy keep its memory in pools; README.md's EXTRAOPTS has the same option


def drop_in():
    """The environment that HAProxy has by the systemd drop-in."""
    lines = (ROOT / "dist" / "haproxy.service.d.conf").read_text().splitlines()
    return dict(pair.split("=", 1) for line in lines if line.startswith("Environment=") for pair in shlex.split(line[len("Environment="):]))


@functools.lru_cache(None)
def version_of(haproxy):
    """Returns (3, 0), for example, or None where it does not run."""
    try:
        out = subprocess.run([haproxy, "-v"], capture_output=True, timeout=20).stdout.decode()
    except OSError:
        return None
    found = re.search(r"HAProxy version (\d+)\.(\d+)", out)
    return (int(found.group(1)), int(found.group(2))) if found else None


def accepted(haproxy, path, env=None):
    """`haproxy -c`: (accepted, output)."""
    run = subprocess.run([haproxy, "-c", "-f", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env=environment(env), timeout=60)
    return run.returncode == 0, run.stdout.decode("utf-8", "replace")


def gateway_config(backends):
    """The shipped example with other backends."""
    text = EXAMPLE.read_text()
    mark = re.search(r"^# ---- backends.*$", text, re.M)
    assert mark, "haproxy.cfg.example has no line '# ---- backends'"
    return text[:mark.end()] + "\n" + backends


def without_cas(text):
    """The configuration with a HAProxy that does not read the machine's CAs for its own HTTP client, which nothing uses here: that would be two thirds of the
    CPU time of its start. Servers read the CAs that their `ca-file` names all the same."""
    return re.sub(r"(?m)^global$", "global\n    httpclient.ssl.verify none", text, count=1)


class Gateway:
    """Mocks, agent and HAProxy from the shipped files.

    `config`: the agent's, without `listen`. `owners`: {credential: [mocks that may receive it]}, checked over all
    requests at the end. `fake`: a spop.FakeAgent's answer function in place of the real agent's.
    `edit`: applied to haproxy.cfg's text. `limits`: {"LLM_...": value} for HAProxy. A subclass may give HAProxy other
    `haproxy_args`. `authority`, a certificates.Authority: HAProxy serves TLS too. `way`: one of WAYS, over which call() sends.
    """

    haproxy_args = ()

    def __init__(self, haproxy, mocks, config=None, env=None, args=(), owners=None, fake=None, fake_delay=0.0,
                 fake_hello=None, edit=None, edit_spoe=None, limits=None, port=None, way="h1", authority=None):
        self.haproxy_binary, self.mocks = haproxy, list(mocks)
        self.config, self.env, self.args = dict(config or {}), dict(env or {}), args
        for name in ("openai", "anthropic", "gemini"):
            if name.upper() + "_TARGET_API_URL" not in self.env:
                # No test may send anything to a real provider.
                self.config.setdefault(name + "_target", "http://127.0.0.1:1/" + name)
        self.owners = owners or {}
        self.fake, self.fake_delay, self.fake_hello = fake, fake_delay, fake_hello
        self.edit, self.edit_spoe, self.limits = edit, edit_spoe, limits or {}
        self.wanted_port, self.way, self.authority = port, way, authority
        self.dir = workdir()
        self.forbidden, self.answers = set(), []
        self.agent = self.haproxy = None
        try:
            self.start()
        except BaseException:
            self.close(quiet=True)
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(quiet=kind is not None)

    # -- life

    def start(self):
        self.socket = "unix@%s/agent.sock" % self.dir
        self.config.setdefault("listen", self.socket)
        self.socket = self.config["listen"]
        file = write_config(self.dir, self.config, "backends.json")
        done = cli("backends", "-c", file, *self.args, env=self.env)
        assert done.code == 0, done
        self.backends = done.out
        self.start_agent()
        self.port = self.wanted_port or free_port()
        self.address = ("127.0.0.1", self.port)
        text = gateway_config(self.backends)
        if self.authority:
            self.tls_address = ("127.0.0.1", free_port())
            text = text.replace("    bind ", "    bind %s:%d ssl crt %s alpn h2\n    bind " % (*self.tls_address, self.authority.bundle), 1)
        self.cfg = self.dir / "haproxy.cfg"
        self.cfg.write_text(without_cas(self.edit(text) if self.edit else text))
        spoe = SPOE_CONF.read_text()
        (self.dir / "spoe.conf").write_text(self.edit_spoe(spoe) if self.edit_spoe else spoe)
        self.haproxy_env = {"LLM_BIND": "127.0.0.1:%d" % self.port, "LLM_AGENT": self.socket,
                            "LLM_SPOE_CONF": str(self.dir / "spoe.conf"),
                            # Nobody listens there; a test that wants the log lines says where they go.
                            "LLM_LOG_RING": "127.0.0.1:1", "LLM_LOG_UDP": "127.0.0.1:1"}
        self.haproxy_env.update(self.limits)
        self.start_haproxy()

    def start_agent(self):
        if self.fake:
            self.agent = spop.FakeAgent(self.socket[5:], self.fake, self.fake_delay, self.fake_hello)
        else:
            self.agent = Agent(self.dir, self.config, self.args, self.env)

    def start_haproxy(self):
        self.haproxy = Process("haproxy", [self.haproxy_binary, "-db", POOLS, *self.haproxy_args, "-f", str(self.cfg)],
                               self.dir / "haproxy.log", environment(self.haproxy_env))

        def listening():
            if not self.haproxy.running():
                raise AssertionError("HAProxy ended\n" + self.haproxy.tail(80))
            try:
                socket.create_connection(self.address, 1).close()
            except OSError:
                return False
            return True
        until(listening, 15, lambda: "HAProxy is not listening\n" + self.haproxy.tail())

    def close(self, quiet=False):
        problems = []

        def attempt(action, *args, **named):
            try:
                return action(*args, **named)
            except AssertionError as error:
                problems.append(str(error))

        if self.haproxy:
            died = not self.haproxy.running()
            code = attempt(self.haproxy.end, signal.SIGINT)
            if died:
                problems.append("HAProxy died by itself, exit %s\n%s" % (code, self.haproxy.tail()))
            attempt(self.haproxy.check)
        if self.agent:
            attempt(self.agent.close, *([] if self.fake else [quiet]))
        for tag in sorted(self.forbidden):
            if self.seen(tag):
                problems.append("a refused request reached an upstream: %r" % self.seen(tag))
        for value, owners in self.owners.items():
            for mock in self.mocks:
                for request in mock.requests:
                    if mock not in owners and request.has(value):
                        problems.append("the credential '%s' reached %r" % (SECRETS.get(value, value), request))
        for answer in self.answers:
            text = (answer.raw_head + answer.body).decode("utf-8", "replace")
            evidence.search(text, "an answer to a client")
            if leaks(text):
                problems.append("the credentials %s in an answer to the client: %r" % (leaks(text), answer))
        evidence.discard(self.dir)
        if problems and not quiet:
            raise AssertionError("\n\n".join(problems))

    # -- use

    def seen(self, tag):
        raw = tag.encode()      # looked for in the bytes first, because a module's mocks have thousands of requests
        return [one for mock in self.mocks for one in list(mock.requests) if raw in one.raw_head and tag in one.all("x-client-request-id")]

    def connect(self, timeout=20.0):
        if self.way == "h1":
            return wire.Connection(self.address, timeout * SLOW)
        import http2        # here, because only this needs python3-h2
        if self.way == "h2c":
            return http2.Connection(self.address, timeout * SLOW)
        return http2.Connection(self.tls_address, timeout * SLOW, self.authority.h2_client)

    tags = itertools.count(1)   # of all gateways, because one after another may have the same mocks

    def tag(self):
        return "t-%d" % next(self.tags)

    def call(self, method, target, headers=(), body=None, chunks=None, connection=None, timeout=None, host="gw.test"):
        """Sends one request and reads its answer, on a connection of its own where none is given."""
        tag = self.tag()
        fields = [("Host", host)] + list(headers) + [("x-client-request-id", tag)]
        evidence.sent(headers)
        own = connection is None
        connection = connection or self.connect()
        try:
            response = connection.ask(method, target, fields, body, chunks, timeout)
        finally:
            if own:
                connection.close()
        self.answers.append(response)
        return Exchange(self, tag, response)

    def post(self, target, body, headers=None, **more):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        return self.call("POST", target, JSON + list(bearer() if headers is None else headers), body, **more)

    def ask(self, model, headers=None, target="/v1/chat/completions", connection=None, **more):
        return self.post(target, chat(model, **more), headers, connection=connection)
