"""The search for credentials. Whatever the session's agents, commands and HAProxys wrote or answered passes through `search()`: logs,
journals, ledgers, pages, command lines. What is found is told once more when the session ends, which fails by it (conftest.py).

A credential made by `secret()` carries the session's mark, so that one look for the mark, in each of the forms it may have, is a look
for every credential of the session, and for parts of them. One that has none (`known()`) is looked for by itself."""
import base64
import hashlib
import os
import pathlib
import random
import re
import shutil
import stat
import tempfile
import time
import urllib.parse

RANDOM = random.Random(os.getpid() ^ time.time_ns())
MARK = "%08x" % RANDOM.getrandbits(32)
SECRETS = {}        # value: name
FOUND = []
DIRECTORIES = set()
SPARED = set()      # names of the files by which tests give configurations and credentials to agents
LARGEST = 1 << 30
# Configured by a test, and by intent no secret of anybody's, or too short to look for.
SHORTEST = 12
CARRIERS = re.compile(r"(?i)authorization|proxy-authorization|x-api-key|api-key|x-goog-api-key|cookie")


def secret(name):
    """A fresh credential."""
    while True:
        value = "sk-%s-%s-%08x" % (MARK, name, RANDOM.getrandbits(32))
        if value not in SECRETS:
            SECRETS[value] = name
            return value


def known(value, name):
    """A credential that somebody else made; one of a few letters again and again is a filler, which stands in many places."""
    if len(value) >= SHORTEST and len(set(value)) > 5 and MARK not in value and value not in SECRETS:
        SECRETS[value] = name
        _unmarked[value] = forms(value)


_unmarked = {}


def in_base64(data):
    """What of `data` stands in the base64 of any text that holds it: it may begin at any of three places."""
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
    """The names of the credentials that are in these bytes, in any form; their last characters may be missing."""
    names = set()
    if any(data.find(form) >= 0 for form in MARKS):
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
    """What any user of the machine can read of them."""
    for pid in pids:
        for path in ("cmdline", "comm", "status", "stat"):
            try:
                search(pathlib.Path("/proc/%d/%s" % (pid, path)).read_bytes(), "/proc/PID/" + path)
            except OSError:
                pass


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
    """Short, since a unix socket's path has 108 bytes. By discard() or the end of the session its files are searched, and gone."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="llm-", dir="/tmp"))
    DIRECTORIES.add(path)
    return path


def discard(path):
    for file in sorted(path.rglob("*")):
        search_file(file)
    DIRECTORIES.discard(path)
    shutil.rmtree(path, ignore_errors=True)


def verdict():
    """Of the whole session; empty where nothing was found."""
    for path in sorted(DIRECTORIES):
        discard(path)
    return "\n".join(sorted(set(FOUND)))
