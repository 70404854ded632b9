"""What another local user tries: everything that would let him read a log line or write one. Reads [places, ports, seconds] as JSON from standard
input, tries, prints a line, listens for `seconds` to what he bound, and prints as JSON what he managed, what he bound, and what he heard."""
import json
import os
import select
import socket
import sys
import time

places, ports, seconds = json.load(sys.stdin)
managed, heard, ears = [], [], []


def attempt(what, action):
    try:
        ears.append((what, action()))
        managed.append(what)
    except OSError:
        pass


def bind(kind, address, *options):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, kind)
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(address)
    if kind == socket.SOCK_STREAM:
        sock.listen(16)
    return sock


def connect(kind, path):
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.connect(path)
    sock.send(b"5 forge")
    return sock


for place in places:
    for name, kind in (("log.sock", socket.SOCK_STREAM), ("log.dgram", socket.SOCK_DGRAM)):
        path = place + "/" + name
        attempt("connect to " + path, lambda: connect(kind, path))
        attempt("open " + path, lambda: os.open(path, os.O_RDWR))
        attempt("change the mode of " + path, lambda: os.chmod(path, 0o777))
        attempt("remove " + path, lambda: os.unlink(path))
        attempt("bind " + path, lambda: bind(kind, path))
        attempt("bind beside " + path, lambda: bind(kind, path + ".new"))
        attempt("rename onto " + path, lambda: os.rename("/tmp", path))
    above = place
    while above != "/":
        attempt("rename " + above, lambda: os.rename(above, above + ".old"))
        attempt("change the mode of " + above, lambda: os.chmod(above, 0o777))
        above = os.path.dirname(above)
# Ports are for everybody; what counts is what arrives there.
before = list(managed)
for port in ports:
    shared = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    attempt("udp", lambda: bind(socket.SOCK_DGRAM, ("127.0.0.1", port), *shared[:1]))
    attempt("udp both", lambda: bind(socket.SOCK_DGRAM, ("127.0.0.1", port), *shared))
    attempt("tcp", lambda: bind(socket.SOCK_STREAM, ("127.0.0.1", port), socket.SO_REUSEADDR))
bound = [what for what in managed if what not in before]
print("ready", flush=True)
socks, end = [sock for _, sock in ears if isinstance(sock, socket.socket)], time.monotonic() + seconds
while time.monotonic() < end:
    for sock in select.select(socks, [], [], 0.05)[0]:
        try:
            if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                socks.append(sock.accept()[0])
                continue
            data = sock.recv(65536)
        except OSError:
            data = b""
        if data:
            heard.append(data.decode("latin-1"))
        elif sock.type == socket.SOCK_STREAM:
            socks.remove(sock)
print(json.dumps([before, bound, heard]))
