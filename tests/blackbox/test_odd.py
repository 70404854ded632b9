"""The column 'spoa-llm' of the tables of odd requests in README.md and docs/speed.md is true. `make bench-odd` measures the other columns. And the tables of
the benchmark get into the documents."""
import re
import shutil
import sys

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "bench"))
import odd  # noqa: E402
import report  # noqa: E402
import ways  # noqa: E402


def column(text, name):
    """Returns {cell of the first column: cell of the column `name`} of the Markdown table with which `text` begins."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[rows[0].index(name)] for row in rows[2:]}


def block(document, name):
    text = (harness.ROOT / document).read_text()
    assert "<!-- bench:%s -->" % name in text, "%s has no place for the table '%s'" % (document, name)
    return text.partition("<!-- bench:%s -->\n" % name)[2].partition("<!-- /bench:%s -->" % name)[0]


@pytest.fixture(scope="module")
def found(haproxy):
    mocks = odd.start_mocks()
    url = {mock.name: mock.url() for mock in mocks}
    config = {"routes": ways.routes(url), "openai_target": url["openai"], "anthropic_target": url["anthropic"], "gemini_target": url["gemini"]}
    try:
        # Without the large buffers of HAProxy 3.4, into which the 5 MB fit.
        with harness.Gateway(haproxy, mocks, config, odd.CONFIGURED, limits={"LLM_BUFSIZE_LARGE": "none"}) as gateway:
            all_of_it = odd.ask_all({"c": gateway.port}, mocks, gateway.agent.kill)
    finally:
        for mock in mocks:
            mock.close()
    return {name: odd.cell(*by["c"]) for name, by in all_of_it.items()}


def test_readme(found):
    said = column(block("README.md", "odd"), "spoa-llm")
    assert said == {name: found[name] for name in list(found)[:odd.IN_README]}


def test_speed(found):
    said = dict(column(block("docs/speed.md", "odd"), "spoa-llm"), **column(block("docs/speed.md", "odd-more"), "spoa-llm"))
    assert said == found


def test_nothing_is_wrong(found):
    assert not [name for name, text in found.items() if text.startswith("**wrong**")]


@pytest.mark.parametrize("name", ["static", "bare-spoe"])
def test_rival(haproxy, tmp_path, name):
    """HAProxy accepts the configuration of a rival in the benchmark, which is made from the beginning of the shipped example."""
    cfg = tmp_path / "rival.cfg"
    cfg.write_text(ways.rival("haproxy-%s.cfg" % name))
    fine, said = harness.accepted(haproxy, cfg, dict({name.upper(): "127.0.0.1:1" for _, name in ways.ROUTES}, LLM_BIND="127.0.0.1:1", LLM_AGENT="127.0.0.1:1",
                                                     BARE_SPOE=str(ways.RIVALS / "bare-spoe.conf"), **ways.KEYS))
    assert fine, said


def test_fill(monkeypatch, tmp_path):
    """Each table that the benchmarks make has a place in README.md or docs/, and `make bench-fill` writes it to each of its places, and nothing else."""
    made = set(re.findall(r'\.(?:table|note)\("([\w-]+)"', "".join(path.read_text() for path in (harness.ROOT / "tests" / "bench").glob("*.py"))))
    shutil.copy(harness.ROOT / "README.md", tmp_path)
    shutil.copytree(harness.ROOT / "docs", tmp_path / "docs")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    old = {path: path.read_text() for path in [tmp_path / "README.md", *(tmp_path / "docs").glob("*.md")]}
    assert report.fill({name: "| of %s |" % name for name in [*made, "nowhere"]}) == ["nowhere"]
    for path, text in old.items():
        assert path.read_text() == re.sub(r"(?ms)(^<!-- bench:([\w-]+) -->\n).*?(^<!-- /bench:\2 -->$)", r"\1| of \2 |\n\3", text), path
