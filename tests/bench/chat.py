"""The request bodies of the benchmarks: chats of exactly a size, the same bytes each time and everywhere."""
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
import bodies  # noqa: E402

MODEL = "gpt-4.1-mini"


def chat(size, last=True):
    """`size` bytes, the model behind the conversation, where openai-python puts it, or before it."""
    rand = random.Random("bench %d" % size)
    members = [("messages", bodies.talk(rand, size // 2, "chat")), ("tools", [bodies.tool(rand, "read", "chat")] if size > 4096 else []),
               ("temperature", 0.7), ("stream", True), ("user", "")]

    def put():
        return bodies.dump(dict(members + [("model", MODEL)] if last else [("model", MODEL)] + members))

    while len(put()) > size:        # shorter messages until it fits ...
        members[0][1].pop()
    words = random.Random("words %d" % size)
    while size - len(put()) > 6000:
        members[0][1].append({"role": "user", "content": bodies.prose(words, 5000)})
    while len(put()) > size:
        members[0][1].pop()
    members[-1] = ("user", "u" * (size - len(put())))       # ... then to the byte
    body = put()
    assert len(body) == size and json.loads(body)["model"] == MODEL
    return body
