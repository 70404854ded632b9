# SPDX-License-Identifier: MIT
"""Requests through HAProxy, four plain ones and four streams of a second at a time, until SIGTERM: says how many, exit 1 where one was not answered
with 200, or a stream not to its end."""
import http.client
import json
import signal
import sys
import threading

stop = threading.Event()
good, bad = [], []
EVENTS = 20


def turn(stream):
    body = {"model": "glm-4.6", "messages": []}
    if stream:
        body.update(stream=True, stream_options={"include_usage": True}, max_tokens=EVENTS)
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            whole = answer.status == 200 and (not stream or text.count(b"\ndata:") == EVENTS + 1 and text.endswith(b"data: [DONE]\n\n"))
            (good if whole else bad).append((answer.status, text))
        except (OSError, http.client.HTTPException) as error:
            bad.append(error)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
threads = [threading.Thread(target=turn, args=(number % 2 == 1,)) for number in range(8)]
for thread in threads:
    thread.start()
while not stop.wait(0.1):
    pass
for thread in threads:
    thread.join()
print("%d requests, %d failed %s" % (len(good) + len(bad), len(bad), bad[:3] or ""))
sys.exit(1 if bad or not good else 0)
