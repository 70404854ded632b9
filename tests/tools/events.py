#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The fields that agent/base/log_events.h says of each event are those that the code logs; and each event is logged somewhere."""
import pathlib
import re
import sys

AGENT = pathlib.Path(__file__).resolve().parent.parent.parent / "agent"
FIELD = re.compile(r'LOG_[SCI]\((?:"(\w+)"|\(sig\) \? "(\w+)" : "(\w+)")')
TABLE = dict(re.findall(r'^EVENT\((\w+), \w+, "([^"]*)"', (AGENT / "base" / "log_events.h").read_text(), re.M))


def call(text, at):
    """The text of the call whose parenthesis opens at `at`."""
    depth, end = 1, at + 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    return text[at:end]


logged, bad = {}, 0
for path in sorted(AGENT.rglob("*.c")):
    source = path.read_text()
    end = re.search(r"#define LOG_END\(code, sig\) (.*)", source)
    for found in re.finditer(r"\blog_event(?:_at)?(\()(?:LOG_\w+, )?\s*(\w+),", source):
        text = call(source, found.start(1))
        if end:
            text = text.replace("LOG_END(code, sig)", end.group(1))
        names = [name for groups in FIELD.findall(text) for name in groups if name]
        logged.setdefault(found.group(2), {}).update(dict.fromkeys(names))
for name in sorted(set(TABLE) | set(logged)):
    said, have = TABLE.get(name, "").split(), list(logged.get(name, {}))
    if set(said) != set(have) or not have:
        print("agent/base/log_events.h, %s: fields %s; the code logs %s" % (name, " ".join(said) or "none", " ".join(have) or "no such event"))
        bad = 1
sys.exit(bad)
