"""tests/tools/layers, the lint for the order of agent/'s folders, reports each include that breaks the order."""
import re
import shutil
import subprocess

import pytest

import harness


@pytest.fixture
def house(tmp_path):
    shutil.copytree(harness.ROOT / "agent", tmp_path / "agent")
    return tmp_path / "agent"


def layers(house):
    done = subprocess.run([str(harness.ROOT / "tests" / "tools" / "layers"), str(house)], stdout=subprocess.PIPE, timeout=60)
    return done.returncode, done.stdout.decode()


def test_the_house_as_it_stands(house):
    assert layers(house) == (0, "")


UP = [
    ("base/buf.c", '#include "spop/frame.h"', "base may include nothing"),
    ("config/check.c", '#include "net/listener.h"', "config may include base decide"),
    ("decide/policy.h", '# include "config/config.h"', "decide may include"),
    ("commands/check.c", '#include "serve/run.h"', "commands may include"),
    ("main.c", '#include "net/conn.h"', "main.c may include"),
    ("serve/run.c", '#include "proc/master_impl.h"', "belongs to proc alone"),
    ("serve/run.c", '#include "page.h"', "serve may include")]


def test_an_include_that_points_up(house):
    for file, line, _ in UP:
        with open(house / file, "a") as source:
            source.write(line + "\n")
    code, text = layers(house)
    told = text.splitlines()
    assert code == 1 and len(told) == len(UP), text
    for file, _, said in UP:
        assert any("agent/%s:" % file in line and said in line for line in told), (file, said, text)


def test_an_arrow_that_no_include_uses(house):
    for path in (house / "net").iterdir():
        path.write_text(re.sub(r'#include "decide/.*\n', "", path.read_text()))
    assert layers(house) == (1, "layers: ALLOWED: no file of net includes anything of decide\n")


def test_a_folder_that_is_not_in_the_order(house):
    (house / "attic").mkdir()
    (house / "attic" / "old.c").write_text('#include "base/err.h"\n')
    code, text = layers(house)
    assert code == 1 and "agent/attic: ALLOWED does not name it" in text, text
