"""The search for credentials. Whatever the session's agents, commands and HAProxys wrote or answered passes through `search()`: logs,
journals, ledgers, pages, command lines. Whatever is found fails the session when it ends (conftest.py).

A credential made by `secret()` carries the session's mark. One search for the mark, in each form that it may have, finds every such
credential and parts of it. A credential without the mark (`known()`) is searched for by itself.

The agent and its commands are started by `Popen` here, and in no other way: a session refuses what goes round it (`guard()`)."""
import base64
import hashlib
import os
import pathlib
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

RANDOM = random.Random(os.getpid() ^ time.time_ns())
MARK = "%08x" % RANDOM.getrandbits(32)
SECRETS = {}        # value: name
FOUND = []
DIRECTORIES = set()
SPARED = set()      # names of the files by which tests give configurations and credentials to agents
LARGEST = 1 << 30
# Shorter credentials are not searched for, because they would be found by chance.
SHORTEST = 12
CARRIERS = re.compile(r"(?i)authorization|proxy-authorization|x-api-key|api-key|x-goog-api-key|cookie")


def secret(name):
    """Makes a new credential. `name` is what a finding calls it."""
    while True:
        value = "sk-%s-%s-%08x" % (MARK, name, RANDOM.getrandbits(32))
        if value not in SECRETS:
            SECRETS[value] = name
            return value


def known(value, name):
    """Takes note of a credential that secret() did not make. One of few different letters is filler, which stands in many places."""
    if len(value) >= SHORTEST and len(set(value)) > 5 and MARK not in value and value not in SECRETS:
        SECRETS[value] = name
        _unmarked[value] = forms(value)


_unmarked = {}


def in_base64(data):
    """The part of the base64 of `data` that is the same whatever text it stands in, for each of the three places where it may begin."""
    out = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data)
        first, last = -(-before * 4 // 3), (before + len(data)) * 8 // 6
        out += [whole[first:last], whole[first:last].translate(bytes.maketrans(b"+/", b"-_"))]
    return out


def forms(text):
    data = text.encode("utf-8", "surrogateescape")
    escaped = "".join("\\u%04x" % char for char in data).encode()
    return sorted({data, data[::-1], urllib.parse.quote_from_bytes(data, "").encode(), b"".join(b"%%%02x" % one for one in data),
                   b"".join(b"%%%02X" % one for one in data), data.hex().encode(), data.hex().upper().encode(), data.decode("latin-1").encode("utf-16le"),
                   escaped, *in_base64(data)})


MARKS = forms(MARK)


def names_in(data):
    """The names of the credentials that stand in these bytes in any form, even if their last two characters are missing."""
    names = set()
    if SECRETS.keys() != _unmarked.keys() and any(data.find(form) >= 0 for form in MARKS):
        names = {name for value, name in SECRETS.items() if MARK in value and any(data.find(form) >= 0 for form in forms(value[:-2]))}
        names = names or {"a part of one, or one of another form"}
    return sorted(names | {SECRETS[value] for value, all_forms in _unmarked.items() if any(data.find(form) >= 0 for form in all_forms)})


def hash_of(name):
    return hashlib.sha256("".join(value for value, one in SECRETS.items() if one == name).encode()).hexdigest()[:8]


def search(data, where):
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    names = names_in(data)
    if names:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]
        FOUND.append("the credential %s in %s%s" % (
            ", ".join("'%s' (%s)" % (name, hash_of(name)) for name in names), where, test and ", written in or before " + test))
    return names


_later, _later_lock = {}, threading.Lock()


def later(data, where):
    """For what comes in many small pieces, perhaps while a test measures time: searched when the test ends (`settle()`)."""
    with _later_lock:
        kept = _later.setdefault(where, bytearray())
        kept += data
        kept += b"\n"
        full = len(kept) > 1 << 26
    if full:
        settle()


def settle():
    with _later_lock:
        kept = dict(_later)
        _later.clear()
    for where, data in kept.items():
        search(bytes(data), where)


def search_file(path):
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or not 0 < about.st_size <= LARGEST or path.name in SPARED:
            return
        data = path.read_bytes()
    except OSError:
        return
    search(data, path)


def search_processes(pids):
    """Searches what any user of the machine can read about these processes."""
    for pid in pids:
        for path in ("cmdline", "comm", "status", "stat"):
            try:
                search(pathlib.Path("/proc/%d/%s" % (pid, path)).read_bytes(), "/proc/PID/" + path)
            except OSError:
                pass


# ---- the one way to start the agent


class Pipe:
    """A process' output. What the test reads of it is searched."""

    def __init__(self, file, where):
        self.file, self.where = file, where

    def _searched(self, data):
        later(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data, self.where)
        return data

    def read(self, *size):
        return self._searched(self.file.read(*size))

    def readline(self, *size):
        return self._searched(self.file.readline(*size))

    def __iter__(self):
        return iter(self.readline, self.file.read(0))

    def __getattr__(self, name):    # fileno() for poll(), close() ...
        return getattr(self.file, name)


def children_of(pid):
    try:
        return [int(child) for task in os.listdir("/proc/%d/task" % pid)
                for child in pathlib.Path("/proc/%d/task/%s/children" % (pid, task)).read_text().split()]
    except OSError:
        return []


class Popen(subprocess.Popen):
    """subprocess.Popen for the agent and its commands. Its configuration's credentials are taken note of; what it writes is searched: a
    pipe as the test reads it, a file when its directory goes. A descriptor whose other end the test has is read by `read_all()`."""

    def __init__(self, argv, env=None, **more):
        for name in ("stdout", "stderr"):
            assert more.get(name) is not None, "where does its %s go? Nobody would search it" % name
        self.where = "the output of " + " ".join(str(arg)[:100] for arg in argv[-8:])
        configured([config_of(argv), *argv], os.environ if env is None else env)
        _starting.by_us = True
        try:
            super().__init__(argv, env=env, **more)
        finally:
            _starting.by_us = False
        self.stdout, self.stderr = (pipe and Pipe(pipe, self.where) for pipe in (self.stdout, self.stderr))

    def send_signal(self, number):
        # Now, because its command line goes with the process.
        search_processes([self.pid] + children_of(self.pid))
        super().send_signal(number)

    def communicate(self, *args, **named):
        output = super().communicate(*args, **named)
        for one in output:
            search(one or b"", self.where)
        return output


def read_all(fd, where):
    """Reads the descriptor to its end, and searches what it read."""
    got = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:     # a terminal nobody has open any more
            piece = b""
        if not piece:
            search(got, where)
            return got
        got += piece


def config_of(argv):
    """The text of the configuration that -c names."""
    paths = [str(after) for arg, after in zip(argv, argv[1:]) if arg == "-c"]
    try:
        return pathlib.Path(paths[-1]).read_text("utf-8", "replace") if paths else ""
    except OSError:
        return ""


_starting = threading.local()
_guarded = set()
STARTS = {"subprocess.Popen": 1, "os.exec": 1, "os.posix_spawn": 1, "os.system": 0}


def guard(*binaries):
    """From now on only Popen above can start one of these, or a program that gets one of these names as an argument."""
    if not _guarded:
        sys.addaudithook(_audit)
    _guarded.update(os.path.basename(one) for one in binaries)


def _audit(event, args):
    if event not in STARTS or getattr(_starting, "by_us", False):
        return
    argv = args[STARTS[event]]
    for word in argv if isinstance(argv, (list, tuple)) else [argv]:
        names = {os.path.basename(part) for part in os.fsdecode(os.fspath(word)).split()}
        if names & _guarded:
            raise AssertionError("%s started round evidence.Popen: %s" % (", ".join(names & _guarded), argv))


def configured(texts, env):
    """Takes note of what a configuration calls a credential: env:NAME, file:PATH, and the key of the log."""
    text = "\n".join(str(one) for one in texts)
    for name in set(re.findall(r"\benv:(\w+)", text)) | {"SPOA_LLM_LOG_KEY"}:
        known(env.get(name, ""), name)
    for path in set(re.findall(r"\bfile:(/[^\"\s,]+)", text)):
        SPARED.add(os.path.basename(path))     # by whatever link
        if os.path.isfile(path) and os.path.getsize(path) < 1 << 16:
            known(pathlib.Path(path).read_text("utf-8", "surrogateescape").strip(), path)


def sent(headers):
    """Takes note of a client's credentials."""
    for name, value in headers:
        if isinstance(value, str) and CARRIERS.fullmatch(name):
            known(value.partition(" ")[2] or value, "a client's " + name.lower())


def workdir():
    """Makes a directory with a short name, because the path of a unix socket has 108 bytes at most. discard(), or the end of the session,
    searches its files and removes it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="llm-", dir="/tmp"))
    DIRECTORIES.add(path)
    return path


def discard(path):
    for file in sorted(path.rglob("*")):
        search_file(file)
    DIRECTORIES.discard(path)
    shutil.rmtree(path, ignore_errors=True)


def verdict():
    """What was found in the whole session; empty if nothing was."""
    settle()
    for path in sorted(DIRECTORIES):
        discard(path)
    return "\n".join(sorted(set(FOUND)))


# ---- by itself, for the tests that are shell scripts


def main(arguments):
    """evidence.py CREDENTIALS... -- PATHS...: files of credentials (a line each, or NAME=one), and files and folders that hold none; those
    of all processes' /proc that anybody may read, too. Exit 1: one was found. A file of credentials itself may lie in a folder."""
    apart = arguments.index("--")
    files, paths = arguments[:apart], [pathlib.Path(one) for one in arguments[apart + 1:]]
    for file in files:
        for line in filter(lambda one: not one.startswith("#"), pathlib.Path(file).read_text().split("\n")):
            known(re.sub(r"^[A-Z_]+=", "", line.strip()), os.path.basename(file))
    names, own = {*SECRETS.values()}, {os.path.realpath(file) for file in files}
    if len(names) != len(files):
        sys.exit("no credential, or one too short to look for, in one of " + ", ".join(files))
    count = 0
    for path in paths:
        if not path.exists():
            sys.exit("%s is not there" % path)
        for one in path.rglob("*") if path.is_dir() else [path]:
            if os.path.realpath(one) not in own:
                search_file(one)
                count += one.is_file()
    pids = [int(one) for one in os.listdir("/proc") if one.isdigit()]
    search_processes(pids)
    told = verdict()
    print(told or "no credential of %d in %d files and %d processes" % (len(SECRETS), count, len(pids)))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
