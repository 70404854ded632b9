"""Tables for a person, promises, and the marked blocks of the documents that hold both.

A block of a document begins with `<!-- bench:NAME -->` and ends with `<!-- /bench:NAME -->`, each on a line of its own.
"""
import re
from statistics import median, quantiles

import harness


def ratio(rounds, over, under, key):
    """The median of the rounds' own ratios. `rounds`: way -> figures of each round."""
    return median([x[key] / max(y[key], 1e-9) for x, y in zip(rounds[over], rounds[under])])


def spread(rounds, over, under, key):
    """The median of the rounds' own ratios, and as a text also between which two values the middle half of them lies."""
    low, middle, high = quantiles([x[key] / max(y[key], 1e-9) for x, y in zip(rounds[over], rounds[under])], n=4)
    return middle, "%.2f (%.2f to %.2f)" % (middle, low, high)


def middle(rounds, way, key):
    return median([one[key] for one in rounds[way]])


def added(rounds, way, key, base="a"):
    """What `way` adds to `base`: the median of the rounds' own differences."""
    return median([x[key] - y[key] for x, y in zip(rounds[way], rounds[base])])


def ratio_of_added(rounds, over, under, key, base="a"):
    """What `over` adds to `base`, by what `under` adds to it: the median of the rounds' own."""
    return median([(x[key] - z[key]) / max(y[key] - z[key], 1) for x, y, z in zip(rounds[over], rounds[under], rounds[base])])


def number(value):
    """One decimal below 10; from there on none, and thousands apart."""
    return "%.1f" % value if abs(value) < 10 else "{:,.0f}".format(value)


class Report:
    """What a run says: printed at once, and kept by block for results.json and the documents."""

    def __init__(self):
        self.blocks, self.promises, self.lines = {}, [], []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, block, title, head, rows):
        """Prints a table, and adds it to a block of the documents. Columns of numbers, but for the first, stand to the right."""
        cells = [[str(cell) for cell in row] for row in [head] + rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        right = [i > 0 and all(re.match(r"$|-?\d", row[i]) for row in cells[1:]) for i in range(len(head))]
        lines = ["| " + " | ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right)) + " |"
                 for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 1) + (":" if to_right else "-") for width, to_right in zip(widths, right)) + "|")
        if title:
            self.say("### %s\n" % title)
        self.say("\n".join(lines) + "\n")
        self.blocks.setdefault(block, []).append(([title, ""] if title else []) + lines)

    def note(self, block, text):
        """Prints a sentence, and adds it to a block of the documents."""
        self.say(text + "\n")
        self.blocks.setdefault(block, []).append([text])

    def promise(self, where, what, value, bound, least=True, aside=None):
        """Records whether `value` is at least `bound`, or at most. `where`: the column, a HAProxy's version; `aside`: the same ratio by
        CPU of all processes."""
        self.promises.append({"where": where, "what": what, "value": value, "bound": bound, "least": least,
                              "ok": value >= bound if least else value <= bound, "aside": aside})

    def say_promises(self):
        columns, rows = [], {}
        for one in self.promises:
            if one["where"] not in columns:
                columns.append(one["where"])
            rows.setdefault(one["what"], {})[one["where"]] = one

        def bound(by):
            bounds = ["%g" % one["bound"] for one in by.values()]
            return ("at least " if next(iter(by.values()))["least"] else "at most ") + (bounds[0] if len(set(bounds)) == 1 else " / ".join(bounds))

        def cell(one):
            return "" if not one else ("%.2f" if one["ok"] else "**%.2f, falls short**") % one["value"] + (
                " (%.2f by CPU)" % one["aside"] if one["aside"] else "")
        self.table("promises", "What is promised, and what was measured", ["", "promised"] + columns,
                   [[what, bound(by)] + [cell(by.get(column)) for column in columns] for what, by in rows.items()])

    def markdown(self):
        return {name: "\n\n".join("\n".join(lines) for lines in parts) for name, parts in self.blocks.items()}


def fill(blocks):
    """Writes each block to wherever README.md or a file of docs/ has its marks, and says where. Returns the names of blocks for which none has a place."""
    found = {block: re.compile(r"(?m)(^<!-- bench:%s -->\n)(?s:.*?)(^<!-- /bench:%s -->$)" % (re.escape(block), re.escape(block))) for block in blocks}
    homeless = set(blocks)
    for path in [harness.ROOT / "README.md", *sorted(harness.ROOT.glob("docs/*.md"))]:
        text = old = path.read_text()
        here = [block for block in blocks if found[block].search(text)]
        for block in here:
            text = found[block].sub(lambda marks: marks.group(1) + blocks[block] + "\n" + marks.group(2), text)
        if here:
            print("%s: %s" % (path.relative_to(harness.ROOT), ", ".join(here)))
        if text != old:
            path.write_text(text)
        homeless -= set(here)
    return sorted(homeless)
