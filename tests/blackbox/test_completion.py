"""The completions of `spoa-llm completion bash`, `zsh` and `fish`, asked of the real shells."""
import os
import re
import shutil
import subprocess

import pytest

import evidence
import harness
from harness import cli

# What was typed, the last word of it unfinished: words that have to be offered, and one that must not.
ASKED = {
    "spoa-llm sav": (["savings"], "run"),
    "spoa-llm ledger ": (["export", "import", "prune", "verify"], "savings"),
    "spoa-llm help led": (["ledger"], "savings"),
    "spoa-llm ledger ex": (["export"], "import"),
    "spoa-llm savings --by ": (["model", "route", "gateway"], "backend"),
    "spoa-llm upstreams --by ": (["backend", "member"], "model"),
    "spoa-llm savings --si": (["--since"], "--drain"),
    "spoa-llm ledger prune --dr": (["--dry-run"], "--drain"),
    "spoa-llm -c x.json savings --pro": (["--project"], "--drain"),
    "spoa-llm run --log-l": (["--log-level", "--log-listen"], "--since"),
    "spoa-llm run --log-level ": (["debug", "info", "warn", "error"], "json"),
    "spoa-llm ledger import the-l": (["the-log"], "run"),
    "spoa-llm check --haproxy the-l": (["the-log"], "run"),
}


def needs(shell):
    if shutil.which(shell) is None:
        pytest.skip("%s is not here" % shell)


@pytest.fixture
def place(work):
    """A directory with the scripts, a file to complete, and spoa-llm on the path."""
    for shell in ("bash", "zsh", "fish"):
        done = cli("completion", shell)
        assert (done.code, done.err) == (0, "")
        (work / shell).write_text(done.out)
    (work / "the-log").write_text("")
    return work


def shell(work, *command, **more):
    env = {"PATH": os.environ["PATH"], "HOME": str(work), "XDG_CONFIG_HOME": str(work), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    with evidence.Popen(command, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **more) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    return out


def check(typed, offered):
    want, other = ASKED[typed]
    assert set(want) <= set(offered) and other not in offered, (typed, offered)


def test_bash(place):
    script = ". ./bash\n" + "".join("""
        COMP_WORDS=(%s) COMP_CWORD=%d; _spoa_llm; echo "${COMPREPLY[*]}"
        """ % (typed + ("''" if typed.endswith(" ") else ""), len(typed.split()) - (not typed.endswith(" "))) for typed in ASKED)
    for typed, line in zip(ASKED, shell(place, "bash", "--norc", "-uc", script).splitlines(), strict=True):
        check(typed, line.split())


def test_fish(place):
    needs("fish")
    script = "source ./fish\n" + "".join("complete -C '%s'; echo --end\n" % typed for typed in ASKED)
    parts = shell(place, "fish", "--no-config", "-c", script).split("--end\n")
    for typed, part in zip(ASKED, parts):
        check(typed, [line.split("\t")[0] for line in part.splitlines()])


def test_zsh(place):
    """zsh has compadd and _files in a widget alone, so functions of the test take their place."""
    needs("zsh")
    (place / "rc").write_text("""
        autoload -Uz compinit; compinit -u -d %s/dump
        source ./zsh
        compadd() { print -r -- OFFER ${@:2}; }
        _files() { local -a all=( ./${words[CURRENT]}*(N:t) ); print -r -- OFFER $all; }
    """ % place)
    script = "source ./rc\n" + "".join("""
        words=(%s) CURRENT=%d PREFIX=%s; print -r -- ASK; _spoa_llm
        """ % (typed + ("''" if typed.endswith(" ") else ""), len(typed.split()) + typed.endswith(" "), "''") for typed in ASKED)
    parts = shell(place, "zsh", "-f", "-c", script).split("ASK\n")[1:]
    for typed, part in zip(ASKED, parts, strict=True):
        check_prefix = typed.split(" ")[-1]
        check(typed, [word for word in part.replace("OFFER", "").split() if word.startswith(check_prefix)])


def test_the_shells_are_told(place):
    done = cli("completion", "csh")
    assert done.code == 64 and "bash, zsh or fish is expected" in done.err, done
    for shell_name in ("bash", "zsh", "fish"):
        text = (place / shell_name).read_text()
        for flag in ("--since", "--listen", "--dry-run") if shell_name != "fish" else ("-l since", "-l listen", "-l dry-run"):
            assert flag in text
        assert not re.search(r"credential-[0-9a-f]", text) and harness.AGENT
