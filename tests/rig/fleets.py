"""A fleet for the tests: a PostgreSQL with the schema, and gateways, each a ledger (ledgers.py) with a role of its own."""
import contextlib
import json
import random
import socket
import sqlite3
import threading

import harness
import postgres
from ledgers import Ledger
from loglines import Maker


class Fleet:
    """The owner's side. `server` gets a database of its own. Roles belong to all databases of a server, so those of a second fleet have its
    `suffix`."""

    def __init__(self, server, suffix=""):
        self.server, self.database, self.suffix = server, "spoa_llm" + suffix, suffix
        self.user, self.dir = "admin", harness.workdir()
        self.owner = self.password_file("owner", postgres.ADMIN)
        server.database(self.database)
        self.run("init")

    def password_file(self, name, password):
        path = self.dir / ("password-" + name)
        harness.evidence.SPARED.add(path.name)
        path.write_text(password + "\n")
        path.chmod(0o600)
        return path

    def run(self, *args, code=0, **more):
        """A command `fleet ...` as the owner of the schema."""
        done = harness.cli("fleet", *args, "--fleet-uri", self.server.uri(self.user, self.database), "--fleet-password-file", self.owner, **more)
        assert done.code == code, done
        return done

    def sql(self, sql, **more):
        return self.server.psql(sql, database=self.database, **more)

    def value(self, sql):
        return self.sql(sql)[0][0]

    def add(self, name, *args):
        """The password of the role that is made."""
        return self.run("add", name, *args).out.strip()

    def reader(self, name):
        """The flags of a reader without a ledger."""
        name += self.suffix
        return ["--fleet-uri", self.server.uri("spoa_llm_" + name, self.database), "--fleet-password-file",
                self.password_file(name, self.add(name, "--reader"))]


class Gateway(Ledger):
    """A ledger whose configuration names the fleet."""

    def __init__(self, fleet, name, **config):
        self.fleet, self.name, self.role = fleet, name, "spoa_llm_" + name + fleet.suffix
        self.password = fleet.add(name + fleet.suffix)
        directory = harness.workdir()
        super().__init__(directory, **dict({
            "ship_listen": "unix@%s/ship.sock" % directory, "fleet_uri": fleet.server.uri(self.role, fleet.database), "fleet_name": name,
            "fleet_password_file": str(fleet.password_file(name, self.password))}, **config))

    def meta(self, key):
        with sqlite3.connect("file:%s?mode=ro" % self.db, uri=True, timeout=20) as base:
            return base.execute("select value from meta where key = ?", (key,)).fetchone()[0]

    def sql(self, sql, **more):
        """Runs SQL as the gateway's own role."""
        return self.fleet.sql(sql, user=self.role, password=self.password, **more)

    def register(self, name=None, uuid=None, schema=1, code=0):
        return self.sql("select no, epoch, position from spoa_llm.register('%s', '%s', '%s', 'test', %d)" % (
            uuid or self.meta("uuid"), name or self.name, self.meta("epoch"), schema), code=code)

    def resend(self, since="all", **more):
        return json.loads(self.run("fleet", "resend", "--since", since, "--json", **more).out)

    def verify(self, code=0, *args):
        return json.loads(self.run("fleet", "verify", "--json", *args, code=code, seconds=60).out)

    def ship(self):
        """Lets `spoa-llm ship` send all that is there."""
        process = harness.Process("agent", harness.argv("ship", "-c", self.config), self.directory / "ship.log", harness.environment())
        harness.until(lambda: self.sql("select max(position) from spoa_llm.gateways") == [[str(self.meta("sequence"))]] or not process.running(), 30,
                      process.tail, step=0.05)
        assert process.end() == 0, process.tail()
        process.check()


class Between:
    """A way to the server by TCP that `cut` may end: it is told of each piece that goes through, "to" the server or "from" it, and returns how many bytes
    of it go on; fewer than all of them: then both ends are closed."""

    def __init__(self, server, cut):
        self.server, self.cut = server, cut
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def uri(self, gateway):
        return "postgresql://%s@127.0.0.1:%d/%s" % (gateway.role, self.port, gateway.fleet.database)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.server.port))
                for one, other, way in ((near, far, "to"), (far, near, "from")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def _pass(self, one, other, way):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                count = self.cut(way, data)
                other.sendall(data[:count])
                if count < len(data):
                    break
        for link in (one, other):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


def gateway_of(fleet, name, count, **maker):
    """A gateway with `count` requests, none of which is in PostgreSQL yet."""
    one = Gateway(fleet, name)
    one.take(Maker(seed=random.randrange(1 << 30), **maker).make(count))
    one.register()
    return one
