# SPDX-License-Identifier: MIT
"""Demo traffic, LOAD_RATE requests a second (default 5): models of both protocols, some streamed, some refused."""
import http.client
import itertools
import json
import os
import random
import time

REQUESTS = (
    ("/v1/chat/completions", "glm-4.6", 6), ("/v1/chat/completions", "gpt-5.5", 4), ("/v1/responses", "gpt-5.5", 2),
    ("/v1/messages", "claude-sonnet-4-5", 6), ("/v1/messages", "glm-4.6", 1),
    ("/v1/chat/completions", "kimi-k2", 1),     # refused: its credential is not there
)
PROJECTS = ("search", "support", "nightly", "")


def ask(host, port):
    path, model, _ = random.choices(REQUESTS, [weight for _, _, weight in REQUESTS])[0]
    body = {"model": model, "stream": random.random() < 0.5}
    if path.endswith("/responses"):
        body["input"] = "hello"
    else:
        body.update(messages=[{"role": "user", "content": "hello " * random.randrange(1, 200)}], max_tokens=64)
    headers = {"content-type": "application/json", "user-agent": "demo-load"}
    if path.endswith("/messages"):
        headers.update({"x-api-key": "sk-demo-client", "anthropic-version": "2023-06-01"})
    else:
        headers["authorization"] = "Bearer sk-demo-client"
    project = random.choice(PROJECTS)
    if project:
        headers["x-headroom-project"] = project
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def main():
    host, _, port = os.environ.get("LOAD_TARGET", "haproxy:8080").partition(":")
    rate = float(os.environ.get("LOAD_RATE", "5"))
    counts = {}
    for number in itertools.count(1):
        try:
            status = ask(host, int(port))
        except OSError as error:
            status = type(error).__name__
        counts[status] = counts.get(status, 0) + 1
        if number % 100 == 0:
            print(number, counts, flush=True)
        time.sleep(random.expovariate(rate))


main()
