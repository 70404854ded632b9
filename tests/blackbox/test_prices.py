"""The ledger's costs and savings against a second implementation, in exact fractions, of the rules in price.h."""
import collections
import json
import os
import random
import re
import subprocess
from decimal import Decimal
from fractions import Fraction

import pytest

import evidence
import harness
# Each kind of token, with its key in the file.
TABLES = int(os.environ.get("PRICE_TABLES", "10"))     # at random
KEYS = {"input": "input_cost_per_token", "output": "output_cost_per_token", "cache_read": "cache_read_input_token_cost",
        "cache_write": "cache_creation_input_token_cost", "write_1h": "cache_creation_input_token_cost_above_1hr",
        "audio_input": "input_cost_per_audio_token", "image_input": "input_cost_per_image_token",
        "video_input": "input_cost_per_video_token", "audio_read": "cache_read_input_audio_token_cost",
        "image_read": "cache_read_input_image_token_cost", "audio_write": "cache_creation_input_audio_token_cost",
        "audio_output": "output_cost_per_audio_token", "image_output": "output_cost_per_image_token",
        "video_output": "output_cost_per_video_token", "reasoning": "output_cost_per_reasoning_token",
        "images": "output_cost_per_image", "characters": "input_cost_per_character", "audio_seconds": "input_cost_per_audio_per_second",
        "searches": "input_cost_per_query", "request": "input_cost_per_request"}
ALIASES = {"input_cost_per_token_cache_hit": "cache_read"}
PIECES = ["images", "characters", "audio_seconds", "searches", "request"]
TIERS = ["standard", "batch", "flex", "priority"]
SUFFIXES = {"": "standard", "_batches": "batch", "_batch": "batch", "_flex": "flex", "_priority": "priority"}
PARTS = ["audio_input", "image_input", "video_input", "audio_read", "audio_output", "image_output", "reasoning", "write_1h",
         "images", "characters", "audio_ms", "searches", "cost"]
UNTOLD = {**dict.fromkeys(PARTS, -1), "tier": 0}
TEXT = {**dict.fromkeys(PARTS, 0), "cost": -1, "tier": 0}
UNITS = {"": 1, "k": 1000, "K": 1000, "m": 10**6, "M": 10**6, "_million": 10**6}
PIECES_MAX = 10**9
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
            prices, good, other, usual = {}, True, "", set()
            for key, value in members.items():
                if key == "search_context_cost_per_query":      # of one price, whatever the size
                    price, = {number(one) for one in value.values()}
                    prices["searches", "standard"] = {-1: price}
                    continue
                meant = meaning(key)
                if meant == "other" and value not in (None, "0", False):
                    other = other or key
                if meant in (None, "other") or value is None:
                    continue
                kind, tier, above = meant
                price = number(value)
                if price is None or not 0 <= price <= (1000 if kind in PIECES else 1):
                    good = False
                    continue
                if meant in usual and key.startswith(tuple(ALIASES)):
                    continue
                if not key.startswith(tuple(ALIASES)):
                    usual.add(meant)
                prices.setdefault((kind, tier), {})[above] = half_up(price, Fraction(1, 10**24)) * Fraction(1, 10**24)
            for tier in members.get("tiered_pricing") or []:
                above = int(number(tier["range"][0])) or -1
                for key, value in tier.items():
                    if key != "range":
                        kind, service, _ = meaning(key)
                        prices.setdefault((kind, service), {})[above] = number(value)
            if any(kind == "input" for kind, _ in prices):
                prices = {key: held for key, held in prices.items() if key[0] != "characters"}
            self.bad += not good
            priced = good and any(prices.values())
            prices["other"] = other
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

    def apply(self, model, reference, given, told=None):
        told = told or UNTOLD
        tokens = {name: max(0, min(count, TOKENS_MAX)) for name, count in given.items()}
        tokens["saved"] = max(-TOKENS_MAX, min(given["saved"], TOKENS_MAX))
        pieces = any(told[name] > 0 for name in ["images", "characters", "audio_ms", "searches"])
        if not any(tokens.values()) and not pieces and told["cost"] < 0:
            return ["none", "-", 0, 0, 0, 0]
        bill = self.bill(model, tokens, told)
        cost = Fraction(told["cost"], 10**9) if told["cost"] >= 0 else bill.cost if bill and bill.any else None
        missing = "-" if told["cost"] >= 0 or not bill else bill.names()
        kind = "unpriced" if cost is None else "table" if missing == "-" else "partial"
        if cost is None or not bill or not bill.any:
            return [kind, missing if cost is not None else "-", nano(cost or 0), 0, 0, 0]
        plain = bill.find("input")[0]
        compression, cache = (0, 0) if plain is None else (nano(tokens["saved"] * plain), nano(bill.uncached - bill.cached))
        other = self.bill(reference, dict(tokens, saved=0), told)
        compared = other and other.any and not {"input", "output"} & (bill.missing | other.missing)
        return [kind, missing, nano(cost), compression, cache, nano(other.cost - cost) if compared else 0]

    def bill(self, model, tokens, told):
        found = self.find(model) if model else None
        prices = self.models[found[0]][1] if found else None
        return Bill(prices, tokens, told) if prices else None


class Bill:
    """What the tokens and pieces of a request cost by one entry of the file, and which kinds have no price."""

    def __init__(self, prices, tokens, told):
        self.prices, self.told, self.prompt = prices, told, tokens["input"] + tokens["read"] + tokens["write"]
        self.cost, self.cached, self.uncached, self.any, self.missing, self.borrowed = Fraction(0), 0, 0, False, set(), False
        self.input(tokens)
        for kind, part, count, others in [("cache_read", "audio_read", tokens["read"], "image_read"),
                                          ("cache_write", "write_1h", tokens["write"], "audio_write")]:
            rest = self.part(part, told[part], kind, count)
            rest = self.part(others, -1, kind, rest)
            price, above = self.find(kind)[:2]
            if rest and (price is None or above < self.find("input")[1]):
                self.missing.add(kind)
            self.charge("input" if price is None else kind, rest)
        self.output(tokens["output"])
        self.charge("searches", min(max(told["searches"], 0), PIECES_MAX))
        if self.find("request")[0] is not None:
            self.charge("request", 1)

    def find(self, kind):
        """Returns the price, from which prompt on it holds, and whether it is of another service tier."""
        held = [self.prices.get((kind, tier), {}) for tier in (TIERS[self.told["tier"]], "standard")]
        own, standard = (max((above for above in them if above < self.prompt), default=None) for them in held)
        if own is not None:
            return held[0][own], own, standard is not None and standard > own
        return (held[1][standard], standard, True) if standard is not None else (None, -1, False)

    def charge(self, kind, count):
        price, _, borrowed = self.find(kind)
        if not count:
            return
        if price is None:
            self.missing.add(kind)
            return
        self.any = True
        self.borrowed |= borrowed
        self.cost += count * price
        if kind in ("cache_read", "cache_write", "write_1h", "audio_read", "audio_write", "image_read"):
            kinds = {"audio_read": "audio_input", "audio_write": "audio_input", "image_read": "image_input"}
            plain = next((self.find(k)[0] for k in [kinds.get(kind, "input"), "input"] if self.find(k)[0] is not None), price)
            self.cached += count * price
            self.uncached += count * plain

    def part(self, kind, told, whole, count):
        price, above, _ = self.find(kind)
        of_whole, whole_above, _ = self.find(whole)
        if not count:
            return 0
        if price is None:
            if told > 0 and kind != "reasoning":
                self.missing.add(kind)
            return count
        mine = min(max(told, 0), count)
        if (told < 0 and price != of_whole) or (mine and above < whole_above):
            self.missing.add(kind)
        self.charge(kind, mine)
        return count - mine

    def input(self, tokens):
        told, rest = self.told, tokens["input"]
        second = self.find("audio_seconds")
        if second[0] is not None and self.find("audio_input")[0] is None:
            if told["audio_ms"] >= 0:
                self.cost += second[0] * Fraction(min(told["audio_ms"], PIECES_MAX * 1000), 1000)
                self.any, self.borrowed = True, self.borrowed or second[2]
                rest -= min(max(told["audio_input"], 0), rest)
            elif told["audio_input"] and second[0]:
                self.missing.add("audio_seconds")
        else:
            if second[0] is None and told["audio_ms"] > 0 and not tokens["input"] + tokens["read"] + tokens["output"]:
                self.missing.add("audio_seconds")
            rest = self.part("audio_input", told["audio_input"], "input", rest)
        rest = self.part("image_input", told["image_input"], "input", rest)
        rest = self.part("video_input", told["video_input"], "input", rest)
        self.charge("input", rest)
        if self.find("characters")[0] is not None:
            if told["characters"] < 0:
                self.missing.add("characters")
            self.charge("characters", min(max(told["characters"], 0), PIECES_MAX))
        elif not tokens["input"]:
            self.charge("characters", max(told["characters"], 0))
        if tokens["saved"]:
            if self.find("input")[0] is None:
                self.missing.add("input")
            else:
                self.any = True

    def output(self, count):
        told = self.told
        rest = self.part("audio_output", told["audio_output"], "output", count)
        token, each = self.find("image_output")[0], self.find("images")[0]
        if token is not None and told["image_output"] < 0 and self.find("output")[0] is None:
            self.charge("image_output", rest)
            rest = 0
        elif token is not None and (told["image_output"] >= 0 or told["images"] < 0 or each is None):
            rest = self.part("image_output", told["image_output"], "output", rest)
        elif told["images"] > 0 and (each is not None or not rest):
            self.charge("images", min(told["images"], PIECES_MAX))
            if each is not None:
                rest -= min(max(told["image_output"], 0), rest)
        else:
            if each and told["images"] < 0 and told["image_output"]:
                self.missing.add("images")
            rest = self.part("image_output", told["image_output"], "output", rest)
        rest = self.part("video_output", -1, "output", rest)
        rest = self.part("reasoning", told["reasoning"], "output", rest)
        self.charge("output", rest)

    def names(self):
        names = [kind for kind in KEYS if kind in self.missing]
        names += [TIERS[self.told["tier"]]] * self.borrowed + [re.sub("[^A-Za-z0-9.]", "_", self.prices["other"][:64])] * bool(self.prices["other"])
        text = ""
        for name in names:
            if len(text) + len(name) + 1 + 5 > 65:
                return text + ("," if text else "") + "..."
            text += ("," if text else "") + name
        return text or "-"


def meaning(key):
    """Returns the kind, the service tier and the bound of a price; "other": a price of an unknown kind; None: no price."""
    for start, kind in sorted([*((key, kind) for kind, key in KEYS.items()), *ALIASES.items()], key=lambda it: -len(it[0])):
        rest = key[len(start):]
        if not key.startswith(start) or (rest and rest[0] != "_"):
            continue
        found = re.fullmatch(r"(_[a-z]+)?(?:_(?:above|over)_([0-9][0-9_]*(?:\.[0-9]+)?)(k|K|m|M|_million|)_tokens)?(_[a-z]+)?", rest)
        if not found or (found[1] and found[4]) or (found[1] or found[4] or "") not in SUFFIXES:
            return "other"
        above = int(Decimal(found[2].replace("_", "")) * UNITS[found[3]]) if found[2] else -1
        return kind, SUFFIXES[found[1] or found[4] or ""], above
    return "other" if "cost" in key or "price" in key else None


def number(value):
    if isinstance(value, Number):
        return Fraction(Decimal(value))
    try:
        return Fraction(Decimal(value.strip())) if isinstance(value, str) else None
    except (ArithmeticError, ValueError):
        return None


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
    lines = "".join("\t".join([model, reference, *(str(tokens[name]) for name in ["input", "output", "read", "write", "saved"]),
                                *(str(told[name]) for name in [*PARTS, "tier"])]) + "\n"
                    for model, reference, tokens, told in questions)
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
        return rng.choice(["-1e-6", "1.5", '"-1e-6"', "null", "true", '"much"', "1e99", "1e-99", "1E0", "10e-1", "100000000000000000000000000000000000000000e-45"])
    price = f"{rng.randrange(1, 100000)}e-{rng.randrange(7, 12)}"
    return f'" {price}"' if kind < .5 else price


def a_bound(rng):
    """Returns a suffix of a key, in one of the ways in which bounds are written."""
    thousand = rng.choice([1, 32, 128, 200, 256, 272, 512])
    return rng.choice(["_above_", "_above_", "_over_"]) + rng.choice([
        f"{thousand}k", f"{thousand}K", f"{thousand}000", f"{thousand}_000", f"0.{thousand:03}m", f"0.{thousand:03}_million"]) + "_tokens"


def a_model(rng):
    members = {}
    likely = {"input": .93, "output": .93, "cache_read": .7, "cache_write": .6, "write_1h": .4}
    for kind, key in KEYS.items():
        if rng.random() < likely.get(kind, .12):
            members[key] = a_price(rng)
            if kind != "request" and rng.random() < .3:
                members[key + rng.choice(["_priority", "_flex", "_batches", "_batch"])] = a_price(rng)
        for _ in range(rng.choice([0, 0, 0, 0, 1, 2]) if kind not in PIECES and kind in members else 0):
            members[key + a_bound(rng) + rng.choice(["", "", "_priority"])] = a_price(rng)
        if rng.random() < .02 and key in members:
            members[rng.choice(["_flex", "_fast"]).join([key, a_bound(rng)])] = a_price(rng)
    if rng.random() < .05:
        members["input_cost_per_token_cache_hit"] = a_price(rng)
    if rng.random() < .05:
        members[rng.choice(["ocr_cost_per_page", "output_cost_per_pixel", "list_price_of_a_parsec"])] = rng.choice(["0.5", "0", "null", "{}"])
    if rng.random() < .1:
        members["tiered_pricing"] = "[" + ", ".join(
            f'{{"range": [{low}, {low * 4 or 32000}], "input_cost_per_token": {low + 7}e-9, "output_cost_per_token": {low + 9}e-9}}'
            for low in [0, 32000, 128000]) + "]"
    members |= {"litellm_provider": '"x"', "max_tokens": "8192", "source": '"https://example.com/pricing"', "supports_vision": "true"}
    order = list(members.items())
    rng.shuffle(order)
    return "{" + ", ".join(f'"{key}": {text}' for key, text in order) + "}"


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
    return name, rng.choice(["", a_name(rng)]), counts, what_is_told(rng, counts)


def what_is_told(rng, counts):
    told = {name: a_count(rng) % (max(counts["input"], 0) + 2) if rng.random() < .3 else rng.choice([0, 0, -1]) for name in PARTS}
    told["cost"] = a_count(rng) if rng.random() < .05 else -1
    return {**rng.choice([told, told, UNTOLD, TEXT]), "tier": rng.choice([0, 0, 0, 1, 2, 3])}


def compare(table, questions, lines):
    assert lines[0] == f"{table.priced} {table.bad}"
    for question, line in zip(questions, lines[1:], strict=True):
        kind, missing, cost, compression, cache, routing, priced, name = line.split(" ", 7)
        found = table.find(question[0])
        assert name in ([table.models[model][0] for model in found] if found else [""]), (question, line)
        assert priced == str(int(bool(found and table.models[found[0]][1]))), (question, line)
        want = table.apply(*question)
        assert [kind, missing, *map(int, [cost, compression, cache, routing])] == want, (question, line, want)
    return collections.Counter(line.split(" ")[0] for line in lines[1:])


def test_random_tables_and_records(driver, tmp_path):
    path, asked, seen = tmp_path / "prices.json", 0, collections.Counter()
    for seed in range(TABLES):
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
        seen += compare(table, questions, lines)
        asked += len(questions)
    assert asked == 500 * TABLES and all(seen[kind] > 17 * TABLES for kind in ["table", "partial", "unpriced"]), seen


def test_the_table_that_ships(driver):
    path = harness.ROOT / "dist" / "prices.json"
    text = path.read_text()
    table, rng = Table(text), random.Random(1)
    assert "date" in json.loads(text)["_meta"] and table.bad == 0
    questions = [a_question(rng, table) for _ in range(2000)]
    questions += [(name, other, {"input": 1000, "output": 100, "read": 5000, "write": 30, "saved": 7}, TEXT)
                  for name, _ in table.models.values() for other in ["", "gpt-5", "glm-4.6"]]
    from_file, _ = ask(driver, path, questions)
    compare(table, questions, from_file)
    builtin, _ = ask(driver, "-", questions)
    assert builtin == from_file
    for name, prices in table.models.values():
        assert prices and any(kind == "input" for kind, _ in (key for key in prices if key != "other")), name


def test_a_lookup_is_fast(driver, tmp_path):
    """Lookups of every kind, hits and misses, in a table as large as LiteLLM's. One takes 0.2 microseconds; the limit here is so much higher
    because the driver is built with sanitizers."""
    rng, path = random.Random(2), tmp_path / "prices.json"
    names = dict.fromkeys(f"{rng.choice(['', 'azure/', 'openrouter/x/'])}model-{number}-{rng.choice(['a', 'b'])}" for number in range(3000))
    path.write_text("{" + ", ".join(f'"{name}": {{"input_cost_per_token": 1e-6}}' for name in names) + "}")
    counts = {"input": 1, "output": 0, "read": 0, "write": 0, "saved": 0}
    questions = [(rng.choice(list(names)) + rng.choice(["", "-2025-08-07", "-x:y"]), "", counts, TEXT) for _ in range(100)]
    questions += [("openrouter/some/unknown-model-of-nobody-2025-01-01", "", counts, TEXT)] * 20
    _, took = ask(driver, path, questions, "2000")
    print("one lookup:", took.strip(), "ns")
    assert float(took) < 10000


def test_a_price_file_is_replaced_as_a_whole_or_not_at_all(work):
    """`spoa-llm prices`, and what spoa-llm-prices.service does with the command of an operator's."""
    path, good = work / "prices.json", '{"m": {"input_cost_per_token": 1e-6}, "n": {"input_cost_per_token": "dear"}}'

    def run(command, text=""):
        with evidence.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=harness.environment()) as process:
            out, _ = process.communicate(text.encode(), timeout=60)
        return process.returncode, out.decode()

    def put(text):
        return run([harness.AGENT, "prices", str(path)], text)

    code, said = put(good)
    assert code == 0 and path.read_text() == good and "1 models, and 1 with" in said, said
    for text, why in [("", ":1:1"), ("{}", "no model has a price"), ('{"m": {"input_cost_per_token": 1e-6}', "ends in the middle"),
                      ("<html>not found</html>", ":1:1")]:
        code, said = put(text)
        assert code == 65 and why in said and str(path) in said, (text, said)
        assert path.read_text() == good and list(work.glob("prices.json?*")) == []
    # A file without room is told, and as what it is: not as prices that cannot be used.
    code, said = run(["/bin/sh", "-c", 'ulimit -f 0; exec "$0" prices "$1"', str(harness.AGENT), str(path)], good)
    assert code == 73 and said == "spoa-llm: %s: File too large\n" % path and path.read_text() == good, said
    unit = (harness.ROOT / "dist" / "spoa-llm-prices.service").read_text()
    line = re.search(r"^ExecStart=/bin/sh -ec '(.*)'$", unit, re.M)[1]
    line = line.replace("@BINDIR@/spoa-llm", str(harness.AGENT)).replace("/var/lib/spoa-llm-prices/prices.json", str(path))
    line = line.replace("/tmp/prices.json", str(work / "new")).replace("/etc/spoa-llm/fetch-prices", str(work / "fetch"))
    fetch = work / "fetch"
    for script, code, text in [("echo '%s'" % good.replace("1e-6", "2e-6"), 0, "2e-6"), ("echo '%s'; exit 3" % good, 3, "2e-6"), ("echo '{'", 65, "2e-6")]:
        fetch.write_text("#!/bin/sh\n" + script + "\n")
        fetch.chmod(0o755)
        got, said = run(["/bin/sh", "-ec", line])
        assert got == code and text in path.read_text(), (script, said)
