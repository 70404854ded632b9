"""A storm over pools: members that are processes of their own (poolload.py), the faults that are done to them, and the audit afterwards, which compares for
each request what the members wrote down, what its client got, and what the ledger says."""
import collections
import concurrent.futures
import functools
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import harness
from evidence import children_of
from pools import KEYS, PoolGateway, pool
from processes import Process, has_ended, until
from units import UnitGateway, now, stop

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "poolload.py")
NAMES = "abc"
BALANCES = ("first", "weighted", "least")
DECLINES = (429, 503, 529)
DEATHS = ("killed", "drained", "refused")       # each ends connections to a member that nobody has accepted; the first two the idle ones, too


def api(path, command):
    """Sends `command` to HAProxy's runtime API. Returns the answer."""
    with harness.socket.socket(harness.socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


class Fault:
    """A fault `name` that lasted from `began` to `ended`. `member`: the name of the member to which it was done; None: it was done to another process."""

    def __init__(self, name, member=None):
        self.name, self.member, self.began, self.ended = name, member, now(), float("inf")

    def touches(self, began, ended, after=0.0):
        return began <= self.ended + after and ended >= self.began

    def __repr__(self):
        return "%s %s %.3f-%.3f" % (self.name, self.member or "", self.began, self.ended)


class Member:
    """The process of a member, which `program` runs. `key`: the credential that it expects."""

    def __init__(self, name, place, key=None, program=PROGRAM):
        self.name, self.port, self.record, self.process, self.key, self.program = name, harness.free_port(), place / "records", None, key or KEYS[name], program
        self.up()

    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def up(self):
        env = dict(harness.environment(), MEMBER_KEY=self.key)
        # Not processes.Process, because a thread starts this process, and a Process is killed when the thread that started it ends.
        self.process = subprocess.Popen([sys.executable, "-S", self.program, "member", self.name, str(self.port), str(self.record)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=env)
        assert self.process.stdout.readline() == b"listening\n"

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"

    def kill(self):
        self.process.kill()
        until(lambda: has_ended(self.process.pid), 10, "the killed member is gone")
        self.close()

    def drain(self):
        self.tell(drain=True)
        assert self.process.wait(20) == 0
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class StormGateway(PoolGateway, UnitGateway):
    """A gateway with a route for each `balance`, in whose pool are all members. `members`: {name: Member}."""

    def __init__(self, haproxy, place, rate):
        self.members, self.rate, self.faults, self.left, self.state, self.dropped = {name: Member(name, place) for name in NAMES}, rate, [], {}, None, 0
        self.clients = None
        self.api_path, self.admin = str(place / "api.sock"), "unix@%s/admin.sock" % place
        self.records, self.results = place / "records", place / "results"
        routes = [pool(self.members, balance, names=NAMES, balance=balance, more={"b": {"weight": 3}}) for balance in BALANCES]

        def edit(text):
            return text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % self.api_path, 1)
        super().__init__(haproxy, [], {"routes": routes}, plain=self.ask, edit=edit, env={"SPOA_LLM_ADMIN_LISTEN": self.admin},
                         limits={"LLM_BUFSIZE": "131072"})

    def close(self, quiet=False):
        try:
            super().close(quiet)
        finally:
            for member in self.members.values():
                member.close()

    def ask(self, address):
        """Sends a request whose answer does not stream. Returns the status."""
        return harness.http("%s:%d" % address, "POST", "/v1/chat/completions", {"x-client-request-id": "probe", "Content-Type": "application/json"},
                            '{"model": "first-1"}', timeout=20).status

    # -- the faults; while one is done to a member, another member can serve

    def kill(self, member, pause):
        fault = self.begin("killed", member)
        member.kill()
        fault.ended = now()
        time.sleep(pause)
        member.up()

    def drain(self, member, pause):
        fault = self.begin("drained", member)
        member.drain()
        fault.ended = now()
        time.sleep(pause)
        member.up()

    def refuse(self, member, pause):
        fault = self.begin("refused", member)
        member.tell(refuse=True)
        time.sleep(pause)
        member.tell(refuse=False)
        fault.ended = now()

    def hang(self, member, pause):
        fault = self.begin("hung", member)
        stop(member.process.pid, pause)
        fault.ended = now()

    def decline(self, member, pause, **how):
        fault = self.begin("declined", member)
        member.tell(**how)
        time.sleep(pause)
        member.tell()
        fault.ended = now()

    def begin(self, name, member=None):
        self.faults.append(Fault(name, member and member.name))
        return self.faults[-1]

    def other(self, name, action):
        """Does `action` to a process of the gateway, and notes it as the fault `name`."""
        fault = self.begin(name)
        if name == "HAProxy reloaded":
            self.dropped += self.dropped_now()
        fault.began, fault.ended = action() or (fault.began, now())

    def step(self, rng, others=()):
        """Does something to one or two members, and lets the third one serve; and one of `others` at the same time. Returns when all is well again, and the
        requests have ended that found one of the members out of order, because such a one cannot go on to a member that came back meanwhile."""
        members = rng.sample(sorted(self.members.values(), key=lambda member: member.name), rng.choice([1, 2]))
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            doing = [threads.submit(self.draw(rng, MEMBER_FAULTS), self, member, rng.uniform(.1, .5)) for member in members]
            if others:      # in this thread, because a process that a thread has started is killed when that thread ends
                self.other(*self.draw(rng, others))
            for one in doing:
                one.result()
        until(self.good, 30, lambda: "all members are well after %s: %s\n%s" % (self.faults[-3:], self.state, self.agent.process.tail()))
        self.more()

    def more(self):
        """Waits until twice as many requests have ended as may be in flight."""
        before = self.results.stat().st_size
        until(lambda: not self.clients.running() or self.results.stat().st_size > before + 200 * 250, 30, "requests end")

    def draw(self, rng, faults):
        """Returns one of `faults` by lot: the first time faults[0], and then each of them once before one comes again."""
        left = self.left.setdefault(id(faults), faults[:1])
        if not left:
            left += rng.sample(faults, len(faults))
        return left.pop()

    def dropped_now(self):
        """Returns how many log lines this HAProxy could not send by datagram, because the agent did not take them fast enough."""
        return int(re.search(r"DroppedLogs: (\d+)", self.api("show info"))[1])

    def restart(self, member):
        """Restarts a member as docs/routing.md says, "Take a member out": no request fails by that."""
        def state(name):
            for balance in BALANCES:
                assert not self.api("set server pool.%s/%s state %s" % (balance, member.name, name)).strip()
        fault = self.begin("restarted", member)
        state("maint")
        self.more()
        member.drain()
        member.up()
        state("ready")
        fault.ended = now()
        until(self.good, 30, "the member is back")

    # -- how the gateway sees the members

    def api(self, command):
        return api(self.api_path, command)

    def good(self):
        """True if HAProxy counts all members as usable, and the agent lets none of them rest."""
        try:
            stats, metrics = self.api("show stat"), harness.http(self.admin, path="/metrics").text
        except (OSError, http.client.HTTPException):    # HAProxy or the agent is being replaced
            return False
        self.state = ups, rests = re.findall(r"(?m)^(?:llm-[^,]*-pool,upstream|pool\.[a-z]+,[abc]),(?:[^,]*,){15}(\w+)", stats), re.findall(r"(?m)^spoa_llm_member_resting\{.* (\d)", metrics)
        # After an upgrade the old worker, which knows of other rests, is asked too, until it has drained.
        return len(children_of(self.agent.process.pid)) == 1 and (ups, rests) == (["UP"] * 4 * len(NAMES), ["0"] * 3 * len(NAMES))

    # -- the requests

    def storm(self, count, seed):
        """Starts the clients."""
        self.clients = Process("clients", [sys.executable, "-S", PROGRAM, "clients", str(self.port), str(count), str(self.rate), str(seed), str(self.results), *BALANCES],
                       self.dir / "clients.log", harness.environment())

    def audit(self):
        return Audit([json.loads(line) for line in self.results.read_text().splitlines()], [json.loads(line) for line in self.records.read_text().splitlines()],
                     self.faults)


# What is done to members. Killing is drawn twice as often. One decline has a retry-after, the others have none.
MEMBER_FAULTS = [StormGateway.kill, StormGateway.kill, StormGateway.drain, StormGateway.refuse, StormGateway.hang,
                 *(functools.partial(StormGateway.decline, **how) for how in ({"status": 429, "retry_after": 1}, {"status": 429}, {"status": 503}, {"status": 529}))]


class Attempt:
    """One attempt of a request at `member`. `said`: the status with which the member answered; None: it did not come to an answer."""

    def __init__(self, member, at, tag):
        self.member, self.at, self.tag, self.said = member, at, tag, None


class Audit:
    """What the storm's requests became. `attempts`: {the gateway's id of the request: its attempts in order}."""

    def __init__(self, results, records, faults):
        self.results, self.faults, self.attempts, self.wrong = results, faults, collections.defaultdict(list), []
        for member, at, event, id, *more in sorted(records, key=lambda record: record[1]):
            if event == "got":
                self.attempts[id].append(Attempt(member, at, more[0]))
            elif event == "said":
                [one for one in self.attempts[id] if one.member == member][-1].said = more[0]
            else:
                self.wrong.append((member, id, more))
        ids = {attempts[0].tag: id for id, attempts in self.attempts.items()}
        for result in results:
            result["id"] = result["id"] or ids.get(result["tag"], "")

    def repeated(self):
        """Returns the requests that a member got although another member may have run them, or although it had got them before."""
        return [(id, [(one.member, one.said) for one in attempts]) for id, attempts in self.attempts.items()
                if any(one.said not in DECLINES for one in attempts[:-1]) or len({one.member for one in attempts}) < len(attempts)]

    def near(self, result, seconds=2):
        """Returns the faults at about the time of the request, to be shown if a test fails. Their times are seconds since the request began."""
        return [(fault.name, fault.member, round(fault.began - result["began"], 3), round(fault.ended - result["began"], 3)) for fault in self.faults
                if fault.touches(result["began"] - seconds, result["ended"] + seconds)]

    def missing(self, rows):
        """Returns the requests that have no row in the ledger, though their id is known."""
        return [(result, self.near(result)) for result in self.results if result["id"] and result["id"] not in rows]

    def lost(self, rows):
        """Returns how many requests may have no row, because an agent was killed while it had their lines from the ring, or because 2.6 wrote none; and
        those that must have one."""
        missing = self.missing(rows)
        may = [one for one in missing if self._during(["agent killed", "worker killed"], one[0], after=1)]
        silent = [one for one in missing if one[0]["outcome"] == "unanswered" and self._during(["tap killed"], one[0])]
        return len(may), len(silent), [one for one in missing if one not in may + silent]

    def _during(self, names, result, member=None, after=0.0):
        """True if one of the faults `names` was done to `member` while the request was on its way, and the request ended at most a second after the fault."""
        return any(fault.name in names and fault.member == member and fault.touches(result["began"], result["ended"], after) and result["ended"] <= fault.ended + 1
                   for fault in self.faults)

    def why(self, result, row):
        """Returns why the request may have failed, or None.

        tap: a stream that was in a tap that was killed; its row knows no member. (2.6 gives no answer then, and writes no line, if the client's connection had a
        request before.)
        received: a member had it, as its own record says, and was killed before the answer was whole.
        on its way: no member had it. It was sent over a connection that was open, or waited to be accepted, to the member that its row names, when that was
        killed, or closed its connections: the request began at most a tenth of a second after that, and failed at most a second after it. HAProxy cannot know
        whether that member has it.
        agent: the agent, which gives the credentials, was killed, and no member had the request but those that declined it. The client is told what the last
        member said, or that there is none.
        reload: it was sent over a connection that HAProxy closed, because it was idle, for a reload; no member had it."""
        attempts = self.attempts.get(result["id"], [])
        had = attempts[-1] if attempts and attempts[-1].said not in DECLINES else None
        broken = result["outcome"] == "cut" or result["status"] == 502 and result["code"] == "upstream_error"
        if (broken or result["outcome"] == "unanswered") and result["stream"] and self._during(["tap killed"], result):
            return "tap"
        if broken and had and self._during(["killed"], result, had.member):
            return "received"
        if broken and not had and row and self._during(DEATHS, result, row["member"], .1):
            return "on its way"
        if not had and result["status"] in DECLINES and self._during(["agent killed", "worker killed"], result):
            return "agent"
        if not attempts and result["outcome"] == "unanswered" and result["kept"] and self._during(["HAProxy reloaded"], result, after=1):
            return "reload"
        return None

    def failures(self, rows):
        """Returns how many requests failed for each reason of why(), and a list of those that failed without such a reason."""
        counts, wrong = collections.Counter(), []
        for result in self.results:
            if result["outcome"] == "whole":
                continue
            row = rows.get(result["id"])
            result["why"] = self.why(result, row)
            counts[result["why"]] += 1
            if not result["why"]:
                wrong.append((result, row and (row["member"], row["tried"], row["status"]), self.near(result),
                              [(one.member, one.said, round(one.at - result["began"], 4)) for one in self.attempts.get(result["id"], [])]))
        return counts, wrong

    def untrue(self, rows):
        """The rows that do not say what the members wrote down and what the client got. A request whose first attempts a reload separates from the others
        may not know why a member declined."""
        wrong = []
        for result in self.results:
            row, attempts = rows.get(result["id"]), self.attempts.get(result["id"], [])
            if not row or result.get("why") in ("tap", "agent"):
                continue
            tried = [one.split(":") for one in row["tried"].split(",") if one]
            told = [(name, why) for name, why in tried if why.isdigit()]
            declined = [(one.member, str(one.said)) for one in attempts if one.said in DECLINES]
            if self._during(["HAProxy reloaded"], result, after=1):
                unknown = [name for name, why in tried if why == "unreachable"]
                declined = [one for one in declined if one[0] not in unknown]
            last = [one.member for one in attempts if one.said not in DECLINES]
            if (told != declined or row["attempts"] != len(tried) + 1 or row["status"] != result["status"] or last not in ([], [row["member"]])
                    or row["member"] != result.get("member", row["member"]) or row["member"] in dict(tried)):
                wrong.append((result, {name: row[name] for name in ("member", "attempts", "tried", "status")}, [(one.member, one.said) for one in attempts],
                              self.near(result)))
        return wrong
