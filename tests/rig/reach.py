"""Which of the unix sockets that are named another user reaches. Run as that user: tries each path as a stream and as datagrams, sends nothing, and
prints those to which it could connect."""
import socket
import sys

for path in sys.argv[1:]:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            try:
                sock.connect(path)
            except OSError:
                continue
            print(path)
