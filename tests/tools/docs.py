"""Checks the documents: links lead somewhere, each block of commands is run by a test and stops at a mistake, and what the code has is described.

Prints each problem; exit 1 if there is one.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINES = 600        # at most, of a file of docs/; those of README.md are fewer
README_LINES = 200
# Their blocks of commands are run by tests/containers.
RUN = ("README.md", "docs/install.md", "docs/operation.md")
problems = []


def read(name):
    return (ROOT / name).read_text()


def documents():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [name for name in listed.stdout.decode().splitlines() if (ROOT / name).exists()]


def blocks(text):
    """(heading, number below it, language) of each fenced block, and the text without these."""
    found, prose, heading, count, inside = [], [], "", 0, False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
            if inside:
                count += 1
                found.append((heading, count, line.strip()[3:]))
        elif not inside:
            prose.append(line)
            if line.startswith("#"):
                heading, count = line.lstrip("#").strip(), 0
    return found, "\n".join(prose)


def anchors(prose):
    """The names that GitHub gives to headings."""
    names = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose, re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name if not number else "%s-%d" % (name, number)) in names:
            number += 1
        names.add(name if not number else "%s-%d" % (name, number))
    return names


def check_links(proses):
    for name, prose in proses.items():
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            if not file.exists():
                problems.append("%s: %s leads nowhere" % (name, target))
            elif anchor:
                there = proses.get(str(file.relative_to(ROOT)), "")
                if anchor not in anchors(there):
                    problems.append("%s: %s has no heading #%s" % (name, path or name, anchor))


def check_files(proses):
    """A file of ours that a document names is there. Those of agent/ may be named without it."""
    for name, prose in proses.items():
        for file in re.findall(r"`([a-z_]+(?:/[\w.-]+)*/[\w.-]+\.(?:[ch]|py|in|mk|yml|json|cfg))`", prose):
            if not any((ROOT / top / file).exists() for top in ("", "agent", "tests")):
                problems.append("%s: there is no %s" % (name, file))


def check_blocks(found):
    asked = set()
    for script in sorted((ROOT / "tests/containers").rglob("*")):
        if script.is_file() and script.suffix != ".pyc":
            for file, heading, number in re.findall(r'block (?:-o )?"?(?:/|\$root/)?([\w/]+\.md)"? "([^"]+)" (\d+)', script.read_text()):
                asked.add((file, heading, int(number)))
    there = {(name, heading, number) for name in found for heading, number, language in found[name] if language}
    for block in sorted(block for block in there - asked if block[0] in RUN):
        problems.append("%s, \"%s\", block %d: no test in tests/containers runs it" % block)
    for block in sorted(asked - there):
        problems.append("tests/containers asks for block %d of %s, \"%s\", which is not there" % (block[2], block[0], block[1]))


def check_chained(name):
    """A command of a block that fails stops those after it."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", read(name), re.M | re.S):
        lines = [line for line in block.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if language != "sh" or "set -e" in lines:
            continue
        for line in lines:
            if re.search(r"\|\s*(install|tee|dd)\b", line):
                problems.append("%s: in a block, `%s` replaces a file also if the command in front failed: let it go through `spoa-llm credential`" % (name, line))
        for line, after in zip(lines, lines[1:]):
            if not line.rstrip().endswith(("&&", "||", "|", "\\", "{", "=$?")) and after != "}":
                problems.append("%s: in a block, `%s` runs also if the line before it failed: chain the two by &&" % (name, after))


def check_described(what, names, file, like):
    """Each name stands in the file, or begins with a `prefix...` that stands there; and no word that looks `like` one stands there alone."""
    text = read(file)
    exact = set(re.findall(r"`(?:\d+ |GET /|POST /)?([A-Za-z_][\w-]*)[`{?]", text))
    prefixes = tuple(re.findall(r"`([A-Za-z_]\w*)\.\.\.`", text))
    if not names:
        problems.append("tests/tools/docs.py finds no %s in the code any more" % what)
    for name in sorted(set(names) - exact):
        if not prefixes or not name.startswith(prefixes):
            problems.append("%s: lacks %s `%s`" % (file, what, name))
    for word in sorted(exact - set(names)):
        if like and re.fullmatch(like, word):
            problems.append("%s: there is no %s `%s`" % (file, what, word))


def check_folders():
    """The table of folders says what tests/tools/layers allows."""
    allowed = re.findall(r'^    "([\w.]+)": "([^"]*)",$', read("tests/tools/layers"), re.M)
    table = re.findall(r"^\| `([\w.]+)` \| .* \|((?: `[\w.]+`)*) \|$", read("docs/architecture.md"), re.M)
    there = [(folder, " ".join(re.findall(r"\w+", names))) for folder, names in table]
    if not allowed:
        problems.append("tests/tools/docs.py finds no folders in tests/tools/layers any more")
    for row in allowed:
        if row not in there:
            problems.append("docs/architecture.md, Folders: %s may include: %s" % row)


def main():
    found, proses = {}, {}
    for name in documents():
        found[name], proses[name] = blocks(read(name))
        check_chained(name)
    check_links(proses)
    check_files(proses)
    check_blocks(found)
    for name, most in [("README.md", README_LINES)] + [(name, LINES) for name in documents() if name.startswith("docs/")]:
        if len(read(name).splitlines()) > most:
            problems.append("%s: more than %d lines" % (name, most))
    haproxy = read("haproxy.cfg.example") + read("agent/report/backends_legs.c")
    check_described("variable", re.findall(r"presetenv (LLM_\w+)", haproxy), "docs/haproxy.md", r"LLM_\w+")
    written = "".join(read("agent/ops/metrics%s.c" % part) for part in ("", "_totals", "_budgets"))
    metrics = re.findall(r'"((?:spoa_llm|gen_ai_client)_\w+?)(?:_bucket|_sum|_count)?"', written)
    check_described("metric", metrics, "docs/operation.md", r"(spoa_llm|gen_ai_client)_\w+")
    check_described("alert", re.findall(r"alert: (\w+)", read("dist/alerts.yml")), "docs/operation.md", r"SpoaLlm\w+")
    check_described("admin path", re.findall(r'\{ "/([a-z][\w-]*)",', read("agent/ops/http.c")), "docs/operation.md", None)
    check_folders()
    for problem in problems:
        print(problem)
    return bool(problems)


sys.exit(main())
