"""A gateway whose streams go through a tap, and the simplest tap: it relays bytes, reads nothing but the name of the leg, and remembers all that
passed."""
import re
import socket
import threading

import harness


def end(how, *socks):
    for sock in socks:
        try:
            sock.shutdown(how)
        except OSError:
            pass


class PlainTap:
    """One thread for each direction of a connection. `seen`: every byte that passed, either way. `legs_asked`: the legs that were named. `open`:
    {connection of HAProxy's: connection to the leg}."""

    def __init__(self, path, legs):
        self.path, self.legs = path, legs
        self.seen, self.legs_asked, self.open, self.lock = bytearray(), [], {}, threading.Lock()
        self.listener = None
        self.up()

    def up(self):
        """Listens under the path, in place of what may stand there."""
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def refuse(self):
        """Takes no new connection; those that are open go on."""
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def kill(self):
        """Ends as a process that is killed does; returns when HAProxy has noticed the end of each connection, because until then it may send a
        request over one that waits for the next."""
        self.refuse()
        for client, leg in list(self.open.items()):
            end(socket.SHUT_RDWR, leg)
            end(socket.SHUT_WR, client)
        harness.until(lambda: not self.open, 5, "HAProxy ends its connections to the tap")

    close = kill

    def _accept(self, listener):
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _note(self, data):
        with self.lock:
            self.seen += data

    def _serve(self, client):
        leg = socket.socket(socket.AF_UNIX)
        self.open[client] = leg
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                more = client.recv(65536)
                if not more:
                    return
                data += more
            self._note(data)
            name = re.search(rb"(?im)^x-llm-leg: (leg\.[a-z0-9._-]+)\r$", data).group(1).decode()
            self.legs_asked.append((name, data.split(b" ")[1].decode()))
            leg.connect(str(self.legs / (name + ".sock")))
            leg.sendall(data)
            back = threading.Thread(target=self._pump, args=(leg, client), daemon=True)
            back.start()
            self._pump(client, leg, heads=name)
            back.join()
        except OSError:
            pass
        finally:
            client.close()
            leg.close()
            self.open.pop(client)

    def _pump(self, source, to, heads=None):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                self._note(data)
                # Our HAProxy sends a head in one piece.
                if heads and re.match(rb"[A-Z]+ \S+ HTTP/1\.1\r\n", data):
                    self.legs_asked.append((heads, data.split(b" ")[1].decode()))
                to.sendall(data)
        except OSError:
            pass
        end(socket.SHUT_RDWR, source)
        # Only HAProxy itself ends its connection to the tap.
        end(socket.SHUT_RDWR if heads else socket.SHUT_WR, to)


class Tapped:
    """Mixed into a gateway: has its streams go through a tap. `make_tap(path, legs)` makes what listens at `path` and relays to the sockets in
    the directory `legs`; None: nobody listens there."""

    # On a busy machine a tap answers HAProxy's check late, a PlainTap above all, and streams would go without it. None: the time that ships.
    check_seconds = 20
    # The directory of the sockets of tap and legs; None: the gateway's own.
    place = None

    def __init__(self, haproxy, mocks, config=None, make_tap=PlainTap, **more):
        self.make_tap, self.tap = make_tap, None
        super().__init__(haproxy, mocks, dict({"tap": True}, **(config or {})), **more)

    def start_haproxy(self):
        place = self.place or self.dir
        self.legs, path = place / "legs", place / "tap.sock"
        self.legs.mkdir(exist_ok=True)
        self.haproxy_env.setdefault("LLM_TAP", "unix@%s" % path)
        self.haproxy_env.setdefault("LLM_LEGS", str(self.legs))
        if self.make_tap and not self.tap:
            self.tap = self.make_tap(path, self.legs)
        if self.check_seconds:
            self.cfg.write_text(re.sub("timeout check [0-9]+s", "timeout check %ds" % self.check_seconds, self.cfg.read_text()))
        super().start_haproxy()

    def went(self, answer):
        """Whether the request of `answer`, an Exchange, went through the tap."""
        return answer.tag.encode() in self.tap.seen

    def close(self, quiet=False):
        try:
            super().close(quiet)
        finally:
            if self.tap:
                self.tap.close()


class TappedGateway(Tapped, harness.Gateway):
    pass
