"""An OpenTelemetry collector of the test's own: takes spans by OTLP over HTTP, and answers as a test says. The numbers of the fields are those of opentelemetry-proto
(trace.proto, common.proto, resource.proto, trace_service.proto), so that what the agent writes is read by them and not by its own code."""
import gzip
import http.server
import json
import socket
import struct
import threading
import time

import harness

# {number: (name, kind, repeated)} of each message.
ANY = {1: ("text", "text", False), 2: ("bool", "bool", False), 3: ("int", "int", False), 4: ("double", "double", False), 5: ("array", "Array", False)}
MESSAGES = {
    "Request": {1: ("resource_spans", "ResourceSpans", True)},
    "ResourceSpans": {1: ("resource", "Resource", False), 2: ("scope_spans", "ScopeSpans", True), 3: ("schema_url", "text", False)},
    "Resource": {1: ("attributes", "KeyValue", True)},
    "ScopeSpans": {1: ("scope", "Scope", False), 2: ("spans", "Span", True), 3: ("schema_url", "text", False)},
    "Scope": {1: ("name", "text", False), 2: ("version", "text", False)},
    "Span": {1: ("trace_id", "bytes", False), 2: ("span_id", "bytes", False), 3: ("trace_state", "text", False), 4: ("parent_span_id", "bytes", False),
             5: ("name", "text", False), 6: ("kind", "int", False), 7: ("start", "fixed64", False), 8: ("end", "fixed64", False), 9: ("attributes", "KeyValue", True),
             15: ("status", "Status", False), 16: ("flags", "fixed32", False)},
    "Status": {2: ("message", "text", False), 3: ("code", "int", False)},
    "KeyValue": {1: ("key", "text", False), 2: ("value", "Any", False)},
    "Any": ANY,
    "Array": {1: ("values", "Any", True)},
}
WIRE = {"text": 2, "bytes": 2, "bool": 0, "int": 0, "double": 1, "fixed64": 1, "fixed32": 5}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            assert byte or shift == 7, "a number that is longer than it has to be"
            return value, at


def decode(data, message="Request"):
    """Strictly: each field is known, of the right kind, and stands there once unless it is repeated."""
    out, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        name, kind, repeated = MESSAGES[message][tag >> 3]
        assert tag & 7 == WIRE.get(kind, 2), (message, name)
        if tag & 7 == 0:
            value, at = varint(data, at)
            value = bool(value) if kind == "bool" else value - (1 << 64) if value >> 63 else value
        elif tag & 7 == 2:
            size, at = varint(data, at)
            assert len(data) - at >= size, (message, name)
            value, at = data[at:at + size], at + size
            value = value.decode("utf-8") if kind == "text" else value.hex() if kind == "bytes" else decode(value, kind)
        else:
            size = 8 if tag & 7 == 1 else 4
            value = struct.unpack({"double": "<d", "fixed64": "<Q", "fixed32": "<I"}[kind], data[at:at + size])[0]
            at += size
        if repeated:
            out.setdefault(name, []).append(value)
        else:
            assert name not in out, (message, name)
            out[name] = value
    if message == "Any":
        assert len(out) == 1
        return [value for value in out.values()][0]
    return out.get("values", []) if message == "Array" else out


def attributes_of(items):
    out = {item["key"]: item["value"] for item in items}
    assert len(out) == len(items), "a key twice"
    return out


class Collector:
    """`spans`: those that were taken, as dicts with `attributes` and `resource`, in the order in which they came. `respond(spans)` may return (status, headers, body),
    or None for the usual answer; then a status of 200 takes the spans. `requests`: (headers, number of spans, size) of all requests. `bodies`: what they held, unpacked."""

    def __init__(self, tls=None, port=0):
        self.spans, self.requests, self.bodies, self.respond, self.tls, self.port = [], [], [], None, tls, port
        self.arrived = {}   # when the first span of a request came
        self.busy = 0       # requests that `respond` has not answered
        self.lock, self.server = threading.Lock(), None
        self.up()

    def up(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.serve(self)

            def log_message(self, *_):
                pass

        self.open = set()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def process_request(self, sock, address):
                outer.open.add(sock)
                super().process_request(sock, address)

            def shutdown_request(self, sock):
                outer.open.discard(sock)
                super().shutdown_request(sock)

            def handle_error(self, *_):     # the shipper was killed in the middle of a request
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(.02,), daemon=True).start()

    def down(self):
        self.server.shutdown()
        self.server.server_close()
        for sock in list(self.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def url(self, path="", host="127.0.0.1"):
        return "%s://%s:%d%s" % ("https" if self.tls else "http", host, self.port, path)

    def serve(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        assert request.path == "/v1/traces" and request.headers["content-type"] == "application/x-protobuf" and request.headers["content-encoding"] == "gzip"
        text = gzip.decompress(body)
        taken = []
        for resource in decode(text)["resource_spans"]:
            for scope in resource["scope_spans"]:
                for span in scope["spans"]:
                    taken.append(dict(span, attributes=attributes_of(span["attributes"]), resource=attributes_of(resource["resource"]["attributes"]), scope=scope["scope"]))
        self.busy += 1
        said = self.respond(taken) if self.respond else None
        self.busy -= 1
        status, headers, answer = said or (200, {}, b"")
        with self.lock:
            self.requests.append((dict(request.headers), len(taken), len(body)))
            self.bodies.append(text)
            if status == 200:
                self.spans.extend(taken)
                for span in taken:
                    self.arrived.setdefault(span["attributes"]["spoa_llm.request.id"], time.time())
        request.send_response(status)
        for name, value in dict({"content-type": "application/x-protobuf", "content-length": str(len(answer))}, **headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(answer)

    def by_id(self):
        """{the id of a request: its spans}"""
        out = {}
        for span in list(self.spans):
            out.setdefault(span["attributes"]["spoa_llm.request.id"], []).append(span)
        return out

    def wait(self, count, seconds=20):
        """Waits for spans of `count` requests."""
        harness.until(lambda: len(self.by_id()) >= count, seconds, lambda: "%d of %d; %d requests" % (len(self.by_id()), count, len(self.requests)), step=.05)
        return self.by_id()


def partial(rejected):
    """The answer of a collector that rejects some."""
    inner = b"\x08" + bytes([rejected]) + b"\x12\x04no \x01"
    return 200, {}, b"\x0a" + bytes([len(inner)]) + inner


def dump(spans):
    """For a failure."""
    return json.dumps(spans, indent=1)
