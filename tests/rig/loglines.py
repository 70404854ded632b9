"""HAProxy's log lines made up, each with what the ledger has to make of it: labels, tokens, nano-dollars. The second
implementation of the rules is here (usage) and in test_prices (money), in plain Python; nothing is read back from the agent.

    maker = Maker(seed=1, start_ms=..., span_ms=...)
    entries = maker.make(5000)          # .line, .id, .want
    path.write_text("".join(entry.line + "\\n" for entry in entries))
"""
import json
import random
import re
import time

from test_prices import Table

HOUR, DAY = 3600 * 1000, 86400 * 1000

# A price file: flat ones, one with tiers, one that is free, one that lacks a price; MODELS also has some without any.
PRICES = {
    "claude-sonnet-4-5": {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
                          "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06,
                          "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05,
                          "cache_read_input_token_cost_above_200k_tokens": 6e-07,
                          "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06},
    "claude-haiku-4-5": {"input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06,
                         "cache_read_input_token_cost": 1e-07, "cache_creation_input_token_cost": 1.25e-06},
    "gpt-5.5": {"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07},
    "gpt-5.5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06,
                     "cache_read_input_token_cost": 2.53333333e-08},
    "gemini-3-flash": {"input_cost_per_token": 3e-07, "output_cost_per_token": 2.5e-06,
                       "cache_read_input_token_cost": 7.5e-08},
    "glm-4.6": {"input_cost_per_token": 6e-07, "output_cost_per_token": 2.2e-06, "cache_read_input_token_cost": 1.1e-07},
    "free-model": {"input_cost_per_token": 0, "output_cost_per_token": 0},
    "half-priced": {"input_cost_per_token": 1e-06},
}
# (model, protocol, route, backend)
MODELS = [
    ("claude-sonnet-4-5-20250929", "anthropic", "claude-", "llm-api.anthropic.com"),
    ("claude-haiku-4-5", "anthropic", "claude-", "llm-api.anthropic.com"),
    ("gpt-5.5", "openai", "gpt-5.5", "llm-api.openai.com"),
    ("gpt-5.5-mini", "openai", "*", "llm-api.openai.com"),
    ("gemini-3-flash", "gemini", "*", "llm-generativelanguage.googleapis.com"),
    ("glm-4.6", "openai", "glm-", "llm-ollama.com"),
    ("glm-4.6", "anthropic", "glm-", "llm-ollama.com"),
    ("free-model", "openai", "*", "llm-api.openai.com"),
    ("half-priced", "openai", "*", "llm-api.openai.com"),
    ("unheard-of", "openai", "*", "llm-api.openai.com"),
]
ROUTES = [
    {"model_prefix": "glm-", "upstream": "https://ollama.com", "reference_model": "claude-sonnet-4-5"},
    {"model_prefix": "claude-", "protocol": "anthropic"},
    {"model_prefix": "gpt-5.5", "reference_model": "gpt-5.5-mini"},
    {"model_prefix": "*"},
]
REFERENCES = {route["model_prefix"]: route.get("reference_model", "") for route in ROUTES}
POOL = [{"member": "first", "tried": ""}, {"member": "next", "tried": "first:429"}, {"member": "last", "tried": "first:unreachable,next:529"}]
PROJECTS = ["", "website", "data-lake", "ops", "Straße", "other"]
CLIENTS = [("", "claude-cli/2.0.1 (external, cli)", "claude-code"), ("", "codex_exec/0.9", "codex"),
           ("nightly job", "python-requests/2", "nightly job"), ("", "curl/8", "curl"), ("", "Sth/1", "other"), ("", "", "")]
# What a model's name may hold that a terminal, a spreadsheet or a JSON reader would take for something else.
HOSTILE = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@cf/meta/llama", 'say "hi", twice', "'quoted", " led by a space",
           "日本語モデル", "e\u0301\u0301", "tab\tand\x1b[31mred", "turned\u202eback", "hid\u200bden\u061c", "<b>&amp;</b>", "a\\b", "x" * 200]

TABLE = Table(json.dumps(PRICES))


def cleaned(name, most):
    """label_clean() of agent/ledger/logline.c."""
    name = name.strip(" \t").encode()[:most].decode("utf-8", "ignore")
    # Each byte of a control character (C1 too) or of another that nobody sees becomes a `_`.
    odd = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]")
    return odd.sub(lambda found: "_" * len(found.group().encode()), name)


def by_bytes(count, fixed, each):
    return (count - fixed + each // 2) // each if count > fixed else 0


def estimate(protocol, model, bytes_out):
    if protocol == "anthropic":
        return by_bytes(bytes_out, 2000, 35)
    if protocol == "gemini":
        return by_bytes(bytes_out, 700, 16)
    if model.lower().startswith("gpt-"):
        return by_bytes(bytes_out, 2500, 310)
    return by_bytes(bytes_out, 900, 215)


class Entry:
    def __init__(self, fields, want):
        self.fields, self.want, self.id = fields, want, fields["id"]
        self.text = json.dumps(fields, separators=(",", ":"))
        self.line = self.text

    def with_prefix(self, rng):
        """As HAProxy prints it, or behind what syslog daemons put in front."""
        when = time.gmtime(self.fields["te"] / 1000)
        self.line = rng.choice(["", time.strftime("%b %e %H:%M:%S host haproxy[12]: ", when),
                                '<134>1 2026-11-01T00:00:00.000000+00:00 host haproxy 12 - [llm@32473 key="a{b"] ',
                                time.strftime("%Y-%m-%dT%H:%M:%S+00:00 {host} haproxy[12]: ", when)]) + self.text
        return self


class Maker:
    def __init__(self, seed=1, start_ms=None, span_ms=3 * DAY, hostile=False, references=REFERENCES):
        self.rng, self.start, self.span = random.Random(seed), start_ms, span_ms
        if start_ms is None:
            self.start = int(time.time() * 1000) - span_ms
        self.models = MODELS + [(name, "openai", "*", "llm-api.openai.com") for name in HOSTILE] if hostile else MODELS
        self.references, self.count = references, 0

    def make(self, count):
        return [self.one() for _ in range(count)]

    def one(self, **more):
        """`more`: fields of the line that are given, and kind=."""
        rng = self.rng
        self.count += 1
        model, protocol, route, backend = rng.choice(self.models)
        client, agent, family = rng.choice(CLIENTS)
        total = rng.randrange(5, 90000)
        kind = more.pop("kind", None) or rng.choices(
            ["reported", "stream", "estimated", "silent", "partial", "refused", "error", "abort", "none", "untold"],
            [40, 20, 10, 5, 4, 6, 4, 4, 4, 4])[0]
        fields = {"v": 1, "id": "%08x-%d" % (rng.getrandbits(32), self.count),
                  "te": self.start + rng.randrange(self.span) + total, "src": "127.0.0.1:5", "method": "POST",
                  "route": route, "backend": backend, "protocol": protocol, "model": model,
                  "project": rng.choice(PROJECTS), "client": client, "ua": agent, "status": 200, "code": "", "term": "--",
                  "stream": "0", "metered": "1", "in": rng.randrange(300, 400000), "out": rng.randrange(300, 300000), "tr": 0, "tw": 0,
                  "tc": rng.randrange(3), "trs": rng.randrange(1, total), "ta": total, "ctype": "application/json", "usage": "",
                  "hb": "", "ha": "", "hs": "", "text": "", "comp": "0", "spoe": ""}
        fields["text"] = str(fields["in"] - 250)
        tokens = {"input": 0, "output": 0, "read": 0, "write": 0, "saved": 0}
        usage = "none"
        if kind == "refused":
            fields.update(rng.choice([{"status": 502, "code": "upstream_auth_unavailable"},
                                      {"status": 413, "code": "model_not_in_sample", "model": ""}]),
                          backend="refuse", term="PR", trs=-1)
        elif kind == "error":
            fields.update(rng.choice([{"status": 429}, {"status": 500}, {"status": 503, "term": "SC", "trs": -1},
                                      {"status": -1, "term": "SH", "trs": -1}]))
        elif kind == "none":
            fields.update(method="GET", model="", route="legacy", usage="-", metered="0")
        elif kind == "untold":
            fields.update(rng.choice([{}, {"status": 206}, {"term": "CD"}, {"status": 504, "term": "sH", "trs": -1}]))
        else:
            tokens, usage = self.usage(kind, fields)
            if rng.random() < .2:
                saved = rng.choice([rng.randrange(1, 50000), -rng.randrange(1, 300)])
                tokens["saved"] = saved
                fields.update({"hs": str(saved)} if rng.random() < .5 else {"hb": "60000", "ha": str(60000 - saved)})
                if fields["ha"] and not fields["usage"]:  # what Headroom says it sent is better than a guess
                    tokens["input"] = 60000 - saved
        if kind == "untold" or fields["term"][1] == "H":
            usage, tokens = "unknown", {"input": None, "output": None, "read": None, "write": None, "saved": 0}
        if fields["route"] == "glm-" and kind != "refused":   # a pool
            fields.update(POOL[self.count % len(POOL)])
        fields.update(more)
        for name in ("model", "project", "client"):
            fields[name] = fields[name].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        want = {"id": fields["id"], "time_ms": fields["te"] - fields["ta"], "usage_from": usage, "stream": kind in STREAMS,
                "route": fields["route"], "backend": fields["backend"], "protocol": fields["protocol"],
                "model": cleaned(fields["model"], 256), "project": cleaned(fields["project"], 64),
                "client": cleaned(fields["client"], 64) or family, "status": max(fields["status"], 0),
                "code": fields["code"], "termination": fields["term"], "bytes_in": fields["in"], "bytes_out": fields["out"],
                "ttfb_ms": fields["trs"] + fields["tc"] if fields["trs"] >= 0 else None, "total_ms": fields["ta"],
                "input": tokens["input"], "output": tokens["output"], "cache_read": tokens["read"],
                "cache_write": tokens["write"], "saved": tokens["saved"], "member": fields.get("member", ""), "tried": fields.get("tried", ""),
                "attempts": len(fields["tried"].split(",")) + bool(fields["tried"]) if "tried" in fields else 0}
        known = {name: count or 0 for name, count in tokens.items()}
        price, missing, *money = TABLE.apply(want["model"], self.references.get(want["route"], ""), known)
        want.update(zip(("price_from", "cost", "saved_compression", "saved_cache", "saved_routing"), (price, *money)))
        return Entry(fields, want)

    def usage(self, kind, fields):
        """Sets the fragment and what goes with it. Tokens as the ledger counts them, and where they are from."""
        rng, protocol, model = self.rng, fields["protocol"], fields["model"]
        scale = rng.choice([100, 5000, 40000, 250000])
        new, out = rng.randrange(1, scale), rng.randrange(0, 9000)
        read = rng.randrange(scale) if rng.random() < .6 else 0
        write = rng.randrange(scale) if protocol == "anthropic" and rng.random() < .5 else 0
        tokens = {"input": new, "output": out, "read": read, "write": write, "saved": 0}
        streamed = kind in STREAMS
        if streamed:
            fields.update(ctype="text/event-stream", stream="1")
        if kind == "abort":
            fields["term"] = "CD"
        if kind in ("silent", "abort") and protocol != "anthropic":
            tokens.update(input=max(1, by_bytes(int(fields["text"]), 60, 4)), output=estimate(protocol, model, fields["out"]), read=0, write=0)
            return tokens, "estimated"
        if protocol == "anthropic":
            said = {"input_tokens": new, "cache_creation_input_tokens": write, "cache_read_input_tokens": read,
                    "output_tokens": out, "service_tier": "standard"}
            end = "}}"
            if streamed:  # the first event, with a token or two
                said["output_tokens"] = rng.randrange(1, 9)
                tokens["output"] = max(said["output_tokens"], estimate(protocol, model, fields["out"]))
                end = "}}\n\nevent: ping\n"
        elif protocol == "gemini":
            said = {"promptTokenCount": new + read, "candidatesTokenCount": out, "totalTokenCount": new + read + out}
            said.update({"cachedContentTokenCount": read} if read else {})
            end = "\n}\n]" if streamed else "}"
        elif rng.random() < .5:
            said = {"prompt_tokens": new + read, "completion_tokens": out, "total_tokens": new + read + out,
                    "prompt_tokens_details": {"cached_tokens": read, "audio_tokens": 0}}
            end = "}\n\ndata: [DONE]\n\n" if streamed else "}"
        else:
            said = {"input_tokens": new + read, "input_tokens_details": {"cached_tokens": read}, "output_tokens": out,
                    "output_tokens_details": {"reasoning_tokens": out // 2}, "total_tokens": new + read + out}
            end = "}}\n\n" if streamed else "}"
        if kind == "partial" or (kind == "estimated" and protocol != "anthropic"):
            # The output is not told; what else tells it is not there either.
            for name in ("completion_tokens", "output_tokens", "candidatesTokenCount", "total_tokens", "totalTokenCount",
                         "output_tokens_details"):
                said.pop(name, None)
            if protocol == "gemini":  # which leaves out what is 0: then it is told
                said["candidatesTokenCount"] = 1.5
            tokens["output"] = estimate(protocol, model, fields["out"]) if streamed else 0
            end = "}\n" if streamed else "}"
        fields["usage"] = ":" + rng.choice(["", " "]) + json.dumps(said, separators=rng.choice([(",", ":"), (", ", ": ")])) + end
        if kind in ("reported", "stream"):
            return tokens, "estimated" if streamed and protocol == "anthropic" else "reported"
        return tokens, "partial" if kind == "partial" else "estimated"


STREAMS = ("stream", "estimated", "silent", "abort")
FIGURES = ("requests", "streams", "refused", "failed", "input", "output", "cache_read", "cache_write", "saved", "bytes_in",
           "bytes_out", "cost", "saved_compression", "saved_cache", "saved_routing", "estimated_requests",
           "estimated_output", "estimated_cost", "partial_requests", "unpriced_requests", "unpriced_tokens", "saved_total",
           "unknown_requests", "partly_priced_requests", "saved_gateway", "estimated_saved_compression", "estimated_saved_cache",
           "estimated_saved_routing", "estimated_saved_gateway", "estimated_saved_total", "untold_requests")
KINDS = ("compression", "cache", "routing")
MONEY = tuple(name for name in FIGURES if name == "cost" or name.endswith("_cost")
              or re.match("(estimated_)?saved_(compression|cache|routing|gateway|total)$", name))


def label_of(want, by):
    if by in ("day", "hour"):
        return time.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00Z", time.gmtime(want["time_ms"] / 1000))
    if by == "member":
        return want["member"] and want["route"] + "/" + want["member"]
    return want[by]


def failed(want):
    return not want["code"] and (not 100 <= want["status"] < 400 or want["termination"][0] not in "-LCc")


def sums(wants):
    """What a report has to say of these."""
    total = dict.fromkeys(FIGURES, 0)
    for want in wants:
        mine = {name: want[name] or 0 for name in FIGURES if name in want}
        mine.update(requests=1, streams=int(want["stream"]), refused=int(bool(want["code"])),
                    failed=int(failed(want)))
        if want["usage_from"] == "estimated":
            mine.update(estimated_requests=1, estimated_output=want["output"], estimated_cost=want["cost"])
            mine.update({"estimated_saved_" + kind: want["saved_" + kind] for kind in KINDS})
        mine.update(unknown_requests=int(want["usage_from"] == "unknown"), partly_priced_requests=int(want["price_from"] == "partial"))
        if want["usage_from"] == "partial":
            mine.update(partial_requests=1)
        if want["price_from"] == "unpriced":
            mine.update(unpriced_requests=1, unpriced_tokens=sum(want[n] for n in ("input", "output", "cache_read", "cache_write")))
        for name, value in mine.items():
            total[name] += value
    for part in ("", "estimated_"):
        total[part + "saved_gateway"] = total[part + "saved_compression"] + total[part + "saved_routing"]
        total[part + "saved_total"] = total[part + "saved_gateway"] + total[part + "saved_cache"]
    return total


def report(wants, by):
    """{label: sums}."""
    groups = {}
    for want in wants:
        groups.setdefault(label_of(want, by), []).append(want)
    return {label: sums(them) for label, them in groups.items()}
