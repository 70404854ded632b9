"""`make install` and the Debian package: their files, the systemd units, the manual pages and the configuration to start from. The tests that
need root or containers are in tests/containers/systemd and tests/containers/compose."""
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pytest

import evidence
import harness

ROOT = harness.ROOT
BUILD = os.path.dirname(harness.AGENT)


def run(*command, **more):
    with evidence.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **more) as process:
        out, _ = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out)


def make(*arguments):
    # -o: make does not rebuild the agent, because these tests are about the binary that was built before.
    done = run("make", "-s", "BUILD=" + BUILD, "-o", BUILD + "/spoa-llm", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def needs(tool):
    if shutil.which(tool) is None:
        pytest.skip("%s is not here" % tool)


def tree(path):
    return sorted(str(entry.relative_to(path)) for entry in path.rglob("*") if not entry.is_dir())


FROM_OTHERS = {"alerts.yml", "grafana.json", "grafana-fleet.json", "prometheus.yml"}  # examples that are installed only if dist/ has them


def expected(prefix, units, doc=("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md")):
    examples = ["haproxy-existing.cfg", "haproxy.cfg.example", "llm.cfg", "spoe.conf"]
    examples += [name for name in FROM_OTHERS if (ROOT / "dist" / name).exists()]
    return sorted(
        ["etc/spoa-llm/spoa-llm.json", prefix + "/bin/spoa-llm", prefix + "/share/man/man1/spoa-llm.1",
         prefix + "/share/man/man5/spoa-llm.json.5", prefix + "/share/man/man7/spoa-llm-events.7", prefix + "/lib/sysusers.d/spoa-llm.conf",
         prefix + "/share/bash-completion/completions/spoa-llm", prefix + "/share/fish/vendor_completions.d/spoa-llm.fish",
         prefix + "/share/zsh/%s/_spoa-llm" % ("vendor-completions" if prefix == "usr" else "site-functions"),
         prefix + "/lib/sysctl.d/50-spoa-llm.conf", prefix + "/lib/tmpfiles.d/spoa-llm.conf"]
        + ["%s/share/doc/spoa-llm/%s" % (prefix, name) for name in doc]
        + ["%s/share/doc/spoa-llm/docs/%s" % (prefix, path.name) for path in (ROOT / "docs").glob("*.md")]
        + ["%s/share/doc/spoa-llm/examples/%s" % (prefix, name) for name in examples]
        + ["%s/%s" % (units, name) for name in ("spoa-llm.service", "spoa-llm.socket", "spoa-llm-log.socket", "spoa-llm-report.socket",
                                                "spoa-llm-tap.service", "spoa-llm-ship.service", "spoa-llm-token@.service", "spoa-llm-token@.timer",
                                                "spoa-llm-prices.service", "spoa-llm-prices.timer", "haproxy.service.d/spoa-llm.conf")])


def test_make_install_file_list(tmp_path):
    make("install", "DESTDIR=%s" % tmp_path)
    assert tree(tmp_path) == expected("usr/local", "usr/local/lib/systemd/system")
    for entry in tmp_path.rglob("*"):
        mode = stat.S_IMODE(entry.stat().st_mode)
        assert mode == (0o755 if entry.is_dir() or entry.name == "spoa-llm" and "bin" in entry.parts else 0o644), entry
    for name, command in (("spoa-llm", "run"), ("spoa-llm-tap", "tap"), ("spoa-llm-ship", "ship")):
        unit = (tmp_path / ("usr/local/lib/systemd/system/%s.service" % name)).read_text()
        assert "ExecStart=/usr/local/bin/spoa-llm %s\n" % command in unit and "@BINDIR@" not in unit
    done = run(str(tmp_path / "usr/local/bin/spoa-llm"), "--version")
    assert done.stdout.startswith("spoa-llm ")


def test_make_install_prefix_and_kept_configuration(tmp_path):
    config = tmp_path / "etc/spoa-llm/spoa-llm.json"
    config.parent.mkdir(parents=True)
    config.write_text("{}\n")
    make("install", "DESTDIR=%s" % tmp_path, "PREFIX=/opt/llm")
    assert tree(tmp_path) == expected("opt/llm", "opt/llm/lib/systemd/system")
    assert config.read_text() == "{}\n"
    assert "ExecStart=/opt/llm/bin/spoa-llm run\n" in (tmp_path / "opt/llm/lib/systemd/system/spoa-llm.service").read_text()


# ---- manual pages


def table():
    return [line.split("\t") for line in run(harness.AGENT, "--help=table").stdout.splitlines()]


def plain(page):
    done = run("man", "-l", str(ROOT / "dist" / page), env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8", MANPAGER="cat", TERM="dumb"))
    assert done.returncode == 0, done.stdout
    return re.sub(r"\s+", " ", re.sub(".\b", "", done.stdout))


@pytest.mark.parametrize("page", ["spoa-llm.1", "spoa-llm.json.5", "spoa-llm-events.7"])
def test_manual_renders_without_warnings(page):
    needs("man")
    done = subprocess.run(["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z", "./dist/" + page], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80"))
    assert done.returncode == 0 and done.stderr == b"" and len(done.stdout) > 10000


def test_manual_names_everything():
    needs("man")
    first, fifth, seventh = plain("spoa-llm.1"), plain("spoa-llm.json.5"), plain("spoa-llm-events.7")
    kinds = {"command": 0, "flag": 0, "option": 0, "event": 0, "refusal": 0}
    for kind, name, *rest in table():
        kinds[kind] += 1
        if kind in ("event", "refusal"):
            assert " %s (%s) " % (name, rest[0]) in seventh, name
            continue
        assert (" %s " % name if kind == "command" else "--" + name.replace("_", "-")) in first, name
        if kind == "option":
            flag, variable = rest[0], rest[1]
            assert "--" + flag in first, flag
            assert " %s " % name in fifth and variable in fifth, name
    assert min(kinds.values()) >= 8, kinds


def test_stale_manual_is_noticed(tmp_path):
    shutil.copytree(ROOT / "dist", tmp_path / "dist", ignore=shutil.ignore_patterns("secrets"))
    (tmp_path / "agent/config").mkdir(parents=True)
    (tmp_path / "agent/report").mkdir()
    shutil.copy(ROOT / "agent/config/routes.c", tmp_path / "agent/config")
    shutil.copy(ROOT / "agent/report/refusal_words.c", tmp_path / "agent/report")
    shutil.copy(ROOT / "haproxy.cfg.example", tmp_path)
    check = (str(tmp_path / "dist/manual"), "--check", harness.AGENT)
    assert run(*check).returncode == 0
    page = tmp_path / "dist/spoa-llm.json.5"
    page.write_text(page.read_text().replace("log_level", "log_levels"))
    done = run(*check)
    assert done.returncode == 1 and "spoa-llm.json.5" in done.stdout
    routes = tmp_path / "agent/config/routes.c"
    routes.write_text(routes.read_text().replace('\t{ "enabled", read_', '\t{ "colour", read_enabled },\n\t{ "enabled", read_'))
    assert "lacks route key colour" in run(*check).stdout
    haproxy = tmp_path / "haproxy.cfg.example"
    haproxy.write_text(haproxy.read_text().replace('"method_not_allowed"', '"method_forbidden"'))
    assert 'lacks refusal method_forbidden " (405)"' in run(*check).stdout
    template = tmp_path / "dist/spoa-llm-events.7.in"
    template.write_text(template.read_text().replace("invalid_json", "invalid_jason"))
    said = run(*check).stdout
    assert "there is no refusal invalid_jason" in said and "lacks refusal invalid_json" in said


# ---- units


def test_unit_exposure(tmp_path):
    needs("systemd-analyze")
    make("install", "DESTDIR=%s" % tmp_path, "PREFIX=/usr")
    units = tmp_path / "usr/lib/systemd/system"
    assert "| /usr/bin/spoa-llm credential " in (units / "spoa-llm-token@.service").read_text()
    for name in ("spoa-llm.service", "spoa-llm-tap.service", "spoa-llm-ship.service", "spoa-llm-token@.service", "spoa-llm-prices.service"):
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(units / name))
        level = re.search(r"exposure level for spoa-llm\S*.service: ([0-9.]+)", done.stdout)
        assert level and float(level.group(1)) < 2.0, done.stdout


def test_sockets_are_those_of_the_configuration():
    """The addresses of the socket units are those of the configuration, because the agent uses a socket of systemd only for an address that it
    listens on."""
    config = json.loads((ROOT / "dist/spoa-llm.json").read_text())
    streams = re.findall(r"^ListenStream=(/.*)$", (ROOT / "dist/spoa-llm.socket").read_text(), re.M)
    assert ["unix@" + path for path in streams] == config["listen"]
    log = re.findall(r"^Listen(Stream|Datagram)=(/.*)$", (ROOT / "dist/spoa-llm-log.socket").read_text(), re.M)
    assert [("unix@" if way == "Stream" else "dgram@") + path for way, path in log] == config["log_listen"]
    # By default the agent listens where HAProxy, by default, sends log lines to.
    default = [line for line in table() if line[:2] == ["option", "log_listen"]][0][8].split(",")
    example = (ROOT / "haproxy.cfg.example").read_text()
    sent = [re.search(r'presetenv %s +"(\S+)"' % name, example).group(1) for name in ("LLM_LOG_RING", "LLM_LOG_UDP")]
    assert default == config["log_listen"][:2] == [sent[0], sent[1].replace("unix@", "dgram@")]


def test_the_tap_is_on_where_the_gateway_is_new():
    """In the package and in docker compose. The agent listens where the tap sends its reports, which is what the socket unit opens. HAProxy's and the
    tap's defaults name the links that tmpfiles.d makes into the chroot."""
    report = re.findall(r"^ListenDatagram=(/.*)$", (ROOT / "dist/spoa-llm-report.socket").read_text(), re.M)
    assert len(report) == 1
    default = [line for line in table() if line[:2] == ["option", "tap_listen"]][0][8]
    for name, address in (("dist/spoa-llm.json", "dgram@" + report[0]), ("dist/compose/spoa-llm.json", "dgram@/run/spoa-llm-report/tap.dgram")):
        config = json.loads((ROOT / name).read_text())
        assert (config["tap"], config.get("tap_listen", default)) == (True, address), name
    assert '"--report", "dgram@/run/spoa-llm-report/tap.dgram"' in (ROOT / "docker-compose.yml").read_text()
    defaults = {line[1]: line[4].split()[-1] for line in table() if line[0] == "flag" and line[3] == "tap" and "default" in line[4]}
    assert defaults["report"] == "dgram@" + report[0]
    made = {line.split()[1]: line.split()[-1] for line in (ROOT / "dist/spoa-llm.tmpfiles").read_text().splitlines() if line.startswith("L")}
    assert made == {path: "/var/lib/haproxy" + path for path in (defaults["legs"], "/run/spoa-llm-tap")}
    backends = run(harness.AGENT, "backends", "-c", "dist/spoa-llm.json").stdout
    presets = dict(re.findall(r'presetenv (LLM_\w+) +"([^"]+)"', backends))
    assert presets["LLM_LEGS"] == defaults["legs"] and presets["LLM_TAP"] == "unix@/run/spoa-llm-tap/tap.sock"


def test_the_queue_of_log_lines_is_the_same_everywhere():
    """net.unix.max_dgram_qlen of the package and of docker compose."""
    told = [re.search(r"max_dgram_qlen\W+(\d+)", (ROOT / name).read_text()).group(1) for name in ("dist/spoa-llm.sysctl", "docker-compose.yml")]
    assert told[0] == told[1] and int(told[0]) >= 1000


# ---- the configuration to start from


def test_configuration_to_start_from(tmp_path):
    done = run(harness.AGENT, "check", "-c", "dist/spoa-llm.json")
    problems = [line for line in done.stdout.splitlines() if line.startswith("PROBLEM")]
    # The only problem that `check` may find is the credential that the operator has to bring.
    assert len(problems) == 1 and "/etc/spoa-llm/credentials/ollama" in problems[0], done.stdout
    # haproxy.cfg.example has a backend for each upstream of the configuration, and no other.
    backends = run(harness.AGENT, "backends", "-c", "dist/spoa-llm.json").stdout
    example = (ROOT / "haproxy.cfg.example").read_text().split("# ---- backends")[1]
    # Legs stand in what the package's configuration gets, because it has "tap", and not in the example.
    names = re.compile(r"^backend (?!leg\.|llm-tap$)(\S+)", re.M)
    assert names.findall(backends) == names.findall(example)
    assert len(re.findall(r"^frontend leg\.", backends, re.M)) == len(re.findall(r"^backend leg\.", backends, re.M)) > 0


@pytest.mark.parametrize("bind", [":8080", "abns@llm accept-proxy"])
def test_snippet_beside_a_configuration_of_ones_own(haproxy, tmp_path, bind):
    """HAProxy accepts an operator's own haproxy.cfg with the lines of haproxy-existing.cfg added, and the gateway as two more files."""
    make("install", "DESTDIR=%s" % (tmp_path / "root"))
    gateway = tmp_path / "root/usr/local/share/doc/spoa-llm/examples/llm.cfg"
    text = gateway.read_text()
    assert "\n    #log stdout " in text and "\n    log stdout" not in text and "backend llm-agent" in text and "ollama" not in text
    backends = tmp_path / "llm-backends.cfg"
    backends.write_text(run(harness.AGENT, "backends", "-c", "dist/spoa-llm.json").stdout)
    own = tmp_path / "haproxy.cfg"
    own.write_text("global\n    ca-base /etc/ssl/certs\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 5s\n"
                   "    timeout client 5s\n    timeout server 5s\n" + (ROOT / "dist/haproxy-existing.cfg").read_text())
    done = run(haproxy, "-c", "-f", str(own), "-f", str(gateway), "-f", str(backends),
               env=dict(os.environ, LLM_BIND=bind, LLM_SPOE_CONF=str(ROOT / "spoe.conf"), SPOA_LLM_LOG_KEY="key"))
    alerts = [line for line in done.stdout.splitlines() if "ALERT" in line or "WARNING" in line and "resolve" not in line]
    assert done.returncode == 0 and not alerts, done.stdout


# ---- make help


def test_make_help_lists_the_targets(tmp_path):
    """Each listed target exists and stands in a group on a line of its own; each `make TARGET` that a document tells the reader to type is listed."""
    told = make("help")
    assert re.findall(r"^(\S.*)$", told, re.M) == ["Build and install", "Tests", "Benchmarks"], told
    names = re.findall(r"^  make (\S+) +\S", told, re.M)
    assert len(names) == len(set(names)) == len(re.findall(r"^  ", told, re.M)), told
    assert {"all", "demo", "install", "test", "test-long", "test-quick", "lint", "bench", "help"} <= set(names)
    targets = set(re.findall(r"^([\w-]+):", run("make", "-npq", "BUILD=%s" % tmp_path, "help").stdout, re.M))
    assert set(names) <= targets, set(names) - targets
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md", *ROOT.glob("docs/*.md")]
    typed = {name for page in pages if page.exists() for name in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert typed and typed <= set(names), typed - set(names)


# ---- the package


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    needs("dpkg-shlibdeps")
    if "asan" in BUILD or "libasan" in run("ldd", harness.AGENT).stdout:
        pytest.skip("a sanitizer's binary is not packaged")
    return build_deb(tmp_path_factory.mktemp("deb"))


def build_deb(where):
    shutil.copy(harness.AGENT, where / "spoa-llm")
    version = run(harness.AGENT, "--version").stdout.split()[1]
    done = run("sh", "dist/deb/build", env=dict(os.environ, BUILD=str(where), VERSION=version,
                                                MAKE="make -o %s/spoa-llm" % where, SOURCE_DATE_EPOCH="1700000000"))
    assert done.returncode == 0, done.stdout
    return where / os.path.basename(done.stdout.split()[-1])


def test_deb_content(deb, tmp_path):
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path)], check=True)
    names = [re.sub(r"\.gz$", "", name) for name in tree(tmp_path)]
    wanted = [name for name in expected("usr", "lib/systemd/system", ("NEWS.md", "README.md", "SECURITY.md", "changelog", "copyright"))
              if "sysusers" not in name] + ["usr/share/lintian/overrides/spoa-llm"]
    assert sorted(names) == sorted(wanted)
    listed = subprocess.run(["dpkg-deb", "-c", str(deb)], stdout=subprocess.PIPE).stdout.decode().splitlines()
    assert {line.split()[1] for line in listed} == {"root/root"}
    fields = run("dpkg-deb", "-f", str(deb)).stdout
    assert re.search(r"^Depends: .*libc6.*libev4.*libsqlite3-0", fields, re.M), fields
    control = tmp_path / "control"
    subprocess.run(["dpkg-deb", "-e", str(deb), str(control)], check=True)
    assert (control / "conffiles").read_text() == "/etc/spoa-llm/spoa-llm.json\n"
    for line in (control / "md5sums").read_text().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.md5((tmp_path / name).read_bytes()).hexdigest() == digest, name
    for script in ("postinst", "prerm", "postrm"):
        assert run("sh", "-n", str(control / script)).returncode == 0


def test_deb_is_the_same_bytes_each_time(deb, tmp_path):
    assert build_deb(tmp_path).read_bytes() == deb.read_bytes()


def test_deb_lintian(deb):
    needs("lintian")
    done = run("lintian", "--allow-root", "--fail-on", "error,warning", str(deb))
    assert done.returncode == 0, done.stdout


# ---- the compose stack's secrets


def test_compose_secrets_are_made_once(tmp_path):
    script = tmp_path / "make-secrets"
    shutil.copy(ROOT / "dist/compose/make-secrets", script)
    assert run(str(script)).returncode == 0
    secrets = tmp_path / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    compose = (ROOT / "docker-compose.yml").read_text()
    assert sorted(path.name for path in secrets.iterdir()) == sorted(re.findall(r"\./dist/compose/secrets/(\w+)", compose))
    values = {path.name: path.read_text() for path in secrets.iterdir()}
    # One of the secrets is the key of the log lines, which may have at most 64 letters and digits.
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values.values()) and len(set(values.values())) == len(values)
    assert run(str(script)).returncode == 0
    assert {path.name: path.read_text() for path in secrets.iterdir()} == values
