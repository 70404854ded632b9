"""The gateways that are compared, each called by a letter. All of them replace the client's credential by the route's."""
import pathlib
import re
import subprocess
import sys
import time

import harness
import namespaces
import rig
from rig import HERE, TOOLS

RIVALS = HERE / "rivals"
LOG_KEY = "bench0123456789"

# Letter -> its name in a table, and what it does.
WAYS = {
    "a": ("static", "HAProxy with one upstream and one credential; nothing in the body is looked at"),
    "b": ("json_query", "HAProxy's own `json_query('$.model')`, and maps from a prefix to backend and credential"),
    "e": ("HAProxy + Lua", "a Lua script with cjson: `tests/bench/rivals/route.lua`"),
    "f": ("HAProxy + Lua, tokens", "the same, and it reads the tokens of each JSON answer into the log line; nobody keeps or adds up these lines"),
    "g": ("nginx + Lua", "the same script for nginx with LuaJIT, without tokens"),
    "p": ("Python", "aiohttp and `json.loads`, without tokens: `tests/bench/rivals/gateway.py`"),
    "x": ("bare SPOE", "as (static), and HAProxy asks an agent that reads nothing: one rule, one argument, one variable (`tests/bench/rivals/haproxy-bare-spoe.cfg`)"),
    "d": ("do-nothing agent", "spoa-llm's HAProxy configuration, `LLM_LEDGER=off`, with an agent that reads nothing and always gives the same answer: what SPOE itself costs"),
    "s": ("do-nothing agent, again", "the same once more, with processes of its own: how far it is from (do-nothing agent) is chance"),
    "o": ("do-nothing agent, ledger's rules", "(do-nothing agent) with the rules that only the ledger needs; HAProxy sends no records"),
    "c": ("spoa-llm", "as shipped, with `LLM_LEDGER=off`, and the agent keeps no ledger"),
    "l": ("spoa-llm, ledger", "as shipped: every request's end is recorded with tokens and cost, and summed"),
    "r": ("spoa-llm, copier", "with the rules that only the ledger needs, but no records; streams go through legs and a process in the tap's place that only reads and sends"),
    "t": ("spoa-llm, tap", "the same with the tap in its place, which reads the usage of streams"),
}
NAMES = {letter: name for letter, (name, _) in WAYS.items()}

# The routes, the same in all gateways: prefix, upstream. Where they begin: rivals/route.lua.
ROUTES = (("glm-", "ollama"), ("kimi-", "moonshot"), ("claude-", "anthropic"), ("gpt-", "openai"))
KEYS = {name.upper() + "_API_KEY": "sk-operator-" + name for _, name in ROUTES}


def routes(urls):
    """spoa-llm's configuration of ROUTES. `urls`: upstream -> its URL."""
    return [{"model_prefix": prefix, "upstream": urls[name], "auth": "env:%s_API_KEY" % name.upper(),
             "protocol": "anthropic" if name == "anthropic" else "openai"} for prefix, name in ROUTES]


def head(lua=None):
    """`global` and `defaults` of the shipped example: the same sizes, timeouts and memory for every HAProxy."""
    text = re.search(r"^global\n.*?(?=^\.if [^\n]*\n(?:#[^\n]*\n)*ring )", harness.EXAMPLE.read_text(), re.M | re.S).group()
    return text.replace("global\n", "global\n    lua-load %s\n" % lua, 1) if lua else text


def rival(name, lua=None):
    return head(lua) + (RIVALS / name).read_text() + "\n" + (RIVALS / "backends.cfg").read_text()


def nginx(text, port, authority):
    """nginx.conf with its places filled in. `authority`: upstream -> HOST:PORT."""
    return re.sub("@([A-Z]+)@", lambda found: "127.0.0.1:%d" % port if found.group(1) == "LISTEN" else authority[found.group(1).lower()], text)


class Ways(rig.Rig):
    """One HAProxy version in each of the `letters`' ways, `threads` of the agent. `authority`: HOST:PORT of each upstream, where it is
    not one for all; `keys`: their credentials in the environment."""

    def __init__(self, haproxy, letters, upstream=None, threads=1, authority=None, keys=KEYS):
        self.haproxy, self.threads = haproxy, threads
        self.sockets = {}       # way -> path of its agent's socket
        self.taps = {}          # way -> its tap, or what stands in its place
        super().__init__(False if authority else upstream)
        self.keys = keys
        self.authority = authority or {name: "127.0.0.1:%d" % self.upstream_port for _, name in ROUTES}
        self.env = dict({name.upper(): where for name, where in self.authority.items()}, **keys)
        try:
            for way in letters:
                getattr(self, "start_" + way)()
        except BaseException:
            self.close()
            raise

    # -- agents

    def config(self, name, **more):
        at = {name: "http://" + authority for name, authority in self.authority.items()}
        return harness.write_config(self.dir, dict({
            "listen": "unix@%s/%s.sock" % (self.dir, name), "threads": self.threads, "admin_listen": "none",
            "openai_target": at["openai"], "anthropic_target": at["anthropic"], "gemini_target": at.get("gemini", at["openai"]),
            "routes": routes(at)}, **more), name + ".json")

    def start_agent(self, way, before=(), **more):
        file = self.config(way, **more)
        process = self.agents[way] = self.spawn("agent-" + way, [*before, harness.AGENT, "run", "-c", file], "agent",
                                                dict(self.keys, SPOA_LLM_LOG_KEY=LOG_KEY))
        harness.until(lambda: "event=ready" in process.text() or not process.running(), 10, "the agent is ready")
        assert process.running(), process.tail()
        self.sockets[way] = "%s/%s.sock" % (self.dir, way)
        self.place_agent(way, "agent")      # the processes that it had started before it was pinned
        return file

    def start_tapped(self, way, tap):
        """A gateway whose streams go through what `tap(path, legs)` starts."""
        path, legs = "%s/tap-%s.sock" % (self.dir, way), self.dir / ("legs-" + way)
        legs.mkdir()
        file = self.start_agent(way, tap=True, tap_listen="none")
        self.gateway(way, file, env={"LLM_TAP": "unix@" + path, "LLM_LEGS": str(legs), "LLM_LEDGER": "on"})
        process = self.taps[way] = tap(path, legs)
        harness.until(lambda: harness.accepting("unix@" + path), 10, process.tail)
        # HAProxy looks for the tap twice a second.
        time.sleep(1.5)

    def backend(self):
        """The backend that the agent names for this upstream."""
        return "llm-127.0.0.1:%d" % self.upstream_port

    def start_null(self, threads=1, way="d", backend=None, more=()):
        """Starts the do-nothing agent, which agrees to pipelining as the agent does. `more`: its other arguments."""
        path = "%s/%s.sock" % (self.dir, way)
        process = self.agents[way] = self.spawn("agent-" + way, [TOOLS / "null_agent", path, backend or self.backend(), threads, "on", *more], "agent")
        harness.until(lambda: harness.accepting("unix@" + path), 10, process.tail)
        self.sockets[way] = path

    # -- proxies

    def start_haproxy(self, way, text, env):
        port = self.ports[way] = harness.free_port()
        cfg = self.dir / ("haproxy-%s.cfg" % way)
        cfg.write_text(text.replace("global\n", "global\n    nbthread 1\n", 1))
        env = dict({"LLM_BIND": "127.0.0.1:%d" % port}, GLIBC_TUNABLES=harness.drop_in()["GLIBC_TUNABLES"], **env)
        fine, said = harness.accepted(self.haproxy, cfg, env)
        assert fine, said
        self.start_proxy(way, [self.haproxy, "-db", harness.POOLS, "-f", cfg], env)

    def gateway(self, way, file, logs=None, env=None):
        """The shipped configuration for the agent of `way`. `logs`: LLM_LOG_RING and LLM_LOG_UDP; without, HAProxy sends no log lines, and
        LLM_LEDGER is off unless `env` says otherwise."""
        done = harness.cli("backends", "-c", file)
        assert done.code == 0, done
        text = harness.gateway_config(done.out)
        if not logs:
            text, dropped = re.subn(r"^ +log (?:ring@llm-ledger|\"\$LLM_LOG_UDP\") .*\n", "", text, flags=re.M)
            assert dropped      # an earlier commit may have another number of them
        # HAProxy connects the ring's server in any case, and 2.6 tries without a pause where a unix socket is not there.
        self.start_haproxy(way, text, dict(logs or {"LLM_LOG_RING": "127.0.0.1:1"}, LLM_AGENT="unix@" + self.sockets[way], SPOA_LLM_LOG_KEY=LOG_KEY,
                                           **dict({"LLM_SPOE_CONF": str(harness.SPOE_CONF), "LLM_LEDGER": "on" if logs else "off"}, **(env or {}))))

    def start_a(self):
        self.start_haproxy("a", rival("haproxy-static.cfg"), self.env)

    def start_b(self):
        models, keys = self.dir / "models.map", self.dir / "keys.map"
        models.write_text("".join("%s %s\n" % route for route in ROUTES))
        keys.write_text("".join("%s %s\n" % (name, KEYS[name.upper() + "_API_KEY"]) for _, name in ROUTES))
        self.start_haproxy("b", rival("haproxy-json-query.cfg"), dict(self.env, MODELS_MAP=str(models), KEYS_MAP=str(keys)))

    def start_c(self):
        self.gateway("c", self.start_agent("c"))

    def start_d(self):
        self.start_null()
        self.gateway("d", self.config("null"))

    def start_s(self):
        self.start_null(way="s")
        self.gateway("s", self.config("null-s"))

    def start_o(self):
        self.start_null(way="o", more=["ledger"])
        self.gateway("o", self.config("null-o"), env={"LLM_LEDGER": "on"})

    def start_e(self, script=RIVALS / "route.lua"):
        self.start_haproxy("e", rival("haproxy-lua.cfg", script), self.env)

    def start_f(self):
        self.start_haproxy("f", rival("haproxy-lua.cfg", RIVALS / "route.lua"), dict(self.env, LUA_TOKENS="1"))

    def start_g(self):
        port = self.ports["g"] = harness.free_port()
        folder = self.dir / "nginx"
        folder.mkdir()
        (folder / "nginx.conf").write_text(nginx((RIVALS / "nginx.conf").read_text(), port, self.authority))
        self.start_proxy("g", ["nginx", "-p", folder, "-c", folder / "nginx.conf"], self.env)

    def start_recorded(self, way, env=None, **more):
        """A gateway whose agent has a ledger."""
        ledger, ring, datagrams = (self.dir / ("%s-%s" % (name, way)) for name in ("ledger", "log.sock", "log.dgram"))
        ledger.mkdir()
        file = self.start_agent(way, namespaces.LONG_QUEUE, ledger=str(ledger), log_listen=["unix@%s" % ring, "dgram@%s" % datagrams], **more)
        self.gateway(way, file, {"LLM_LOG_RING": "unix@%s" % ring, "LLM_LOG_UDP": "unix@%s" % datagrams}, env)

    def start_l(self):
        self.start_recorded("l")

    def start_p(self, *arguments):
        port = self.ports["p"] = harness.free_port()
        self.start_proxy("p", [sys.executable, RIVALS / "gateway.py", port, *arguments], self.env)

    def start_r(self):
        self.start_tapped("r", lambda path, legs: self.spawn("copier", [TOOLS / "copier", path, legs], "agent"))

    def start_t(self):
        self.start_tapped("t", lambda path, legs: self.spawn("tap", [harness.AGENT, "tap", "--listen", "unix@" + path, "--legs", legs, "--report", "dgram@%s/none" % self.dir,
                                                                     "--control", "unix@%s/control.sock" % self.dir], "agent"))

    def start_x(self):
        self.start_null(way="x", backend="-")
        self.start_haproxy("x", rival("haproxy-bare-spoe.cfg"), dict(self.env, LLM_AGENT="unix@" + self.sockets["x"], BARE_SPOE=str(RIVALS / "bare-spoe.conf")))


def rivals_versions():
    """For the head of a report."""
    nginx_v = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
    aiohttp_v = subprocess.run([sys.executable, "-c", "import aiohttp; print(aiohttp.__version__)"], capture_output=True, text=True).stdout
    return "%s, aiohttp %s" % (nginx_v.strip().rpartition(": ")[2] or "no nginx", aiohttp_v.strip() or "not there")
