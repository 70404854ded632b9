"""The ledger's costs and savings against a second implementation, in exact fractions, of the rules in price.h."""
import json
import os
import random
import re
import subprocess
from decimal import Decimal
from fractions import Fraction

import pytest

import harness
KINDS = ["input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "cache_creation_input_token_cost"]
TOKENS_MAX = 10**13
MAKERS = {"openai", "anthropic", "gemini", "google", "zai", "z-ai", "zhipuai", "deepseek", "xai", "x-ai", "mistral", "mistralai",
          "moonshot", "moonshotai", "minimax", "cohere", "dashscope", "voyage"}
VARIANTS = set("""air airx audio batch coder cyber deep embed embedding extended fast flash flashx flex free haiku highspeed image
    large lite live long max medium micro mini nano ocr omni opus plus priority pro realtime search small sonnet spark tiny
    transcribe tts turbo ultra vision vl whisper""".split())
DATE = re.compile(r"(-20\d\d-\d\d-\d\d|[-@]20\d{6}|[-@]latest|@default)\Z")


class Number(str):
    """The text of a JSON number, so that no digit is lost."""


class Table:
    """The models of a price file, read by the rules of price.h in a slow and simple way."""

    def __init__(self, text):
        self.models = {}  # folded name: (name as written, {kind: {above: price}}, in order of the file)
        self.bad = 0
        for name, members in json.loads(text, parse_float=Number, parse_int=Number).items():
            if not isinstance(members, dict) or name == "sample_spec" or name.startswith("_"):
                continue
            prices, good = {kind: {} for kind in KINDS}, True
            for key, text in members.items():
                tier = re.fullmatch(f"({'|'.join(KINDS)})(?:_above_([0-9]{{1,9}})k_tokens)?", key)
                if not tier or text is None:
                    continue
                price = Fraction(Decimal(text)) if isinstance(text, Number) else Fraction(-1)
                if not 0 <= price <= 1:
                    good = False
                    continue
                above = int(tier[2]) * 1000 if tier[2] else -1
                prices[tier[1]][above] = half_up(price, Fraction(1, 10**24)) * Fraction(1, 10**24)
            self.bad += not good
            priced = good and any(prices.values())
            self.models.pop(fold(name), None)
            self.models[fold(name)] = (name, prices if priced else None)
        self.priced = sum(1 for _, prices in self.models.values() if prices)
        self.names = self.claims()

    def claims(self):
        """Returns {name: the models that the name may mean, all with the same prices; None if their prices differ}."""
        claims = {}
        for name, (_, prices) in self.models.items():
            claims.setdefault(name, []).append((0, 0, name))
            if not prices:
                continue
            undated = DATE.sub("", name)
            date = int(re.sub(r"\D", "", name[len(undated):]) or 0)
            if undated and undated != name:
                claims.setdefault(undated, []).append((2, -date, name))
            provider, slash, bare = name.rpartition("/")
            if slash and bare and provider:
                maker = provider in MAKERS
                claims.setdefault(bare, []).append((1 if maker else 4, 0, name))
                undated = DATE.sub("", bare)
                if undated and undated != bare:
                    claims.setdefault(undated, []).append((3 if maker else 5, -date, name))
        best = {}
        for name, them in claims.items():
            rank, date, _ = min(them)
            rivals = [model for r, d, model in them if (r, d) == (rank, date)]
            same = all(self.models[model][1] == self.models[rivals[0]][1] for model in rivals)
            best[name] = rivals if same else None
        return best

    def find(self, model):
        """Returns the models that `model` may mean, all with the same prices; None if there is none, or if their prices differ."""
        if not 0 < len(model.encode()) <= 256:
            return None
        names, rest = [], fold(model)
        while rest and len(names) < 5:
            names.append(rest)
            rest = rest.partition("/")[2]
        for name in names:
            if name in self.names:
                return self.names[name]
        for name in names:
            if DATE.sub("", name) != name and DATE.sub("", name) in self.names:
                return self.names[DATE.sub("", name)]
        for name in names:
            for end in range(len(name) - 1, 0, -1):
                if name[end] in "-.:@/" and name[:end] in self.names:
                    return self.names[name[:end]] if same_model(name[end:]) else None
        return None

    def prices(self, model, tokens):
        found = self.find(model)
        prices = self.models[found[0]][1] if found else None
        if not prices:
            return None
        size = tokens["input"] + tokens["read"] + tokens["write"]
        held = {}
        for kind in KINDS:
            above = [n for n in prices[kind] if n < size]
            held[kind] = prices[kind][max(above)] if above else None
        for kind in KINDS[2:]:
            if held[kind] is None:
                held[kind] = held[KINDS[0]]
        return held

    def apply(self, model, reference, given):
        tokens = {name: max(0, min(count, TOKENS_MAX)) for name, count in given.items()}
        tokens["saved"] = max(-TOKENS_MAX, min(given["saved"], TOKENS_MAX))
        if not any(tokens.values()):
            return ["none", 0, 0, 0, 0]
        held = self.prices(model, tokens)
        cost = total(held, tokens)
        if cost is None or (tokens["saved"] and held[KINDS[0]] is None):
            return ["unpriced", 0, 0, 0, 0]
        price, _, read, write = (held[kind] or 0 for kind in KINDS)
        other = total(self.prices(reference, tokens), tokens) if reference else None
        return ["table", nano(cost), nano(tokens["saved"] * price),
                nano(tokens["read"] * (price - read) - tokens["write"] * (write - price)),
                nano(other - cost) if other is not None else 0]


def total(held, tokens):
    if held is None:
        return None
    if held[KINDS[0]] is None and (tokens["input"] or tokens["read"] or tokens["write"]):
        return None
    if held[KINDS[1]] is None and tokens["output"]:
        return None
    return sum((held[kind] or 0) * tokens[name] for kind, name in zip(KINDS, ["input", "output", "read", "write"]))


def fold(name):
    name = re.sub(r"(?<=\d)\.(?=\d)", "-", name)
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), name)


def same_model(rest):
    words = re.split(r"[-.:@/]", rest)[1:]
    return not (re.match(r"\d", words[0]) and not re.fullmatch(r"\d{3,}", words[0])) and not VARIANTS & set(words)


def half_up(value, unit):
    """value / unit, rounded half away from zero."""
    ratio = Fraction(value) / unit
    whole = int((abs(ratio) * 2 + 1) // 2)
    return whole if ratio >= 0 else -whole


def nano(dollars):
    return max(-2**63, min(2**63 - 1, half_up(dollars, Fraction(1, 10**9))))


@pytest.fixture(scope="session")
def driver():
    """The program of tests/unit/price_driver.c, built with ASan and UBSan, or the one at the path PRICE_DRIVER."""
    return os.environ.get("PRICE_DRIVER") or str(harness.built("drivers/price_driver"))


def ask(driver, path, questions, *more):
    lines = "".join("\t".join([model, reference, *(str(tokens[name]) for name in ["input", "output", "read", "write", "saved"])]) + "\n"
                    for model, reference, tokens in questions)
    done = subprocess.run([driver, path, *more], input=lines.encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return done.stdout.decode().splitlines(), done.stderr.decode()


PROVIDERS = ["", "", "", "openai/", "zai/", "anthropic/", "azure/", "openrouter/z-ai/", "groq/", "vertex_ai/", "a/b/c/d/e/"]
STEMS = ["gpt-4", "gpt-4o", "gpt-5", "gpt-5.5", "GPT-5-5", "claude-opus-4", "claude-opus-4-5", "Claude-Opus-4.5", "glm-4.6", "gemini-2.5",
         "x", "llama-3", "llama-3.1", "é"]
TAILS = ["", "", "", "-mini", "-pro", "-turbo", "-2025-08-07", "-20250514", "@20250514", "-latest", "@default", ":free", ":cloud", "-0613",
         "-preview-05-06", "-70b", "-9", ".7", "-chat-latest", "/eu", "-", "-codex", "mini", "-2025-08-07-2025-08-08"]


def a_name(rng):
    return rng.choice(PROVIDERS) + rng.choice(STEMS) + rng.choice(TAILS) + (rng.choice(TAILS) if rng.random() < .2 else "")


def a_price(rng):
    kind = rng.random()
    if kind < .1:
        return "0"
    if kind < .2:  # multiples of 5e-11, so that some costs end in half a nano-dollar, where a wrong rounding shows
        return f"{rng.randrange(1, 2000) * 5}e-11"
    if kind < .3:  # a price as Python prints a floating-point number
        return repr(rng.random() * 10**-rng.randrange(0, 9))
    if kind < .35:
        return "0." + "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 45)))
    if kind < .37:
        return rng.choice(["-1e-6", "1.5", '"1e-6"', "null", "true", "1e99", "1e-99", "1E0", "10e-1", "100000000000000000000000000000000000000000e-45"])
    return f"{rng.randrange(1, 100000)}e-{rng.randrange(7, 12)}"


def a_model(rng):
    members = []
    for kind, likely in zip(KINDS, [.93, .93, .6, .5]):
        if rng.random() < likely:
            members.append((kind, a_price(rng)))
        for thousand in rng.sample([0, 1, 32, 128, 200, 256, 272, 512], rng.choice([0, 0, 0, 1, 2, 3])):
            members.append((f"{kind}_above_{thousand}k_tokens", a_price(rng)))
        if rng.random() < .3:
            members.append((kind + rng.choice(["_priority", "_flex", "_batches", "_above_1hr", "_above_200k_tokens_priority"]), "1"))
    members.append(("litellm_provider", '"x"'))
    rng.shuffle(members)
    return "{" + ", ".join(f'"{key}": {text}' for key, text in members) + "}"


def a_count(rng):
    kind = rng.random()
    if kind < .2:
        return 0
    if kind < .3:
        return rng.choice([32000, 128000, 200000, 272000, 512000]) + rng.randrange(-2, 3)
    if kind < .33:
        return rng.choice([-1, -2**63, 2**63 - 1, TOKENS_MAX, TOKENS_MAX + 1, 10**12])
    return int(10 ** (rng.random() * 7))


def a_question(rng, table):
    name = a_name(rng) if rng.random() < .5 else rng.choice(list(table.models.values()))[0] + rng.choice(TAILS)
    counts = {part: a_count(rng) for part in ["input", "output", "read", "write"]}
    counts["saved"] = a_count(rng) * rng.choice([1, 1, 0, -1]) if rng.random() < .95 else rng.choice([2**63 - 1, -2**63])
    return name, rng.choice(["", a_name(rng)]), counts


def compare(table, questions, lines):
    assert lines[0] == f"{table.priced} {table.bad}"
    for question, line in zip(questions, lines[1:], strict=True):
        kind, cost, compression, cache, routing, priced, name = line.split(" ", 6)
        found = table.find(question[0])
        assert name in ([table.models[model][0] for model in found] if found else [""]), (question, line)
        assert priced == str(int(bool(found and table.models[found[0]][1]))), (question, line)
        want = table.apply(*question)
        assert [kind, *map(int, [cost, compression, cache, routing])] == want, (question, line)
    return sum(line.startswith("table") for line in lines)


def test_random_tables_and_records(driver, tmp_path):
    path, asked, priced = tmp_path / "prices.json", 0, 0
    for seed in range(60):
        rng = random.Random(seed)
        names = dict.fromkeys(a_name(rng) for _ in range(rng.choice([1, 5, 40, 200])))
        text = '{"sample_spec": {"input_cost_per_token": 1}, "_meta": {"input_cost_per_token": 1}, "sure": {"input_cost_per_token": 1e-6}'
        text += "".join(f",\n{json.dumps(name, ensure_ascii=rng.random() < .5)}: {a_model(rng)}" for name in names) + "}"
        # If two names are equal when folded, the last one counts, but `priced` may differ: keep only the last of such names.
        if len({fold(name) for name in names}) != len(names):
            last = {fold(name): name for name in names}
            names = dict.fromkeys(last.values())
            text = '{"sure": {"input_cost_per_token": 1e-6}' + "".join(f",\n{json.dumps(name)}: {a_model(rng)}" for name in names) + "}"
        path.write_text(text)
        table = Table(text)
        questions = [a_question(rng, table) for _ in range(500)]
        lines, _ = ask(driver, path, questions)
        priced += compare(table, questions, lines)
        asked += len(questions)
    assert asked == 30000 and priced > 10000


def test_the_table_that_ships(driver):
    path = harness.ROOT / "dist" / "prices.json"
    text = path.read_text()
    table, rng = Table(text), random.Random(1)
    assert "date" in json.loads(text)["_meta"] and table.bad == 0
    questions = [a_question(rng, table) for _ in range(2000)]
    questions += [(name, other, {"input": 1000, "output": 100, "read": 5000, "write": 30, "saved": 7})
                  for name, _ in table.models.values() for other in ["", "gpt-5", "glm-4.6"]]
    from_file, _ = ask(driver, path, questions)
    compare(table, questions, from_file)
    builtin, _ = ask(driver, "-", questions)
    assert builtin == from_file
    for name, prices in table.models.values():
        assert prices and prices[KINDS[0]], name


def test_a_lookup_is_fast(driver, tmp_path):
    """Lookups of every kind, hits and misses, in a table as large as LiteLLM's. One takes 0.2 microseconds; the limit here is so much higher
    because the driver is built with sanitizers."""
    rng, path = random.Random(2), tmp_path / "prices.json"
    names = dict.fromkeys(f"{rng.choice(['', 'azure/', 'openrouter/x/'])}model-{number}-{rng.choice(['a', 'b'])}" for number in range(3000))
    path.write_text("{" + ", ".join(f'"{name}": {{"input_cost_per_token": 1e-6}}' for name in names) + "}")
    counts = {"input": 1, "output": 0, "read": 0, "write": 0, "saved": 0}
    questions = [(rng.choice(list(names)) + rng.choice(["", "-2025-08-07", "-x:y"]), "", counts) for _ in range(100)]
    questions += [("openrouter/some/unknown-model-of-nobody-2025-01-01", "", counts)] * 20
    _, took = ask(driver, path, questions, "2000")
    print("one lookup:", took.strip(), "ns")
    assert float(took) < 10000
