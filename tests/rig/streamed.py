"""Answers that stream, at random, in every provider's shape; what they tell of their usage; and what the tap's reader says that they tell."""
import base64
import json
import struct
import subprocess

SSE, NDJSON, JSON, BEDROCK = "text/event-stream", "application/x-ndjson", "application/json", "application/vnd.amazon.eventstream"


class Event:
    """One event: the object; the usage in it, or None; whether it has content; whether that usage is the whole answer's; whether its type is named; whether
    a choice in it goes on (None: it has none); whether it says that the usage before it is the whole answer's."""

    def __init__(self, data, usage=None, content=False, final=False, typed=False, error=False, running=None, ends=False):
        self.data, self.usage, self.content, self.final, self.typed, self.error, self.running = data, usage, content, final, typed, error, running
        self.ends = ends


class Told:
    """What the events so far have told."""

    def __init__(self):
        self.first = self.last = None
        self.events = self.content = 0
        self.final = self.stale = self.typed = self.error = self.running = self.refuted = False

    def add(self, event):
        self.events += 1
        self.error |= event.error
        self.running = self.running if event.running is None else event.running
        if event.content:
            self.content += 1
            self.refuted |= self.final
            self.final, self.stale = False, True
        if event.usage is not None:
            self.first = event.usage if self.first is None else self.first
            self.refuted |= self.final and event.final and counts(self.last) != counts(event.usage)
            self.last, self.final, self.stale, self.typed = event.usage, event.final, False, event.typed
        elif event.ends and not self.stale:
            self.final = True

    def end(self, proven=True):
        """The answer came to its end; if that is not `proven`, a connection may have broken."""
        if self.last is not None and not (self.stale or self.typed or self.error or (self.running and not proven)):
            self.final = True

    def result(self):
        return (self.final and not self.refuted, self.content, self.first, self.last)


def counts(usage):
    return {name: value for name, value in usage.items() if "oken" in name and isinstance(value, int)}


# ---------------------------------------------------------------- usages and what looks like them

WORDS = ["usage", '"usage":{"prompt_tokens":9}', 'data: {"usage":{}}\n\n', "\n\n", "\r", "\\", '"', "{", "}", "]", "é", "漢", "\U0001f600", "a", " word", "\x7f", "\0", "[DONE]", "/", "//"]


def text(r):
    return "".join(r.choice(WORDS) for _ in range(r.randint(1, 5)))


def fake(r, depth=0):
    """A value that has usage in it, where it does not count."""
    kind = r.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return {"prompt_tokens": 99999, "completion_tokens": 99999}
    if kind == 1:
        return r.choice([None, True, False, 0, -1, 1.5, 1e300, "", []])
    if kind == 2:
        return text(r)
    if kind == 3:
        return {"promptTokenCount": 99999, "input_tokens": 99999}
    if kind == 4:
        return {r.choice(["usage", "usageMetadata", "type", "meta", "x" * 70, "us\\age", "choices"]): text(r)}
    if kind == 5:
        return [fake(r, depth + 1) for _ in range(r.randrange(4))]
    names = ["usage", "usageMetadata", "message", "response", "choices", "candidates", "delta", "error", "type", "finish_reason", "done", "eval_count", "meta", "bytes", "x"]
    return {r.choice(names): fake(r, depth + 1) for _ in range(r.randrange(4))}


def shuffled(r, members, extra=("tools", "obfuscation", "system_fingerprint", "logprobs", "metadata_of_mine", "created", "p")):
    """An object of the members and of others that have fakes in them, in any order."""
    members = list(members.items()) + [(name, fake(r)) for name in extra if r.random() < 0.15]
    r.shuffle(members)
    return dict(members)


def chat_usage(r, output=None):
    usage = {"prompt_tokens": r.randrange(5000), "completion_tokens": r.randrange(5000) if output is None else output}
    if r.random() < 0.5:
        usage["prompt_tokens_details"] = {"cached_tokens": r.randrange(100), "audio_tokens": 0, "note": text(r)}
    return shuffled(r, usage, ("cost", "x"))


# ---------------------------------------------------------------- shapes

def choice(r, delta, finish=None, **more):
    return shuffled(r, dict({"index": 0, "delta": delta, "finish_reason": finish}, **more))


def deltas(r):
    """(delta, whether it has content)"""
    return r.choice([({"content": text(r)}, True), ({"reasoning_content": text(r)}, True), ({"reasoning": text(r), "content": None}, True), ({"content": ""}, False),
                     ({"tool_calls": [{"index": 0, "function": {"arguments": text(r)}}]}, True), ({}, False), ({"role": "assistant", "content": ""}, False),
                     ({"content": [{"type": "text", "text": text(r)}]}, True), ({"tool_calls": []}, False), ({"audio": {"data": "AAAA"}}, True)])


def chat(r):
    how = r.choice(["openai", "untold", "last", "after", "running", "groq", "moonshot"])
    null = {"usage": None} if how == "openai" or r.random() < 0.3 else {}
    head = {"id": "c", "object": "chat.completion.chunk", "model": text(r)}
    events = []
    for k in range(r.randrange(6)):
        delta, content = deltas(r)
        usage = chat_usage(r, k) if how == "running" else None
        events.append(Event(shuffled(r, {**head, "choices": [choice(r, delta)], **({"usage": usage} if usage else null)}), usage, content, running=True))
    usage = chat_usage(r)
    with_it = how in ("last", "running")
    inside = {"usage": usage} if how == "moonshot" else {}
    more = {"usage": usage} if with_it else {"x_groq": {"id": "r", "usage": usage}} if how == "groq" else {}
    events.append(Event(shuffled(r, {**head, "choices": [choice(r, {}, "stop", **inside)], **more}), usage if with_it or how in ("groq", "moonshot") else None, running=False))
    if how == "openai":
        events.append(Event(shuffled(r, {**head, "choices": [], "usage": usage}), usage, final=True))
        if r.random() < 0.1:
            usage = r.choice([usage, chat_usage(r)])
            events.append(Event(shuffled(r, {**head, "choices": [], "usage": usage}), usage, final=True))
    if how == "after":
        events.append(Event(shuffled(r, {**head, "choices": [choice(r, {"role": "assistant", "content": ""})], "usage": usage}), usage))
    if r.random() < 0.1:
        events.insert(r.randrange(len(events)), Event({"error": {"message": text(r)}}, error=True))
    return SSE, events[:-1] if how == "running" and len(events) > 1 and r.random() < 0.3 else events, r.random() < 0.8


def anthropic(r, wrap=False):
    start = {"input_tokens": r.randrange(5000), "output_tokens": 1, "cache_read_input_tokens": r.randrange(9)}
    events = [Event({"type": "message_start", "message": shuffled(r, {"id": "m", "content": [], "usage": start})}, start, typed=True)]
    for _ in range(r.randrange(5)):
        events += r.choice([[Event({"type": "ping"}, typed=True)],
                            [Event({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": fake(r)}}, typed=True)],
                            [Event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text(r)}}, content=True, typed=True)],
                            [Event({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text(r)}}, content=True, typed=True)]])
    if r.random() < 0.2:
        return SSE, events + [Event({"type": "error", "error": {"type": "overloaded_error"}}, error=True, typed=True)], False
    usage, why = {"output_tokens": r.randrange(5000)}, r.choice(["end_turn", None])
    events.append(Event(shuffled(r, {"type": "message_delta", "delta": {"stop_reason": why}, "usage": usage}), usage, final=why is not None, typed=True))
    return SSE, events + [Event({"type": "message_stop"}, typed=True, ends=True)], False


def responses(r):
    echo = {"tools": fake(r), "metadata": {"usage": text(r), "x": fake(r)}, "instructions": text(r), "input": fake(r)}
    events = [Event({"type": "response.created", "response": shuffled(r, {**echo, "usage": None})}, typed=True)]
    for _ in range(r.randrange(5)):
        events.append(r.choice([Event({"type": "response.output_text.delta", "delta": text(r)}, content=True, typed=True),
                                Event({"type": "response.output_item.done", "item": {"usage": fake(r), "content": [fake(r)]}}, typed=True)]))
    usage = {"input_tokens": r.randrange(999), "output_tokens": r.randrange(999), "input_tokens_details": {"cached_tokens": 0}}
    kind = r.choice(["completed", "incomplete", "failed"])
    events.append(Event(shuffled(r, {"type": "response." + kind, "response": shuffled(r, {**echo, "usage": usage, "output": [fake(r)]})}), usage, final=True, typed=True))
    return SSE, events, False


def gemini(r):
    events = []
    for k in range(r.randint(1, 5)):
        last = k == 4 or r.random() < 0.2
        parts = [r.choice([{"text": text(r)}, {"functionCall": {"name": "f", "args": fake(r)}}, {"inlineData": {"data": "AAAA"}}]) for _ in range(r.randrange(3))]
        usage = {"promptTokenCount": 8, "candidatesTokenCount": 10 * k, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}]}
        candidate = {"content": {"parts": parts, "role": "model"}, **({"finishReason": "STOP"} if last else {})}
        data = shuffled(r, {"candidates": [candidate], "usageMetadata": usage, "modelVersion": text(r)})
        events.append(Event(data, usage, bool(parts), running=not last))
        if last:
            break
    return r.choice([SSE, JSON]), events, False


def ollama(r):
    chatting = r.random() < 0.5
    events = []
    for _ in range(r.randrange(5)):
        calls = {"tool_calls": [{"function": {"name": "f", "arguments": fake(r)}}]} if r.random() < 0.3 else {}
        said = r.choice(["", text(r)])
        data = {"message": {"role": "assistant", "content": said, **calls}} if chatting else {"response": said}
        events.append(Event(shuffled(r, {**data, "done": False, "model": text(r)}), content=bool(said or (chatting and calls))))
    usage = {"prompt_eval_count": r.randrange(999), "eval_count": r.randrange(999)}
    data = {"message": {"content": ""}} if chatting else {"response": "", "context": [1, 2, 3]}
    return NDJSON, events + [Event(shuffled(r, {**data, "done": True, **usage}), usage, final=True)], False


def cohere(r):
    if r.random() < 0.5:
        usage = {"billed_units": {"input_tokens": 3, "output_tokens": r.randrange(99)}, "note": fake(r)}
        events = [Event({"event_type": "text-generation", "text": text(r)}, content=True, typed=True) for _ in range(r.randrange(3))]
        end = {"event_type": "stream-end", "response": shuffled(r, {"text": text(r), "tool_calls": [{"parameters": fake(r)}], "meta": usage})}
        return NDJSON, events + [Event(end, usage, final=True, typed=True)], False
    usage = {"billed_units": {"input_tokens": 3, "output_tokens": r.randrange(99)}}
    events = [Event({"type": "content-delta", "delta": {"message": {"content": {"text": text(r)}}}}, content=True, typed=True) for _ in range(r.randrange(3))]
    return SSE, events + [Event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}, usage, final=True, typed=True)], False


def sound(r):
    usage = {"type": "tokens", "input_tokens": 3, "output_tokens": r.randrange(99)}
    delta, done = r.choice([("speech.audio.delta", "speech.audio.done"), ("transcript.text.delta", "transcript.text.done"),
                            ("image_generation.partial_image", "image_generation.completed"), ("message.output.delta", "conversation.response.done")])
    events = [Event({"type": delta, "audio": "AAAA", "delta": text(r)}, content=delta.endswith("delta"), typed=True) for _ in range(r.randrange(3))]
    return SSE, events + [Event(shuffled(r, {"type": done, "b64_json": "A" * r.randrange(300), "usage": usage}), usage, final=True, typed=True)], False


def one_object(r):
    usage = {"prompt_tokens": r.randrange(999), "total_tokens": r.randrange(999)}
    data = r.choice([[{"embedding": [r.random() for _ in range(r.randrange(30))], "index": 0, "usage": fake(r)}], [{"b64_json": "A" * r.randrange(900)}]])
    return JSON, [Event(shuffled(r, {"object": "list", "data": data, "usage": usage}), usage)], False


def converse(r):
    usage = {"inputTokens": 3, "outputTokens": r.randrange(99), "totalTokens": 102}
    events = [Event({"role": "assistant", "p": "ab"})]
    events += [Event({"contentBlockIndex": 0, "delta": r.choice([{"text": text(r)}, {"toolUse": {"input": text(r)}}]), "p": "a"}, content=True) for _ in range(r.randrange(4))]
    return BEDROCK, events + [Event(shuffled(r, {"metrics": {"latencyMs": 3}, "usage": usage}), usage, final=True)], False


def invoke(r):
    counts = {"inputTokenCount": 3, "outputTokenCount": r.randrange(99), "cacheReadInputTokenCount": 1, "cacheWriteInputTokenCount": 2, "firstByteLatency": 9}
    made = {"inputTokens": 3, "outputTokens": counts["outputTokenCount"], "cacheReadInputTokens": 1, "cacheWriteInputTokens": 2}
    metrics = {"amazon-bedrock-invocationMetrics": counts}
    if r.random() < 0.5:
        _, events, _ = anthropic(r)
        stop = events[-1]
        if stop.error:
            return BEDROCK, events, True
        stop.data.update(metrics)
        return BEDROCK, events, True
    name = r.choice(["generation", "outputText"])
    events = [Event({name: text(r)}, content=True) for _ in range(r.randrange(4))]
    return BEDROCK, events + [Event(shuffled(r, {name: "", **metrics}), made, final=True)], True


SHAPES = [chat, chat, chat, anthropic, responses, gemini, ollama, cohere, sound, one_object, converse, invoke]


# ---------------------------------------------------------------- framings

def dumps(r, data, lines=False):
    """JSON as different servers write it. `lines`: over several lines, none of them empty."""
    separators = r.choice([(",", ":"), (", ", ": "), (" ,", " : ")])
    written = json.dumps(data, ensure_ascii=r.random() < 0.5, indent=r.choice([0, 1]) if lines else None, separators=separators)
    if r.random() < 0.1:
        written = written.replace("/", "\\/")
    return written.encode()


def message(payload):
    headers = b"\x0b:event-type\x07\x00\x05chunk\x0d:content-type\x07\x00\x10application/json"
    return struct.pack(">III", 16 + len(headers) + len(payload), len(headers), 0) + headers + payload + b"{\"{\""


def framed(r, kind, events, flag):
    """The body in pieces, each with the event that it completes, or None."""
    out = []
    if kind == SSE:
        end = r.choice([b"\n", b"\r\n", b"\r"])
        out.append((r.choice([b"", b"\xef\xbb\xbf"]), None))
        for event in events:
            if r.random() < 0.2:
                out.append((r.choice([b": OPENROUTER PROCESSING", b":", b"id: 3", b"retry: 9", b"data"]) + end + end, None))
            space = r.choice([b"", b" "])
            lines = dumps(r, event.data, r.random() < 0.3).split(b"\n")
            head = b"event: " + event.data["type"].encode() + end if event.typed and "type" in event.data else b""
            out.append((head + b"".join(b"data:" + space + line + end for line in lines) + end, event))
        if flag:
            out.append((b"data: [DONE]" + end + end, "done"))
    elif kind == NDJSON:
        out = [(dumps(r, event.data) + r.choice([b"\n", b"\r\n", b"\n\n"]), event) for event in events]
    elif kind == BEDROCK:
        for event in events:
            data = dumps(r, event.data)
            if flag:
                data = dumps(r, shuffled(r, {"bytes": base64.b64encode(data).decode(), "p": "abc"}, ()))
            out.append((message(data), event))
    elif len(events) == 1 and "candidates" not in events[0].data:
        out = [(r.choice([b"", b"\xef\xbb\xbf", b" \n"]) + dumps(r, events[0].data, r.random() < 0.3) + r.choice([b"", b"\n"]), events[0])]
    else:
        for i, event in enumerate(events):
            out.append((r.choice([b",", b"\n,\r\n", b" , "]) if i else b"[", None))
            out.append((dumps(r, event.data, r.random() < 0.5), event))
        out.append((b"]", "done"))
    return out


def expected(pieces, whole):
    told = Told()
    done = False
    for _, event in pieces:
        done |= event == "done"
        if isinstance(event, Event):
            told.add(event)
    if whole or done:
        told.end(done)
    return told


def question(kind, body, steps=b"", whole=True):
    return bytes([whole]) + b"".join(struct.pack("<I", len(part)) + part for part in (kind.encode(), steps, body))


def answers(driver, questions):
    """(final, lost, events, content, tier, first, last) of each question; the last two as objects, None if there is none."""
    run = subprocess.run([driver], input=b"".join(questions), capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[:4000]
    out = []
    for line in run.stdout.decode().splitlines():
        final, lost, events, content, tier, first, last = line.split(" ")
        first, last = (None if said == "-" else json.loads(bytes.fromhex(said)) for said in (first, last))
        out.append((final == "1", lost == "1", int(events), int(content), "" if tier == "-" else bytes.fromhex(tier).decode(), first, last))
    assert len(out) == len(questions)
    return out
