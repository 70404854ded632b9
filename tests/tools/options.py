"""The README's tables name each option and each key of a route, and none that is not there."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "agent").rglob("*.c")))
bad = 0


def compare(what, have, section):
    global bad
    text = re.search(r"^## %s\n(.*?)(?=^## |\Z)" % section, README, re.M | re.S).group(1)
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.M)
    documented = [name for row in rows for name in re.findall(r"\w+", row)]
    for name in sorted(set(have) - set(documented)):
        print("README.md, %s: lacks %s `%s`" % (section, what, name))
        bad = 1
    for name in sorted(set(documented) - set(have)):
        print("README.md, %s: there is no %s `%s`" % (section, what, name))
        bad = 1


compare("option", re.findall(r'\.key = "(\w+)"', SOURCES), "Options")
compare("route key", re.findall(r'^\t\{ "(\w+)", read_', SOURCES, re.M), "Routes")
sys.exit(bad)
