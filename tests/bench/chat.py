"""The request bodies of the benchmarks: the same bytes each time and on every machine."""
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
import bodies  # noqa: E402

MODEL = "gpt-4.1-mini"


def chat(size, last=True):
    """Exactly `size` bytes. `last`: the model stands behind the conversation, where openai-python puts it; else before it."""
    rand = random.Random("bench %d" % size)
    messages = bodies.talk(rand, size // 2, "chat")
    members = [("messages", messages), ("tools", [bodies.tool(rand, "read", "chat")] if size > 4096 else []),
               ("temperature", 0.7), ("stream", True), ("user", "")]

    def put():
        return bodies.dump(dict(members + [("model", MODEL)] if last else [("model", MODEL)] + members))

    def room(message):
        return len(bodies.dump(message)) + 1

    have = len(put())
    while have > size:        # shorter messages until it fits ...
        have -= room(messages.pop())
    words = random.Random("words %d" % size)
    while size - have > 6000:
        messages.append({"role": "user", "content": bodies.prose(words, 5000)})
        have += room(messages[-1])
    while have > size:
        have -= room(messages.pop())
    members[-1] = ("user", ("one user, " * size)[:size - len(put())])     # ... then to the byte; by words, because a long run of letters could be base64
    body = put()
    assert len(body) == size and json.loads(body)["model"] == MODEL
    return body


def coding_agent():
    """80 KB as Claude Code sends them: the model first, then messages, a system prompt, and tools whose schemas have a property
    named `model` of their own."""
    return bodies.body("claude_code", 80 * 1024).data
