"""`make bench-end`: instructions of HAProxy for the end of a request (the rules for its answer, and the log line), counted by callgrind.

    python3 tests/bench/end.py [--haproxy PATH] [--requests N] [COMMIT...]

Counts haproxy.cfg.example and spoe.conf as they are here, and as they were in each COMMIT, whose agent has to understand them. `rules` has all rules for
an answer, `line` the log line. A busy machine does not change the figures. No HAProxy but one whose functions have names (Debian's has) can be counted."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import callgrind  # noqa: E402
from ledgers import LedgerGateway  # noqa: E402
from upstream import Mock  # noqa: E402

PARTS = {"rules": "http_process_res_common", "line": "strm_log"}
USAGE = {"prompt_tokens": 300, "completion_tokens": 80, "total_tokens": 380, "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}
SIZES = {"1 KB": 600, "16 KB": 16000, "128 KB": 128000}


def answer(size):
    """A chat answer whose text has many quotes, as code has."""
    text = 'word "x" ' * (size // 12)
    return {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], "usage": USAGE, "service_tier": "default"}


def files(commit):
    def read(name):
        if not commit:
            return (ROOT / name).read_text()
        return subprocess.run(["git", "-C", str(ROOT), "show", "%s:%s" % (commit, name)], stdout=subprocess.PIPE, check=True).stdout.decode()
    return read("haproxy.cfg.example"), read("spoe.conf")


def measure(work, haproxy, requests, mock, commit):
    cfg, spoe = files(commit)
    counter = callgrind.Counter(work, haproxy)

    def rules(text):
        mark = re.compile(r"^# ---- backends.*$", re.M)
        return cfg[:mark.search(cfg).end()] + text[mark.search(text).end():]
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}
    with LedgerGateway(counter.haproxy, [mock], config, edit=rules, edit_spoe=lambda _: spoe) as gateway:
        def load(number):
            for _ in range(number):
                gateway.ask("gpt-l", padding="x " * 400)
            time.sleep(1)

        load(10)
        cost, _ = callgrind.called(counter.between(gateway.haproxy.pid, lambda: load(requests)))
    figures = {part: callgrind.of(cost, name) for part, name in PARTS.items()}
    if not all(figures.values()):
        sys.exit("end: the functions of %s have no names" % haproxy)
    return {part: round(figure / requests) for part, figure in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", default=os.environ.get("HAPROXY", "/usr/sbin/haproxy"))
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("commits", nargs="*")
    options = parser.parse_args()
    mock = Mock("end")
    for size, content in SIZES.items():
        raw = json.dumps(answer(content)).encode()
        mock.respond = lambda _, raw=raw: (200, [("Content-Type", "application/json")], raw)
        for commit in [None] + options.commits:
            with tempfile.TemporaryDirectory() as work:
                figures = measure(pathlib.Path(work), options.haproxy, options.requests, mock, commit)
            print("%-8s %-12s %s" % (size, commit or "here", "  ".join("%s %9s" % (part, format(cost, ",")) for part, cost in figures.items())), flush=True)
    mock.close()


main()
