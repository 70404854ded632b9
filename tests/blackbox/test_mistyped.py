"""Mistyped variables of HAProxy's environment: HAProxy ignores them, and `spoa-llm check` names them."""
import re

import harness
from harness import cli
from test_check import findings, states

TAPPED = {"routes": [{"model_prefix": "a", "upstream": "http://127.0.0.1:9", "tap": True}]}
SOURCE = harness.EXAMPLE.parent / "agent/report/haproxy_names.c"
FILES = ["--haproxy", harness.EXAMPLE, "--haproxy", harness.SPOE_CONF]


def named(found):
    return {name: re.fullmatch(r"is in (\S+|this environment), and HAProxy has no such setting: is (\S+) meant\?", said).groups()
            for state, part, name, said in found if part == "haproxy" and "no such setting" in said and state == "warning"}


def test_every_setting_is_known(work):
    """The list is that of the shipped files and of the document."""
    known = set(re.findall(r'"(LLM_[A-Z_]+)"', SOURCE.read_text())) - {"LLM_"}
    backends = cli("backends", "-c", harness.write_config(work, TAPPED)).out
    preset = set(re.findall(r"(?m)^ +presetenv (LLM_[A-Z_]+)", harness.EXAMPLE.read_text() + backends))
    page = (harness.EXAMPLE.parent / "docs/haproxy.md").read_text().split("## Settings")[1].split("\n## ")[0]
    written = {name for row in re.findall(r"(?m)^\| (`LLM_[^|]*)\|", page) for name in re.findall(r"LLM_[A-Z_]+", row)}
    assert known == preset == written, (known ^ preset, known ^ written)


def test_a_mistyped_name_in_a_file_and_in_the_environment(work):
    mistyped = {"LLM_CLIENT": "LLM_CLIENTS", "LLM_LEGER": "LLM_LEDGER", "LLM_BUFFSIZE": "LLM_BUFSIZE", "llm_trace": "LLM_TRACE",
                "SPOA_LLM_CLIENTS": "LLM_CLIENTS", "SPOA_LLM_LOGKEY": "SPOA_LLM_LOG_KEY"}
    right = ["LLM_CLIENTS=off", "LLM_TAP=unix@/x", "LLM_ORG=x", "LLM_PORT=1", "SPOA_LLM_LOG_KEY=k", "EXTRAOPTS=LLM_CLIENT", "#LLM_CLIENT2=on"]
    file, cfg, config = work / "default", work / "own.cfg", harness.write_config(work, {})
    file.write_text("".join("%s=x\n" % name for name in mistyped) + "\n".join(right) + "\n\n")
    cfg.write_text('global\n    setenv LLM_CORS "*"\n    presetenv LLM_OTHER_MINUTE x\n')
    done = findings("-c", config, *FILES, "--haproxy", file, "--haproxy", cfg, env={"LLM_HEADS": "1", "LLM_TAIL": "64", "LLM_CHEAP": "x"})
    wanted = {name: (str(file), meant) for name, meant in mistyped.items()}
    wanted |= {"LLM_CORS": (str(cfg), "LLM_CORS_ORIGINS"), "LLM_OTHER_MINUTE": (str(cfg), "LLM_OTHER_MINUTES"),
               "LLM_HEADS": ("this environment", "LLM_HEAD")}
    assert named(done[0]) == wanted, done
    assert not [said for _, said in states(done[0], "file") if "nothing of the gateway" in said], done
    # Without the gateway's own files it is not known what HAProxy takes.
    assert not named(findings("-c", config, "--haproxy", file)[0])


def test_a_variable_behind_export(work):
    """systemd ignores such a line of /etc/default/haproxy; its name is looked at nevertheless."""
    file, config = work / "default", harness.write_config(work, {})
    for text, told in (("export LLM_LEDGER=off\n", True), ("export LLM_LEGER=off\n", True), ("export PATH=/x\nLLM_LEDGER=off\n", False), ("#export LLM_LEDGER=off\n", False)):
        file.write_text(text)
        found, _ = findings("-c", config, *FILES, "--haproxy", file)
        said = [state for state, part, name, said in found if (part, name) == ("haproxy", str(file)) and "export, which systemd ignores" in said]
        assert said == ["warning"] * told and ("LLM_LEGER" in named(found)) == ("LLM_LEGER" in text), (text, found)


def test_the_shipped_files_are_not_named(work):
    """llm.cfg sets some variables that are no settings, as LLM_TRACED."""
    backends = work / "backends.cfg"
    assert cli("backends", "-c", harness.write_config(work, TAPPED), "--output", backends).code == 0
    assert not named(findings("-c", harness.write_config(work, TAPPED), *FILES, "--haproxy", backends)[0])
