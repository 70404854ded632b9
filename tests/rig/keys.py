"""Clients and their keys: the file of clients, and what HAProxy sends of a key."""
import hashlib
import json
import secrets

import evidence
import harness


def key(name):
    """Makes a key of a client, which evidence.py searches for. `name` is what a finding calls it."""
    value = "sk-spoa-" + evidence.MARK + secrets.token_urlsafe(27)[:35]
    evidence.SECRETS[value] = name
    return value


def sha256(value):
    return hashlib.sha256(value.encode()).digest()


def entry(name, *keys, **more):
    """A client as the file of clients has it. A key may be a pair of key and expiry."""
    pairs = [one if isinstance(one, tuple) else (one, None) for one in keys]
    return dict({"name": name, "keys": [dict({"sha256": sha256(one).hex()}, **({"expires_at": end} if end else {})) for one, end in pairs]}, **more)


def write(path, clients, projects=None):
    """Writes the file of clients as a whole, as an editor or a deployment does."""
    beside = path.with_suffix(".new")
    beside.write_text(clients if isinstance(clients, str) else
                      json.dumps(dict({"clients": clients}, **({"projects": projects} if projects else {})), indent=1))
    beside.rename(path)


def ask(value=None, **more):
    """What HAProxy asks about a request with this key."""
    return dict({"guard": True, "key": sha256(value) if value else None, "path": "/v1/chat/completions", "body": '{"model":"gpt-5"}'}, **more)


def run(file, *args, **more):
    """`spoa-llm client ...` with this file of clients."""
    return harness.cli("client", *args, "--clients", file, **more)


def printed(done, name):
    """The key that a command printed, which from here on must stand nowhere else."""
    assert done.code == 0 and done.out.endswith("\n"), done
    value = json.loads(done.out)["key"] if done.out.startswith("{") else done.out[:-1]
    assert len(value) == 51 and value.startswith("sk-spoa-") and value not in done.err, "no key, or one on standard error too"
    evidence.known(value, name)
    return value
