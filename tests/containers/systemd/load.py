# SPDX-License-Identifier: MIT
"""Requests through HAProxy, four at a time, until SIGTERM: says how many, exit 1 where one was not answered with 200."""
import http.client
import signal
import sys
import threading

stop = threading.Event()
good, bad = [], []


def turn():
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
            connection.request("POST", "/v1/chat/completions", '{"model":"glm-4.6","messages":[]}', {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            (good if answer.status == 200 else bad).append((answer.status, text))
        except OSError as error:
            bad.append(error)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
threads = [threading.Thread(target=turn) for _ in range(4)]
for thread in threads:
    thread.start()
while not stop.wait(0.1):
    pass
for thread in threads:
    thread.join()
print("%d requests, %d failed %s" % (len(good) + len(bad), len(bad), bad[:3] or ""))
sys.exit(1 if bad or not good else 0)
