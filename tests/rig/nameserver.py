"""A DNS server for a test: it answers A and AAAA from a dict that the test may change at any time, over UDP and TCP."""
import ipaddress
import socket
import socketserver
import struct
import threading
import time

A, CNAME, AAAA = 1, 5, 28
TYPES = {A: "A", AAAA: "AAAA"}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


class NameServer:
    """`zone`: {name: [addresses of both families], or the name that it is an alias of}. A name that is not there does not exist. `code`: if set,
    every answer is this error. `silent`: True answers nothing. `delay`: seconds before an answer. `asked`: (name, "A" or "AAAA") of each question."""

    def __init__(self, zone, address=("127.0.0.1", 53)):
        self.zone, self.code, self.silent, self.delay, self.asked = dict(zone), None, False, 0, []
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        server = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                answer = server.answer(data)
                if answer:
                    sock.sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                head = self.rfile.read(2)
                answer = server.answer(self.rfile.read(int.from_bytes(head, "big")), 65535) if head else None
                if answer:
                    self.wfile.write(len(answer).to_bytes(2, "big") + answer)

        shape = {"address_family": family, "allow_reuse_address": True, "daemon_threads": True}
        self.servers = [type(base.__name__, (base,), shape)(address, handler)
                        for base, handler in ((socketserver.ThreadingUDPServer, Udp), (socketserver.ThreadingTCPServer, Tcp))]
        for one in self.servers:
            threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.servers:
            one.shutdown()
            one.server_close()

    def answer(self, query, room=None):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        name = ".".join(labels).lower()
        kind, = struct.unpack_from("!H", query, at + 1)
        question, rest = query[12:at + 5], query[at + 5:]
        # The OPT record says how long an answer may be.
        most = room or (struct.unpack_from("!H", rest, 3)[0] if rest[:3] == b"\0\0\x29" else 512)
        self.asked.append((name, TYPES.get(kind, kind)))
        if self.silent:
            return None
        time.sleep(self.delay)
        found, alias, owner = self.zone.get(name, ()), b"", b"\xc0\x0c"
        if isinstance(found, str):
            target = b"".join(bytes([len(label)]) + label.encode() for label in found.split(".")) + b"\0"
            alias = b"\xc0\x0c" + struct.pack("!HHIH", CNAME, 1, 1, len(target)) + target
            found, owner = self.zone[found], struct.pack("!H", 0xc000 + 12 + len(question) + 12)
        found = [ipaddress.ip_address(one) for one in found]
        code = self.code or (NOERROR if name in self.zone else NXDOMAIN)
        records = [owner + struct.pack("!HHIH", kind, 1, 1, len(one.packed)) + one.packed
                   for one in found if not code and (kind, one.version) in ((A, 4), (AAAA, 6))]
        records[:0] = [alias] if alias and not code else []
        flags, body = 0x8180 | code, b"".join(records)
        if 12 + len(question) + len(body) > most:
            flags, records, body = flags | 0x0200, [], b""
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + body
