"""A server that speaks PostgreSQL's protocol and answers what a test wants: rows that nobody asked for, none, too many, notices, or nothing at all.

    with fakepg.Server({"spoa_llm.gateways": [[None, "x"]]}) as server:     # statements that have this text in them get these rows
        server.uri("anybody")

An answer is a list of rows (texts or None), or bytes to be sent as they are before ReadyForQuery, or a function of the connection's socket, which
answers by itself. `login`: bytes before the first ReadyForQuery."""
import contextlib
import socket
import struct
import threading

import harness


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def rows(table):
    """RowDescription, the rows, CommandComplete."""
    width = len(table[0]) if table else 1
    out = message(b"T", struct.pack("!H", width) + b"".join(b"c%d\0" % n + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0) for n in range(width)))
    for row in table:
        cells = [None if cell is None else cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
        out += message(b"D", struct.pack("!H", len(cells)) + b"".join(
            struct.pack("!i", -1) if cell is None else struct.pack("!i", len(cell)) + cell for cell in cells))
    return out + message(b"C", b"SELECT %d\0" % len(table))


def problem(kind=b"E", state="42501", text="no", **more):
    """An ErrorResponse, or a notice. `more`: fields by their letter: H is the hint."""
    fields = dict({"S": "ERROR", "V": "ERROR", "C": state, "M": text}, **more)
    return message(kind, b"".join(name.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\0" for name, value in fields.items()) + b"\0")


READY = message(b"Z", b"I")
DONE = message(b"C", b"DO\0")


class Server:
    def __init__(self, answers=None, login=b""):
        self.answers, self.login, self.statements = dict(answers or {}), login, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in [self.listener, *self.open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def uri(self, user):
        return "postgresql://%s@127.0.0.1:%d/spoa_llm" % (user, self.port)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                self.open.append(link)
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        with contextlib.suppress(OSError, EOFError):
            self._converse(link)
        link.close()

    @staticmethod
    def _read(link, count):
        got = b""
        while len(got) < count:
            more = link.recv(count - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def _converse(self, link):
        while True:
            body = self._read(link, struct.unpack("!I", self._read(link, 4))[0] - 4)
            if struct.unpack("!I", body[:4])[0] != 80877103:     # SSLRequest
                break
            link.sendall(b"N")
        if struct.unpack("!I", body[:4])[0] == 80877102:         # CancelRequest
            return
        settings = {"server_version": "15.0", "client_encoding": "UTF8", "server_encoding": "UTF8", "integer_datetimes": "on",
                    "standard_conforming_strings": "on", "default_transaction_read_only": "off", "in_hot_standby": "off"}
        link.sendall(message(b"R", struct.pack("!I", 0)) + b"".join(message(b"S", b"%s\0%s\0" % (name.encode(), value.encode())) for name, value in
                                                                      settings.items()) + message(b"K", bytes(8)) + self.login + READY)
        statement = ""
        while True:
            kind = self._read(link, 1)
            body = self._read(link, struct.unpack("!I", self._read(link, 4))[0] - 4)
            if kind == b"X":
                return
            if kind == b"P":
                statement = body.split(b"\0")[1].decode()
            if kind == b"Q":
                statement = body[:-1].decode()
            if kind == b"c":
                link.sendall(message(b"C", b"COPY 0\0") + READY)
            if kind in (b"Q", b"S"):
                self.statements.append(statement)
                self._answer(link, statement, kind == b"S")

    def _answer(self, link, statement, extended):
        answer = next((value for text, value in self.answers.items() if text in statement), None)
        if extended:
            link.sendall(message(b"1") + message(b"2"))
        if callable(answer):
            answer(link)
            return
        if answer is None and statement.startswith("COPY"):
            link.sendall(message(b"G", b"\0" + struct.pack("!H", 0)))
            return
        link.sendall((DONE if answer is None else answer if isinstance(answer, bytes) else rows(answer)) + READY)


# What a shipper asks, in this order.
REGISTER = "spoa_llm.register"
LOCK = "pg_try_advisory_lock"
PARTITION = "ensure_partition"
POSITION = "FOR UPDATE"
MERGE = "WITH kept AS"
REGISTERED = [["1", "1", "0", "", "0", "LEDGER"]]


def shipping(ledger_epoch, **changes):
    """The answers that a shipper of an empty fleet expects. `changes`: others, by the name of a constant above."""
    answers = {REGISTER: [["1", "1", "0", "", "0", ledger_epoch]], LOCK: [["t", "the same host"]], PARTITION: [["t"]],
               POSITION: [["1", "0", "", ledger_epoch]], MERGE: [["1", "0", "0"]]}
    answers.update({globals()[name]: answer for name, answer in changes.items()})
    return answers
