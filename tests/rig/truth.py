"""Requests made at random whose true usage is known: every shape of an answer, with members in any order, echoes of other usages, endings,
encodings and frames. `Case(seed)` has all of one request; `serve()` is the upstream that answers it; both make it from its number alone.

What a case knows: `tokens` (input, output, read, write: as the ledger counts them) and `told` (the kinds that some models price apart). It is what the
provider would bill, whether the answer tells it or not."""
import gzip
import json
import random
import re
import socket
import subprocess
import threading
import zlib

from test_prices import PARTS

# Prices so different that no two sums are equal by chance. The kinds that a model prices apart are those of its name.
TEXT = {"input_cost_per_token": 1.1e-6, "output_cost_per_token": 7.3e-6}
CACHE = {"cache_read_input_token_cost": 1.7e-7, "cache_creation_input_token_cost": 1.3e-6}
PRICES = {
    "t-plain": TEXT,
    "t-cache": {**TEXT, **CACHE},
    "t-hour": {**TEXT, **CACHE, "cache_creation_input_token_cost_above_1hr": 2.9e-6},
    "t-think": {**TEXT, **CACHE, "output_cost_per_reasoning_token": 3.1e-6},
    "t-audio": {**TEXT, **CACHE, "input_cost_per_audio_token": 4.7e-5, "output_cost_per_audio_token": 8.9e-5,
                "cache_read_input_audio_token_cost": 5.3e-6},
    "t-image": {**TEXT, **CACHE, "input_cost_per_image_token": 9.7e-6, "output_cost_per_image_token": 4.1e-5},
    "t-tier": {**TEXT, **CACHE, "input_cost_per_token_above_1000_tokens": 2.3e-6, "output_cost_per_token_above_1k_tokens": 9.1e-6,
               "cache_read_input_token_cost_above_0.001m_tokens": "3.7e-7", "cache_creation_input_token_cost_above_1k_tokens": 2.7e-6},
    "t-tiers": {"tiered_pricing": [{"range": [0, 500], "input_cost_per_token": 1.9e-6, "output_cost_per_token": 5.9e-6},
                                   {"range": [500, 1e6], "input_cost_per_token": 2.1e-6, "output_cost_per_token": 6.1e-6}]},
    "t-service": {**TEXT, "input_cost_per_token_flex": 6.7e-7, "output_cost_per_token_flex": 3.3e-6, "input_cost_per_token_priority": 2.7e-6,
                  "output_cost_per_token_priority": 9.9e-6, "input_cost_per_token_batches": 4.3e-7, "output_cost_per_token_batches": 2.1e-6},
    "t-odd": {**TEXT, "ocr_cost_per_page": 0.001},
    "t-picture": {"input_cost_per_token": 5e-6, "output_cost_per_image": 0.04, "mode": "image_generation"},
    "t-second": {"input_cost_per_audio_per_second": 1e-4, "mode": "audio_transcription"},
    "t-query": {"input_cost_per_query": 0.002, "mode": "rerank"},
    "t-search": {**TEXT, **CACHE, "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.01}},
}
CHATS = [name for name in PRICES if name not in ("t-picture", "t-second", "t-query")]

WORDS = ["usage", "tokens", "the answer", "straße", "日本語", "\u2028", "{", "}", '"', "\\", '"usage":{"prompt_tokens":77,"completion_tokens":7}',
         'data: [DONE]', "event: message_stop", "null", "\n", "x" * 30, '}}}', "usageMetadata"]
FAKES = [{"prompt_tokens": 900000, "completion_tokens": 900000, "total_tokens": 1800000}, {"input_tokens": 900000, "output_tokens": 900000},
         {"promptTokenCount": 900000, "candidatesTokenCount": 900000}, {"type": "object", "properties": {"input_tokens": {"type": "integer"}}},
         None, {}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}]


class Case:
    def __init__(self, seed):
        self.seed, self.rng = seed, random.Random(seed)
        rng = self.rng
        self.model, self.stream, self.method, self.type, self.headers = "", False, "POST", "application/json", []
        self.twice = False
        self.told = dict.fromkeys(PARTS, 0) | {"cost": -1, "tier": 0}
        self.status = rng.choice([200] * 20 + [201, 206, 429, 500])
        name = rng.choice([name for name in SHAPES for _ in range(SHAPES[name])])
        self.shape = name
        self.answer = getattr(self, name)()       # bytes of the body before coding
        if self.status >= 400:
            self.answer = json.dumps({"error": {"message": "no", "usage": rng.choice(FAKES)}}).encode()
            self.type, self.tokens = "application/json", dict.fromkeys(self.tokens, 0)
        if name != "openai_stream" and not self.stream and rng.random() < .1:
            self.type = rng.choice(["application/json ; charset=utf-8", "application/json;charset=utf-8;x=y", "text/json", "application/vnd.x+json",
                                    "Application/JSON"])
        if rng.random() < .03:
            self.method = "PUT"
        self.coding, self.coded = self.encode(self.answer)
        self.end = rng.choice(["whole"] * 24 + ["leave", "cut"])
        self.frame = rng.choice(["length", "length", "chunked", "chunked", "pieces", "close"])

    # -- a request

    def request(self):
        """Returns the bytes of the request."""
        body = self.body
        if isinstance(body, dict):
            if self.stream or self.rng.random() < .05:
                body = {**body, "stream": True}
            items = list(body.items())
            self.rng.shuffle(items)
            body = json.dumps(dict(items)).encode()
        head = "%s %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-case: %d\r\ncontent-length: %d\r\n%s\r\n" % (
            self.method, self.target, self.seed, len(body), "".join("%s: %s\r\n" % pair for pair in self.headers))
        return head.encode() + body

    # -- parts of an answer

    def count(self):
        return int(10 ** (self.rng.random() * 3.7)) if self.rng.random() < .9 else 0

    def text(self):
        size = self.rng.choice([0, 1, 3, 8, 30, 200]) if self.rng.random() > .01 else 6000
        return " ".join(self.rng.choice(WORDS) for _ in range(size))

    def number(self, n):
        """A count, as some servers write it."""
        return float(n) if self.rng.random() < .01 else n

    def echo(self):
        """Members that hold what looks like a usage, somewhere deeper."""
        rng = self.rng
        return {name: make() for name, make in {
            "metadata": lambda: {"usage": rng.choice(FAKES), "n": [{"usage": rng.choice(FAKES)}]},
            "tools": lambda: [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"usage": rng.choice(FAKES)}}}}],
            "input": lambda: {"usage": rng.choice(FAKES), "usageMetadata": rng.choice(FAKES), "response": {"usage": rng.choice(FAKES)}},
            "note": self.text}.items() if rng.random() < .3}

    def dump(self, members, place=None):
        """JSON of the members in any order. `place`: where the usage stands, "first" or "last"."""
        rng, items = self.rng, list({**self.echo(), **members}.items())
        rng.shuffle(items)
        if rng.random() < .7:
            items.sort(key=lambda item: item[0] in ("usage", "usageMetadata"), reverse=rng.random() < .2)
        return json.dumps(dict(items), ensure_ascii=rng.random() < .5, indent=rng.choice([None, None, None, 2]),
                          separators=rng.choice([None, (",", ":"), (" , ", " : ")])).encode()

    def with_usage(self, name, usage, members):
        """A body with the usage where it stands; now and then null, absent, or behind another one."""
        kind = self.rng.random()
        if kind < .05:
            return self.dump({**members, name: None})
        if kind < .1:
            return self.dump(members)
        whole = self.dump({**members, name: usage})
        if kind < .12:      # two that differ: nobody knows which one holds
            self.twice = True
            whole = b'{"%s":%s,' % (name.encode(), json.dumps(self.rng.choice(FAKES)).encode()) + whole.lstrip()[1:]
        return whole

    def draw(self, *kinds):
        """Draws the usage: sets `tokens` and `told`, and returns the counts by kind."""
        n = {kind: self.count() for kind in ("text", "cached", "write", "hour", "out", "think", "heard", "seen", "spoken", "drawn")
             if kind in ("text", "out") or (kind in kinds and self.rng.random() < .5)}
        get = lambda *names: sum(n.get(name, 0) for name in names)  # noqa: E731
        self.tokens = {"input": get("text", "heard", "seen"), "read": get("cached"), "write": get("write", "hour"),
                       "output": get("out", "think", "spoken", "drawn"), "saved": 0}
        self.told.update(audio_input=get("heard"), image_input=get("seen"), audio_output=get("spoken"), image_output=get("drawn"),
                         reasoning=get("think"), write_1h=get("hour"))
        return get

    def chat_model(self, *more):
        self.model = self.rng.choice(CHATS + list(more))
        return {"model": self.model, "messages": [{"role": "user", "content": self.text()}], "max_tokens": 9}

    def service(self, answer):
        """Names a service tier in the answer, as OpenAI does."""
        if self.rng.random() < .3:
            tier = self.rng.choice(["default", "flex", "priority"])
            answer["service_tier"] = tier
            self.told["tier"] = {"flex": 2, "priority": 3}.get(tier, 0)
        return answer

    # -- shapes

    def chat_usage(self):
        get = self.draw("cached", "think", "heard", "spoken")
        number, rng = self.number, self.rng
        usage = {"prompt_tokens": number(get("text", "heard", "cached")), "completion_tokens": number(get("out", "think", "spoken"))}
        if rng.random() < .9:
            usage["total_tokens"] = get("text", "heard", "cached", "out", "think", "spoken")
        # An answer without details: the model prices nothing apart, or the ledger has to say what is missing.
        if get("cached", "heard") or rng.random() < .6:
            usage["prompt_tokens_details"] = {"cached_tokens": get("cached"), "audio_tokens": get("heard")}
        if get("spoken") or rng.random() < .6:
            usage["completion_tokens_details"] = {"reasoning_tokens": get("think"), "audio_tokens": get("spoken"), "rejected_prediction_tokens": 0}
        return usage

    def openai_chat(self):
        self.target, self.body = "/v1/chat/completions", self.chat_model()
        usage = self.chat_usage()
        return self.with_usage("usage", usage, self.service({
            "id": "c1", "object": "chat.completion", "model": self.model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": self.text()}, "finish_reason": "stop"}]}))

    def openai_stream(self):
        self.stream, self.type = True, "text/event-stream"
        self.target, self.body = "/v1/chat/completions", self.chat_model()
        usage, events = self.chat_usage(), []
        for _ in range(self.rng.choice([1, 2, 20])):
            events.append({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": self.text()}}], "usage": None})
        if self.rng.random() < .5:
            events.append({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"

    def completions(self):
        self.target, self.body = "/v1/completions", {**self.chat_model(), "prompt": "x"}
        get = self.draw()
        return self.with_usage("usage", {"prompt_tokens": get("text"), "completion_tokens": get("out"), "total_tokens": get("text", "out")},
                               {"object": "text_completion", "choices": [{"text": self.text()}]})

    def responses(self):
        self.target, self.body = "/v1/responses", {**self.chat_model(), "input": "x"}
        get = self.draw("cached", "think")
        usage = {"input_tokens": get("text", "cached"), "input_tokens_details": {"cached_tokens": get("cached")},
                 "output_tokens": get("out", "think"), "output_tokens_details": {"reasoning_tokens": get("think")},
                 "total_tokens": get("text", "cached", "out", "think")}
        whole = {"id": "r1", "object": "response", "status": "completed", "output": [{"type": "message", "content": [{"text": self.text()}]}]}
        if self.rng.random() < .6:
            return self.with_usage("usage", usage, self.service(whole))
        self.stream, self.type = True, "text/event-stream"
        first = {"type": "response.created", "response": {**whole, "status": "in_progress", "usage": None}}
        last = {"type": "response.completed", "response": {**whole, **self.echo(), "usage": usage}}
        return b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in (first, last))

    def embeddings(self):
        self.target, self.body = "/v1/embeddings", {**self.chat_model(), "input": "x"}
        get = self.draw()
        self.tokens["output"] = 0
        return self.with_usage("usage", {"prompt_tokens": get("text"), "total_tokens": get("text")},
                               {"object": "list", "data": [{"embedding": [.1] * self.rng.choice([3, 300]), "index": 0}]})

    def images(self):
        self.model = self.rng.choice(["t-picture", "t-image"])
        self.target, self.body = "/v1/images/generations", {"model": self.model, "prompt": "x"}
        pictures = [{"b64_json": "iVBORw0KGgo" * self.rng.choice([1, 100, 3000])} for _ in range(self.rng.choice([1, 2, 3]))]
        if self.model == "t-picture":
            self.tokens = {"input": 0, "output": 0, "read": 0, "write": 0, "saved": 0}
            self.told["images"] = len(pictures)
            return self.dump({"created": 1, "data": pictures})
        get = self.draw("seen")
        self.tokens["output"] = drawn = self.told["image_output"] = self.count()
        usage = {"input_tokens": get("text", "seen"), "output_tokens": drawn, "total_tokens": get("text", "seen") + drawn,
                 "input_tokens_details": {"text_tokens": get("text"), "image_tokens": get("seen")}}
        if self.rng.random() < .5:
            usage["output_tokens_details"] = {"image_tokens": drawn, "text_tokens": 0}
        return self.with_usage("usage", usage, {"created": 1, "data": pictures})

    def audio(self):
        self.model = self.rng.choice(["t-second", "t-audio", "t-plain"])
        self.target, self.body = "/v1/audio/transcriptions", {"model": self.model}
        if self.model == "t-second":
            seconds = self.rng.randrange(1, 500)
            self.tokens = {"input": 0, "output": 0, "read": 0, "write": 0, "saved": 0}
            self.told["audio_ms"] = seconds * 1000
            return self.with_usage("usage", {"type": "duration", "seconds": seconds}, {"text": self.text()})
        get = self.draw("heard")
        return self.with_usage("usage", {
            "type": "tokens", "input_tokens": get("text", "heard"), "output_tokens": get("out"), "total_tokens": get("text", "heard", "out"),
            "input_token_details": {"text_tokens": get("text"), "audio_tokens": get("heard")}}, {"text": self.text()})

    def anthropic_usage(self):
        get = self.draw("cached", "write", "hour")
        usage = {"input_tokens": get("text"), "cache_creation_input_tokens": get("write", "hour"), "cache_read_input_tokens": get("cached"),
                 "output_tokens": get("out"), "service_tier": self.rng.choice(["standard", None])}
        if get("hour") or self.rng.random() < .7:
            usage["cache_creation"] = {"ephemeral_5m_input_tokens": get("write"), "ephemeral_1h_input_tokens": get("hour")}
            if self.rng.random() < .1 and (not get("hour") or self.model == "t-hour"):      # some gateways forward the sum only
                del usage["cache_creation"]
        if self.rng.random() < .2:
            self.told["searches"] = self.rng.randrange(3)
            usage["server_tool_use"] = {"web_search_requests": self.told["searches"], "web_fetch_requests": 0}
        return usage

    def anthropic(self):
        self.target, self.body = self.rng.choice(["/v1/messages", "/v1/messages?beta=true"]), self.chat_model()
        self.headers = [("anthropic-version", "2023-06-01")]
        usage = self.anthropic_usage()
        return self.with_usage("usage", usage, {
            "id": "m1", "type": "message", "role": "assistant", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": self.text()}, {"type": "tool_use", "name": "f", "input": {"usage": self.rng.choice(FAKES)}}]})

    def anthropic_stream(self):
        self.target, self.body, self.stream, self.type = "/v1/messages", self.chat_model(), True, "text/event-stream; charset=utf-8"
        self.headers = [("anthropic-version", "2023-06-01")]
        usage = self.anthropic_usage()
        first = {"type": "message_start", "message": {"type": "message", "content": [], "usage": {**usage, "output_tokens": 1}}}
        events = [{"type": "ping"}] * (self.rng.random() < .3) + [first] + [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": self.text()}} for _ in range(self.rng.choice([1, 5]))]
        events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": usage["output_tokens"]}}, {"type": "message_stop"}]
        return b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in events)

    def gemini(self):
        self.model = self.rng.choice(CHATS)
        self.body = {"contents": [{"parts": [{"text": self.text()}]}]}
        get = self.draw("cached", "think", "heard", "spoken")
        usage = {"promptTokenCount": get("text", "heard", "cached"), "candidatesTokenCount": get("out", "spoken"),
                 "totalTokenCount": get("text", "heard", "cached", "out", "spoken", "think")}
        usage |= {"cachedContentTokenCount": get("cached")} if get("cached") else {}
        usage |= {"thoughtsTokenCount": get("think")} if get("think") else {}
        modes = lambda **of: [{"modality": mode, "tokenCount": n} for mode, n in of.items() if n]  # noqa: E731
        usage["promptTokensDetails"] = modes(TEXT=get("text", "cached"), AUDIO=get("heard"))
        usage["candidatesTokensDetails"] = modes(TEXT=get("out"), AUDIO=get("spoken"))
        if get("cached"):
            usage["cacheTokensDetails"] = modes(TEXT=get("cached"))
        if self.rng.random() < .2 and not get("heard", "spoken"):
            del usage["promptTokensDetails"], usage["candidatesTokensDetails"]
        answer = {"candidates": [{"content": {"parts": [{"text": self.text()}], "role": "model"}, "finishReason": "STOP"}], "modelVersion": self.model}
        kind = self.rng.random()
        if kind < .6:
            self.target = "/v1beta/models/%s:generateContent" % self.model
            return self.with_usage("usageMetadata", usage, answer)
        self.stream, early = True, {**usage, "candidatesTokenCount": 0, "totalTokenCount": usage["promptTokenCount"]}
        events = [{**answer, "usageMetadata": early}] * self.rng.choice([1, 3]) + [{**answer, "usageMetadata": usage}]
        if kind < .8:
            self.target, self.type = "/v1beta/models/%s:streamGenerateContent?alt=sse" % self.model, "text/event-stream"
            return b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in events)
        self.target = "/v1beta/models/%s:streamGenerateContent" % self.model
        return b"[" + b",\r\n".join(json.dumps(one, indent=2).encode() for one in events) + b"\n]"

    def bedrock(self):
        self.model = self.rng.choice(CHATS)
        self.target, self.body = "/model/%s/converse" % self.model, {"messages": [{"content": [{"text": "x"}]}]}
        get = self.draw("cached", "write")
        usage = {"inputTokens": get("text"), "outputTokens": get("out"), "totalTokens": sum(self.tokens.values())}
        usage |= {"cacheReadInputTokens": get("cached"), "cacheWriteInputTokens": get("write")} if get("cached", "write") else {}
        return self.with_usage("usage", usage, {"output": {"message": {"content": [{"text": self.text()}]}}, "stopReason": "end_turn",
                                                "metrics": {"latencyMs": 5}})

    def ollama(self):
        chat = self.rng.random() < .5
        self.target, self.body = ("/api/chat" if chat else "/api/generate"), self.chat_model()
        get = self.draw()
        done = {"model": self.model, "done": True, "done_reason": "stop", "prompt_eval_count": get("text"), "eval_count": get("out"),
                "eval_duration": 7, **({"message": {"content": ""}} if chat else {"response": ""})}
        if self.rng.random() < .5:
            return self.dump(done)
        self.stream, self.type = True, "application/x-ndjson"
        pieces = [{"model": self.model, "done": False, "message": {"content": self.text()}} for _ in range(3)]
        return b"".join(json.dumps(one).encode() + b"\n" for one in [*pieces, done])

    def cohere(self):
        get, rng = self.draw(), self.rng
        kind = rng.choice(["v1", "v2", "rerank"])
        if kind == "rerank":
            self.model = "t-query"
            self.target, self.body = "/v2/rerank", {"model": self.model, "query": "x", "documents": ["y"]}
            self.tokens = dict.fromkeys(self.tokens, 0)
            self.told["searches"] = rng.randrange(1, 9)
            return self.dump({"results": [], "meta": {"billed_units": {"search_units": self.told["searches"]}}})
        self.body = self.chat_model()
        units = {"input_tokens": get("text"), "output_tokens": get("out")}
        more = {"billed_units": units, "tokens": units}
        if kind == "v1":
            self.target = "/v1/chat"
            return self.dump({"text": self.text(), "meta": {"api_version": {"version": "1"}, **more}})
        self.target = "/v2/chat"
        return self.dump({"message": {"content": [{"text": self.text()}]}, "usage": more})

    def deepseek(self):
        self.target, self.body = "/v1/chat/completions", self.chat_model()
        get = self.draw("cached", "think")
        return self.with_usage("usage", {
            "prompt_tokens": get("text", "cached"), "completion_tokens": get("out", "think"), "total_tokens": get("text", "cached", "out", "think"),
            "prompt_cache_hit_tokens": get("cached"), "prompt_cache_miss_tokens": get("text"),
            "completion_tokens_details": {"reasoning_tokens": get("think")}}, {"object": "chat.completion", "choices": [{"message": {"content": self.text()}}]})

    def openrouter(self):
        self.target, self.body = "/api/v1/chat/completions", self.chat_model()
        usage = self.chat_usage()
        self.told["cost"] = self.rng.randrange(1, 10**8)
        usage["cost"] = self.told["cost"] / 1e9
        usage["cost_details"] = {"upstream_inference_cost": None}
        return self.with_usage("usage", usage, {"object": "chat.completion", "provider": "x", "choices": [{"message": {"content": self.text()}}]})

    # -- how it is sent

    def encode(self, body):
        kind = self.rng.choice(["identity"] * 6 + ["gzip", "gzip", "deflate", "members", "twice", "zstd" if self.seed % 8 == 0 else "gzip", "lies"])
        if kind == "gzip":
            return "gzip", gzip.compress(body, 1)
        if kind == "deflate":
            return "deflate", zlib.compress(body, 1)
        if kind == "members":
            half = len(body) // 2
            return "gzip", gzip.compress(body[:half], 1) + gzip.compress(body[half:], 1)
        if kind == "twice":
            return "gzip, gzip", gzip.compress(gzip.compress(body, 1), 1)
        if kind == "zstd":
            return "zstd", subprocess.run(["zstd", "-qc1"], input=body, capture_output=True, check=True).stdout
        return ("compress" if kind == "lies" else "identity" if self.rng.random() < .1 else ""), body

    def response(self):
        """Returns the bytes of the answer in the pieces in which they are sent, and whether the connection stays open."""
        rng, body, frame = self.rng, self.coded, self.frame
        head = ["HTTP/1.1 %d X" % self.status, "content-type: " + self.type] + (["content-encoding: " + self.coding] if self.coding else [])
        if frame == "length":
            head.append("content-length: %d" % len(body))
        elif frame == "close":
            head.append("connection: close")
        else:
            head.append("transfer-encoding: chunked")
        pieces = [body]
        if frame in ("pieces", "close"):
            cuts = sorted(rng.randrange(len(body) + 1) for _ in range(3))
            pieces = [piece for piece in (body[:cuts[0]], body[cuts[0]:cuts[1]], body[cuts[1]:cuts[2]], body[cuts[2]:]) if piece]
        if frame in ("chunked", "pieces"):
            pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]
        start = ("\r\n".join(head) + "\r\n\r\n").encode()
        if frame in ("length", "chunked"):
            pieces = [start + b"".join(pieces)]
        else:
            pieces = [start, *pieces]
        if self.end == "cut":
            whole = b"".join(pieces)
            pieces = [whole[:len(start) + (len(whole) - len(start)) // 2]]
        return pieces, frame != "close" and self.end != "cut"


SHAPES = {"openai_chat": 6, "openai_stream": 3, "completions": 1, "responses": 4, "embeddings": 2, "images": 2, "audio": 2, "anthropic": 5,
          "anthropic_stream": 3, "gemini": 4, "bedrock": 2, "ollama": 3, "cohere": 3, "deepseek": 1, "openrouter": 2}


def read_request(stream):
    """Returns the number of the case that a request is; None: the connection was closed."""
    line, seed, length = stream.readline(), None, 0
    if not line:
        return None
    while (header := stream.readline()) not in (b"\r\n", b""):
        name, _, value = header.partition(b":")
        if name.lower() == b"x-case":
            seed = int(value)
        elif name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
    return seed


def serve_one(sock):
    with sock, sock.makefile("rb") as stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (seed := read_request(stream)) is not None:
                case = Case(seed)
                case.request()      # draws the same random numbers as the client has drawn
                pieces, more = case.response()
                for piece in pieces:
                    sock.sendall(piece)
                if not more:
                    return
        except OSError:
            return


def serve(listener):
    """Answers cases until the process is killed."""
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


def run(address, seeds, results):
    """Sends cases one after another; puts (seed, id of the request, problem) for each."""
    sock = None
    for seed in seeds:
        case = Case(seed)
        request = case.request()
        sock = sock or socket.create_connection(address, 20)
        try:
            sock.sendall(request)
            data, keep = answer(sock, case.end == "leave")
        except OSError as error:
            data, keep = b"", False
            problem = repr(error)
        else:
            problem = ""
        found = re.search(rb"(?i)\r\nx-request-id: (\S+)", data)
        results.put((seed, found[1].decode() if found else "", problem))
        if not keep:
            sock.close()
            sock = None
    results.put(None)


def answer(sock, leave):
    """Reads one answer. Returns its head, and whether the connection may be used again."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return data, False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if leave:
        return head, False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    chunked = b"chunked" in head.lower()
    while not (len(body) >= int(length[1]) if length else chunked and (body == b"0\r\n\r\n" or body.endswith(b"\r\n0\r\n\r\n"))):
        more = sock.recv(65536)
        if not more:
            return head, False
        body = body[-8:] + more if chunked and not length else body + more
    return head, b"connection: close" not in head.lower()
