"""HAProxy, the agent and the tap of a gateway as Debian's units run them, so that a test can kill, stop, restart, reload and upgrade each. What a
systemd does when a process ends, the test does here."""
import os
import signal
import time

import harness
from evidence import children_of
from ledgers import LedgerGateway, Sockets
from plaintap import Tapped
from processes import has_ended, reload_haproxy, until
from taps import Tap


def now():
    return time.monotonic()


def stop(pid, seconds):
    """A process stands still for a moment."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def kill(pids):
    """Kills processes. Returns when the kill began and when the last process was gone: only what was in flight in between can be harmed."""
    began = now()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(has_ended(pid) for pid in pids), 10, "the killed processes are gone")
    return began, now()


class TapUnit:
    """The tap of a gateway, started again and again."""

    def __init__(self, path, legs):
        self.path, self.legs, self.tap = path, legs, None
        self.up()

    def up(self):
        self.tap = Tap(self.path.parent, report=False)
        assert self.tap.path == str(self.path)

    def pids(self):
        """The process that listens now, and those before it that serve their last streams."""
        return [pid for pid in [*self.tap.successors[::-1], self.tap.process.pid] if not has_ended(pid)]

    def _again(self):
        self.tap.process.end()
        self.tap.process.check()
        self.up()

    def kill(self):
        killed = kill(self.pids())
        time.sleep(.5)
        self._again()
        return killed

    def stop(self, seconds):
        stop(self.pids()[0], seconds)

    def upgrade(self):
        self.tap.upgrade()

    def restart(self):
        """The old one drains, and a new one begins when it has ended."""
        for pid in self.pids():
            os.kill(pid, signal.SIGTERM)
        until(lambda: not self.pids(), 30, "the tap has drained")
        self._again()

    def close(self):
        kill(self.pids())
        self.tap.process.end()
        self.tap.process.check()


class UnitGateway(Tapped, LedgerGateway):
    """Its HAProxy is a master and a worker, and the agent's sockets are the service manager's. The methods that kill return when the kill began, and when
    the service was back: HAProxy listens again, or asks the agent again, which its check has to find first. `plain(address)` sends a request that does not
    go through the tap, and returns the status."""

    haproxy_args, check_seconds = ("-Ws",), None

    def __init__(self, haproxy, mocks, config, plain, **more):
        self.plain = plain
        self.where = harness.workdir()
        config = dict(config, listen="unix@%s/spop.sock" % self.where, tap_listen="dgram@%s/tap.dgram" % self.where)
        self.held = Sockets(config["listen"], config["tap_listen"])
        super().__init__(haproxy, mocks, config, sockets=self.held, make_tap=TapUnit, **more)

    def start_haproxy(self):
        (self.dir / "tap.dgram").exists() or os.symlink(self.config["tap_listen"][len("dgram@"):], self.dir / "tap.dgram")
        super().start_haproxy()

    def close(self, quiet=False):
        try:
            super().close(quiet)
        finally:
            self.held.close()

    # -- HAProxy

    def worker(self):
        return until(lambda: children_of(self.haproxy.pid), 5, self.haproxy.tail)[-1]

    def reload_haproxy(self):
        """Returns when the worker from before listens no more; it ends when its streams have."""
        def stopped():
            return self.haproxy.text().count("Proxy llm stopped")
        before = stopped()
        reload_haproxy(self.haproxy)
        until(lambda: stopped() > before, 20, self.haproxy.tail)

    def stop_haproxy(self, seconds):
        stop(self.worker(), seconds)

    def _haproxy_again(self):
        assert self.haproxy.end() in (137, -signal.SIGKILL), self.haproxy.tail()
        self.haproxy.check()
        time.sleep(.1)
        self.start_haproxy()

    def kill_haproxy_worker(self):
        """HAProxy's master ends with its worker, and systemd starts another master."""
        began, _ = kill([self.worker()])
        self.haproxy.wait(20)
        self._haproxy_again()
        return began, now()

    def kill_haproxy(self):
        began, _ = kill([self.haproxy.pid, *children_of(self.haproxy.pid)])
        self._haproxy_again()
        return began, now()

    # -- the agent

    def _again_asked(self):
        until(lambda: self.plain(self.address) != 503, 20, lambda: self.haproxy.tail() + self.agent.process.tail())

    def kill_worker(self):
        """The master starts another one."""
        before = len(self.agent.lines("event=ready"))
        began, _ = kill([self.agent.pid])
        until(lambda: len(self.agent.lines("event=ready")) > before, 20, self.agent.process.tail)
        self._again_asked()
        return began, now()

    def kill_agent(self):
        """Kills master and worker. systemd waits for a second before it starts the agent again."""
        began = now()
        self.agent.kill()
        self.agent.close()
        time.sleep(1)
        self.start_agent()
        self._again_asked()
        return began, now()

    def stop_worker(self, seconds):
        stop(self.agent.pid, seconds)

    def upgrade_agent(self):
        self.agent.upgrade()
