"""Query strings sent through a real HAProxy with the shipped rules, and the real agent: which model they read, and what the upstream got."""
import concurrent.futures
import json
import re
import socket

import evidence
import harness
import processes

WAYS = 8        # connections, each with its share of a batch
HEAD = re.compile(rb"HTTP/1\.1 (\d+)[^\r]*\r\n(.*?)\r\n\r\n", re.S)
TARGET = b"/v1/chat/completions"


def rules(text, port):
    """Returns haproxy.cfg with answers that say what the rules read, and with an upstream that says what it got."""
    text = re.sub(r"(?m)^frontend llm$", "frontend llm\n    http-request set-log-level silent\n"
                  "    http-after-response set-header x-read \"%[var(txn.llm.line),hex],%[var(txn.llm.code)],%[var(txn.llm.allow)],\"", text)
    return text + ("\nfrontend echo\n    mode http\n    timeout client 1m\n    bind 127.0.0.1:%d\n    http-request set-log-level silent\n"
                   "    http-request return status 200 hdr x-saw \"%%[query,hex].\"\n" % port)


class Queries:
    """HAProxy, the agent and an upstream that gets the operator's credential, whatever the model."""

    def __init__(self, haproxy):
        port = processes.free_port()
        echo = "http://127.0.0.1:%d" % port
        config = {"routes": [{"model_prefix": "*", "upstream": echo, "auth": "env:DIFFERENTIAL_KEY"}], "openai_target": echo}
        self.gateway = harness.Gateway(haproxy, [], config, {"DIFFERENTIAL_KEY": evidence.secret("differential")},
                                       edit=lambda text: rules(text, port))
        self.sockets = [None] * WAYS

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in filter(None, self.sockets):
            one.close()
        self.gateway.close()

    def ask(self, queries):
        """Returns (status, name, whether the credential was replaced, query that the upstream got or None) for each query."""
        with concurrent.futures.ThreadPoolExecutor(WAYS) as pool:
            parts = list(pool.map(self._share, range(WAYS), [queries[way::WAYS] for way in range(WAYS)]))
        out = [None] * len(queries)
        for way, part in enumerate(parts):
            out[way::WAYS] = part
        return out

    def _share(self, way, queries):
        out = []
        while len(out) < len(queries):      # HAProxy closes the connection after what it cannot read
            got = self._over_one(way, queries[len(out):])
            assert got, "no answer to the query %r" % queries[len(out)]
            out += got
        return out

    def _over_one(self, way, queries):
        """Sends all queries at once over one connection, and returns the answers that come before it is closed."""
        fresh = self.sockets[way] is None
        if fresh:
            self.sockets[way] = socket.create_connection(self.gateway.address, 60)
        connection, out, data = self.sockets[way], [], b""
        queries = queries[:200]             # as many as the sockets' buffers hold, because nobody reads meanwhile
        try:
            connection.sendall(b"".join(b"POST %s?%s HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n" % (TARGET, one) for one in queries))
            while len(out) < len(queries):
                more = connection.recv(1 << 18)
                if not more:
                    break
                data, at = data + more, 0
                while (head := HEAD.match(data, at)):
                    length = re.search(rb"(?i)content-length: (\d+)", head[2])
                    end = head.end() + int(length[1] if length else 0)
                    if end > len(data):
                        break
                    out.append(answer(int(head[1]), head[2]))
                    at = end
                data = data[at:]
        except ConnectionError:
            pass
        if len(out) < len(queries):
            connection.close()
            self.sockets[way] = None
            return out if out or fresh else self._over_one(way, queries)
        return out


def answer(status, head):
    """Returns what an answer's headers say, as ask() does."""
    said = re.search(rb"(?i)x-read: ([0-9A-F]*),([a-z_]*),([a-z]*),", head)
    saw = re.search(rb"(?i)x-saw: ([0-9A-F]*)\.", head)
    if status == 200:
        assert said and saw, head
        name = json.loads(b'{"":""%s}' % bytes.fromhex(said[1].decode()))["model"].encode()
        return "found" if name else "none", name, said[3] == b"authorization", bytes.fromhex(saw[1].decode())
    assert status in (400, 413) and not saw, "status %d\n%s" % (status, head.decode("latin-1"))
    return "refused", b"", False, None
