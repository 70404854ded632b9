"""A PostgreSQL server of the test's own: Debian's programs, run as an ordinary user, in a directory of its own.

    with postgres.Server() as server:
        server.psql("select 1")                   # as the superuser `admin`, by the unix socket
        server.uri("fleet", "spoa_llm")           # for spoa-llm, by the unix socket; tcp=True: by 127.0.0.1

`Server(version="17")` takes the PostgreSQL that tests/tools/postgres-get unpacks. A server that a test kills keeps its data: durable=True.
Another server can follow it (`standby`), and a copy of its directory is a backup (`backup`, `Server(data=...)`)."""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import evidence
import harness
from processes import ROOT, SLOW, Process, free_port, until

SUITES = {"17": "trixie"}      # the Debian suite that has the version
SYSTEM = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
ADMIN = harness.secret("postgres-admin")
# A server of which nothing has to last has its files in memory, where there is enough of it: they are some hundreds, and making them takes a third of its CPU time.
MEMORY = pathlib.Path("/dev/shm")
MEMORY_LEAST = 4 << 30


def programs(version=None):
    """The directory of PostgreSQL's programs. Without `version`: the system's. Another one is unpacked under build/ first if it is not there."""
    if version is None:
        assert SYSTEM, "Debian's package postgresql is missing: tests/tools/deps test"
        return SYSTEM[-1]
    suite, place = SUITES[version], ROOT / "build" / "postgres"
    run = subprocess.run([ROOT / "tests" / "tools" / "postgres-get", suite, version, place], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        pytest.skip("PostgreSQL %s of Debian %s is not available: %s" % (version, suite, run.stdout.decode("utf-8", "replace")[-300:].strip()))
    return (place / suite).resolve() / "usr" / "lib" / "postgresql" / version / "bin"


def environment(bin_dir):
    """What the programs need."""
    return dict(harness.environment(), LC_ALL="C", PGPASSWORD=ADMIN, PATH="%s:%s" % (bin_dir, os.environ.get("PATH", "")))


def runs(pid):
    """Whether a process still has its memory: one that has ended may wait for its parent."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Server:
    def __init__(self, version=None, data=None, durable=False, settings=(), hba=None, files=None, wait=True):
        self.version = version
        self.bin = programs(version)
        self.env = environment(self.bin)
        self.dir = harness.workdir()
        self.port = free_port()
        self.memory = None
        self.process = None
        self.durable, self.settings, self.hba = durable, list(settings), hba
        self.user = None if os.geteuid() else "postgres"    # PostgreSQL refuses to run as root
        if self.user:
            entry = pwd.getpwnam(self.user)
            # The rig's directories are root's alone: one of its own under /tmp is not.
            os.chown(self.dir, entry.pw_uid, entry.pw_gid)
            for above in self.dir.parents:
                if above.stat().st_uid == 0 and not above.stat().st_mode & 1:
                    above.chmod(above.stat().st_mode | 0o011)
        if not durable and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_LEAST:
            self.memory = tempfile.TemporaryDirectory(prefix="llm-", dir=MEMORY)
            if self.user:
                shutil.chown(self.memory.name, self.user, self.user)
        self.data = pathlib.Path(self.memory.name if self.memory else self.dir) / "data"
        if data is None:
            self._initdb()
        else:
            self._own(["cp", "-a", str(data), str(self.data)])
        for name, text in (files or {}).items():
            self._write(name, text.splitlines())
            (self.data / name).chmod(0o600)
        self.start(wait)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _as_user(self, argv):
        return (["setpriv", "--pdeathsig", "KILL", "--reuid", self.user, "--regid", self.user, "--clear-groups"] if self.user else []) + [str(arg) for arg in argv]

    def _own(self, argv):
        done = subprocess.run(self._as_user(argv), env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120 * SLOW)
        assert done.returncode == 0, "%s\n%s" % (argv, done.stdout.decode("utf-8", "replace"))

    def _initdb(self):
        password = self.dir / "admin"
        evidence.SPARED.update(("admin", "postgresql.auto.conf"))
        password.write_text(ADMIN)
        if self.user:
            shutil.chown(password, self.user, self.user)
        self._own([self.bin / "initdb", "-D", self.data, "-U", "admin", "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
                   "--no-sync"])

    def configure(self):
        """Writes the settings of the test, which postgresql.conf includes."""
        lines = ["listen_addresses = '127.0.0.1'", "port = %d" % self.port, "unix_socket_directories = '%s'" % self.dir, "max_connections = 60",
                 "shared_buffers = '32MB'", "log_min_error_statement = panic", "log_destination = 'stderr'", "logging_collector = off",
                 "wal_level = replica", "max_wal_senders = 4", "hot_standby = on", "wal_keep_size = '256MB'", "autovacuum_naptime = '10s'",
                 "max_wal_size = '1GB'", "dynamic_shared_memory_type = mmap", "timezone = 'UTC'", "log_min_messages = warning"]
        if not self.durable:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
        self._write("postgresql.auto.conf", lines + self.settings)
        self._write("pg_hba.conf", self.hba or ["local all all scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256",
                                                "local replication all scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"])

    def _write(self, name, lines):
        path = self.data / name
        path.write_text("\n".join(lines) + "\n")
        if self.user:
            shutil.chown(path, self.user, self.user)

    # ---- life

    def start(self, wait=True):
        self.configure()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # what a kill left; the process of that number may be another one now
        log = self.dir / "postgres.log"
        self.process = Process("postgres", self._as_user([self.bin / "postgres", "-D", self.data]), log, self.env, cwd=self.dir)
        if wait:
            self.ready()

    def ready(self, seconds=60):
        until(lambda: self._accepts() or not self.process.running(), seconds, lambda: "PostgreSQL is not ready\n" + self.process.tail(), step=0.05)
        assert self.process.running(), self.process.tail()

    def _accepts(self):
        return subprocess.run([self.bin / "pg_isready", "-q", "-h", self.dir, "-p", str(self.port)], env=self.env).returncode == 0

    def kill(self):
        """SIGKILL to the server and all its processes. It is stopped first, so that it starts none that would keep its memory from the next server."""
        self.process.popen.send_signal(signal.SIGSTOP)
        children = evidence.children_of(self.process.pid)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.end(signal.SIGKILL)
        self.process = None
        until(lambda: not any(runs(pid) for pid in children), 20, "the processes of PostgreSQL have ended")

    def stop(self, number=signal.SIGINT):
        """Ends the server: SIGINT ends sessions too (a fast shutdown)."""
        if self.process:
            self.process.end(number, 30)
            self.process = None

    def pause(self, on=True):
        """Stops all processes of the server, which goes on holding its sockets, or lets them go on."""
        for pid in [self.process.pid] + evidence.children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)

    def close(self):
        if self.process:
            self.pause(False)
            self.stop(signal.SIGQUIT)
        # The data are not searched for credentials, because hundreds of megabytes take long. The ledgers that the rows come from are searched, and the log is.
        for path in (self.data, *self.dir.glob("backup*")):
            shutil.rmtree(path, ignore_errors=True)
        if self.memory:
            self.memory.cleanup()

    # ---- use

    def uri(self, user, database="spoa_llm", tcp=False, **more):
        host = "127.0.0.1:%d" % self.port if tcp else ""
        query = dict({} if tcp else {"host": self.dir, "port": self.port}, **more)
        text = "&".join("%s=%s" % item for item in query.items())
        return "postgresql://%s@%s/%s%s" % (user, host, database, "?" + text if text else "")

    def _psql(self, user, database, variables=()):
        argv = [self.bin / "psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-p", str(self.port), "-U", user,
                "-d", database, *(arg for name, value in dict(variables).items() for arg in ("-v", "%s=%s" % (name, value)))]
        return [str(arg) for arg in argv]

    @contextlib.contextmanager
    def holding(self, sql, database="spoa_llm"):
        """Runs SQL in a transaction that stays open meanwhile, or until the function that it gives is called."""
        with subprocess.Popen(self._psql("admin", database), env=dict(self.env, PGPASSWORD=ADMIN), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
            one.stdin.write("begin; %s; select 'held';\n" % sql)
            one.stdin.flush()
            assert one.stdout.readline() == "held\n"
            yield one.stdin.close
            one.stdin.close()

    def psql(self, sql, database="spoa_llm", user="admin", password=ADMIN, code=0, variables=()):
        """Runs SQL by psql, and returns its rows as lists of texts. code=None: returns the CompletedProcess, whatever came of it."""
        done = subprocess.run(self._psql(user, database, variables), input=sql, env=dict(self.env, PGPASSWORD=password), capture_output=True, text=True,
                              timeout=120 * SLOW)
        if code is None:
            return done
        assert done.returncode == code, "%s\n%s%s" % (sql, done.stdout, done.stderr)
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def value(self, sql, **more):
        return self.psql(sql, **more)[0][0]

    def database(self, name="spoa_llm"):
        self.psql('create database "%s"' % name, database="postgres")

    # ---- copies

    def backup(self):
        """A directory with a copy of the running server's data, by pg_basebackup: `Server(version, data=...)` starts it."""
        to = self.dir / ("backup%d" % time.monotonic_ns())
        self._own([self.bin / "pg_basebackup", "-h", self.dir, "-p", self.port, "-U", "admin", "-D", to, "-X", "stream", "-c", "fast", "--no-sync"])
        return to

    def standby(self):
        """A server that follows this one by streaming replication; `promote()` makes it the primary."""
        to = self.backup()
        self._own(["touch", to / "standby.signal"])
        return Server(self.version, data=to, durable=self.durable, hba=self.hba, settings=self.settings + [
            "primary_conninfo = 'host=127.0.0.1 port=%d user=admin password=%s'" % (self.port, ADMIN)])

    def promote(self):
        self._own([self.bin / "pg_ctl", "promote", "-D", self.data, "-w", "-t", "60"])

    def log(self):
        return (self.dir / "postgres.log").read_text("utf-8", "replace")
