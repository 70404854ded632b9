"""Request bodies shaped as real clients were recorded to send them, of any size, with the model where it is wanted.

    bodies.py CLIENT BYTES [first|last|middle|own] [SEED]     one body on stdout; its path and headers on stderr
    bodies.py                                                 the clients

The text is made here; the shapes are what was recorded: which members there are, in which order, how deep.
"""

import bisect
import functools
import itertools
import json
import random
import sys
from collections import namedtuple

Body = namedtuple("Body", "client path ctype model where data")

WORDS = """the of a to in is and that for with model answer question list step file test server request before after code line each
value error return change because should where first second build run check explain short long path user data café naïve résumé
日本語 données — … function class import print if else while None True""".split()
SNIPPETS = ['\n\n```python\ndef find(items, key):\n\treturn [i for i in items if i["name"] == key]\n```\n\n', '{"model": "evil", "stream": false}',
            '"}],"model":"evil"}', "C:\\Users\\me\\file.txt", "\n- one\n- two\n", 'He said "no".', "grep -rn '\"model\"' . | head\n", "\\\\server\\share\\", "🙂"]


# Each piece of text with the bytes that it takes in JSON; the snippets are rare.
PIECES = [(piece, len(json.dumps(piece, ensure_ascii=False).encode()) - 2) for piece in [word + " " for word in WORDS] * 8 + SNIPPETS]


# Each body has a part of this text, because choosing each word anew took longer than the rest of a test. ENDS: how many bytes stand before each piece.
BOOK = random.Random(1).choices(PIECES, k=100000)
ENDS = [0, *itertools.accumulate(length for _, length in BOOK)]


def prose(r, size):
    """About `size` bytes of JSON text of talk and code."""
    first = r.randrange(len(BOOK))
    last = bisect.bisect_left(ENDS, ENDS[first] + size)
    text = "".join(piece for piece, _ in BOOK[first:last])
    return text if last <= len(BOOK) else text + prose(r, size - ENDS[-1] + ENDS[first])


def tool(r, name, style):
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": prose(r, 60)},
              "model": {"type": "string", "enum": ["a", "b"]}, "limit": {"type": "integer", "minimum": 0}}, "required": ["path"], "additionalProperties": False}
    if style == "anthropic":
        return {"name": name, "description": prose(r, 400), "input_schema": schema}
    if style == "responses":
        return {"type": "function", "name": name, "description": prose(r, 400), "strict": False, "parameters": schema}
    return {"type": "function", "function": {"name": name, "description": prose(r, 400), "parameters": schema}}


def talk(r, size, style):
    """Messages of about `size` bytes."""
    out, have, turn = [], 0, 0
    while have < size:
        text = prose(r, min(size - have, r.choice((40, 300, 1500, 6000))))
        role = ("user", "assistant")[turn % 2]
        if style == "anthropic":
            message = {"role": role, "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}] if turn % 3 else text}
        elif style == "responses":
            message = {"type": "message", "role": role, "content": [{"type": ("input_text", "output_text")[turn % 2], "text": text}]}
        elif style == "gemini":
            message = {"role": ("user", "model")[turn % 2], "parts": [{"text": text}]}
        else:
            message = {"role": role, "content": text if turn % 2 else [{"type": "text", "text": text}]}
        out.append(message)
        have += len(text.encode()) + 60
        turn += 1
    return out


def put(members, model, where, own):
    """The members with the model among them. `own`: its index where the client itself puts it."""
    at = {"first": 0, "last": len(members), "middle": len(members) // 2, "own": own}[where]
    return dict(members[:at] + [("model", model)] + members[at:])


def dump(members, **how):
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"), **how).encode()


def openai_node(r, size, where):
    m = put([("messages", talk(r, size * 2 // 3, "chat")), ("tools", [tool(r, "read", "chat")]), ("metadata", {"note": prose(r, size // 3)}),
             ("stream", True), ("stream_options", {"include_usage": True})], "gpt-4o", where, 0)
    return "/v1/chat/completions", "application/json", "gpt-4o", dump(m)


def openai_python(r, size, where):
    m = put([("messages", talk(r, size * 2 // 3, "chat")), ("tools", [tool(r, "read", "chat")] + [tool(r, "t%d" % i, "chat") for i in range(size // 3000)]),
             ("stream", True)], "gpt-4.1-mini", where, 1)
    return "/v1/chat/completions", "application/json", "gpt-4.1-mini", dump(m)


def openai_python_responses(r, size, where):
    m = put([("input", talk(r, size * 2 // 3, "responses")), ("instructions", prose(r, size // 3))], "gpt-5.5", where, 2)
    return "/v1/responses", "application/json", "gpt-5.5", dump(m)


def anthropic_python(r, size, where):
    m = put([("max_tokens", 1024), ("messages", talk(r, size * 2 // 3, "anthropic")), ("system", prose(r, size // 3)), ("temperature", 0.7)],
            "claude-sonnet-4-5", where, 2)
    return "/v1/messages", "application/json", "claude-sonnet-4-5", dump(m)


def claude_code(r, size, where):
    m = put([("messages", talk(r, size // 2, "anthropic")), ("system", [{"type": "text", "text": prose(r, size // 4), "cache_control": {"type": "ephemeral"}}]),
             ("tools", [tool(r, "Tool%d" % i, "anthropic") for i in range(max(1, size // 3200))]), ("metadata", {"user_id": "user_%x" % r.getrandbits(64)}),
             ("max_tokens", 32000), ("stream", True)], "claude-opus-4-1", where, 0)
    return "/v1/messages", "application/json", "claude-opus-4-1", dump(m)


def codex(r, size, where):
    m = put([("instructions", prose(r, size // 3)), ("input", talk(r, size // 3, "responses")), ("tools", [tool(r, "shell", "responses")]),
             ("tool_choice", "auto"), ("parallel_tool_calls", False), ("reasoning", {"effort": "medium"}), ("store", False), ("stream", True),
             ("include", ["reasoning.encrypted_content"]), ("prompt_cache_key", "%x" % r.getrandbits(64)), ("client_metadata", {"note": prose(r, size // 3)})],
            "gpt-5.5-codex", where, 0)
    return "/v1/responses", "application/json", "gpt-5.5-codex", dump(m)


def opencode(r, size, where):
    m = put([("max_tokens", 32000), ("temperature", 0), ("messages", talk(r, size * 2 // 3, "chat")), ("tools", [tool(r, "bash", "chat")]),
             ("metadata", {"note": prose(r, size // 3)}), ("tool_choice", "auto"), ("stream", True)], "glm-4.6", where, 0)
    return "/v1/chat/completions", "application/json", "glm-4.6", dump(m)


def pretty_print(r, size, where):
    """A person with an editor and curl: indented, escaped beyond need."""
    m = put([("messages", talk(r, size // 2, "chat")), ("notes", {"text": prose(r, size // 4)})], "llama3:8b", where, 0)
    return "/v1/chat/completions", "application/json", "llama3:8b", json.dumps(m, indent=4).encode() + b"\n"


def genai(r, size, where):
    m = {"contents": talk(r, size, "gemini"), "generationConfig": {"temperature": 0.7}}
    return "/v1beta/models/gemini-2.5-flash:generateContent", "application/json", "gemini-2.5-flash", dump(m)


def whisper(r, size, where):
    mark = "----formdata-%x" % r.getrandbits(64)
    field = 'Content-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    model = field % ("model", "whisper-1")
    sound = r.randbytes(size)
    head = 'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    file_part, language = head.encode() + sound + b"\r\n", (field % ("language", "en")).encode()
    parts = {"first": [model.encode(), file_part, language], "own": [model.encode(), file_part, language], "last": [language, file_part, model.encode()],
             "middle": [file_part[:-2 - size // 2] + b"\r\n", model.encode(), head.replace('"file"', '"file2"').encode() + sound[size // 2:] + b"\r\n"]}[where]
    data = b"".join(b"--" + mark.encode() + b"\r\n" + p for p in parts) + b"--" + mark.encode() + b"--\r\n"
    return "/v1/audio/transcriptions", "multipart/form-data; boundary=" + mark, "whisper-1", data


CLIENTS = {f.__name__: f for f in (openai_node, openai_python, openai_python_responses, anthropic_python, claude_code, codex, opencode, pretty_print,
                                   genai, whisper)}
SIZES = (1024, 16 * 1024, 76 * 1024, 300 * 1024, 900 * 1024)
PLACES = ("own", "first", "last", "middle")


@functools.lru_cache(maxsize=256)
def body(client, size, where="own", seed=0):
    """About `size` bytes; the same arguments give the same bytes."""
    r = random.Random(f"{client} {size} {where} {seed}")
    path, ctype, model, data = CLIENTS[client](r, size, where)
    return Body(client, path, ctype, model, where, data)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("\n".join(CLIENTS))
        sys.exit(0)
    made = body(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5])
    print(made.path, made.ctype, made.model, len(made.data), file=sys.stderr)
    sys.stdout.buffer.write(made.data)
