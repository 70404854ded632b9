"""Tokens that a command of the operator's gets: `spoa-llm credential` replaces a file as a whole or not at all, the unit spoa-llm-token@ runs the
command, and the commands of docs/credentials.md print what the agent can use. The providers are commands of the test's own."""
import calendar
import json
import os
import re
import shutil
import stat
import subprocess
import time

import pytest

import evidence
import harness
from harness import ROOT, secret


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


# The files of these tests hold credentials, as those of an operator do.
NAMES = ("google", "gcloud", "azure", "identity", "vault", "t", "token", "curl")


@pytest.fixture(autouse=True)
def files_of_credentials():
    evidence.SPARED.update(NAMES)


def run(command, text="", **more):
    with evidence.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more) as process:
        out, _ = process.communicate(text.encode(), timeout=30)
    return subprocess.CompletedProcess(command, process.returncode, out.decode())


def put(path, text):
    return run([harness.AGENT, "credential", str(path)], text, env=harness.environment())


def test_what_the_agent_cannot_use_replaces_nothing(work):
    path, old = work / "token", secret("old")
    assert put(path, old).returncode == 0 and path.read_text() == old
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    for text, why in [("", "empty"), ("\n", "empty"), ('{"token":null,"expires_at":"%s"}' % utc(60), "token"), ('{"token":"a"', "JSON"),
                      ('{"token":"a","expires_at":"%s"}' % utc(-5), "expired"), ('{"token":"a","expires_at":"soon"}', "expires_at"),
                      ('{"error":"invalid_client"}', "another member"), ("a\nb", "control"), ("k" * 20000, "longer")]:
        done = put(path, text)
        assert done.returncode == 65 and why in done.stdout and str(path) in done.stdout, (text[:40], done)
        assert path.read_text() == old and list(work.glob("token.*")) == []
    node = path.stat().st_ino
    new = json.dumps({"token": secret("new"), "expires_at": utc(60)}) + "\n"
    assert put(path, new).returncode == 0 and path.read_text() == new
    assert path.stat().st_ino != node and stat.S_IMODE(path.stat().st_mode) == 0o600, "replaced by a rename, with the mode it had"
    done = put(work / "nowhere" / "token", new)
    assert done.returncode == 73 and "nowhere" in done.stdout
    for arguments, why in ((["credential"], "FILE"), (["credential", "a", "b"], "unexpected")):
        done = harness.cli(*arguments)
        assert done.code == 64 and why in done.err, done


@pytest.mark.skipif(os.geteuid() != 0, reason="a group of another one needs root")
def test_a_new_file_has_the_group_of_its_directory(work):
    """The agent is in that group, and may read a key that root typed."""
    place = work / "credentials"
    place.mkdir()
    os.chown(place, 0, 4321)
    path = place / "token"
    assert put(path, "").returncode == 65 and not path.exists()     # the question for the key was cancelled
    assert put(path, secret("typed") + "\n").returncode == 0
    assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (0, 4321, 0o640)
    done = run([harness.AGENT, "credential", "token"], secret("again"), env=harness.environment(), cwd=place)
    assert done.returncode == 0 and path.stat().st_gid == 4321
    path.unlink()
    done = run([harness.AGENT, "credential", "token"], secret("again"), env=harness.environment(), cwd=place)
    assert done.returncode == 0 and path.stat().st_gid == 4321


class Unit:
    """spoa-llm-token@NAME.service as it is installed, its ExecStart run as systemd would run it, with other folders."""

    def __init__(self, work):
        self.commands, self.tokens, self.bin = work / "commands", work / "tokens", work / "bin"
        for place in (self.commands, self.tokens, self.bin):
            place.mkdir()
        text = (ROOT / "dist" / "spoa-llm-token@.service").read_text()
        self.start = re.search(r"^ExecStart=(.*)$", text, re.M).group(1)
        assert "/etc/spoa-llm/tokens" in self.start and "/run/spoa-llm-token" in self.start

    def run(self, name, **variables):
        line = self.start.replace("@BINDIR@/spoa-llm", harness.AGENT).replace("/etc/spoa-llm/tokens", str(self.commands)).replace(
            "/run/spoa-llm-token", str(self.tokens)).replace("%i", name).replace("%%", "%").replace("$$", "$")
        words = re.findall(r"'([^']*)'|(\S+)", line)
        env = dict(harness.environment(), PATH="%s:%s" % (self.bin, os.environ["PATH"]), **variables)
        return run([one or two for one, two in words], env=env)

    def command(self, name, text):
        (self.commands / name).write_text(text)
        (self.commands / name).chmod(0o755)

    def provider(self, name, answer, *needs, code=0):
        """A program `name` that answers if each of `needs` is in its arguments, or in what `-d @-` has it read; else it fails as curl -f does."""
        checks = "".join("case \"$all\" in *'%s'*) ;; *) echo \"%s: no %s\" >&2; exit 22 ;; esac\n" % (one, name, one) for one in needs)
        read = '$(cat)' if "d @-" in needs else ""
        (self.bin / name).write_text("#!/bin/sh\nall=\"$* %s\"\n%scat <<'EOT'\n%s\nEOT\nexit %d\n" % (
            read, checks, answer, code))
        (self.bin / name).chmod(0o755)


@pytest.fixture
def unit(work):
    if not shutil.which("jq"):
        pytest.skip("Debian's package jq is not here")
    return Unit(work)


def test_a_command_that_fails_leaves_the_token(unit):
    first = secret("first")
    unit.command("t", "#!/bin/sh\necho %s\n" % first)
    assert unit.run("t").returncode == 0 and (unit.tokens / "t").read_text() == first
    for text, code in [("#!/bin/sh\necho %s\nexit 3\n" % secret("half"), 3), ("#!/bin/sh\nexit 0\n", 65), ("#!/bin/sh\nkill -9 $$\n", 137),
                       ("#!/bin/sh\necho '{\"token\":null}'\n", 65), ("#!/nowhere\n", 127)]:
        unit.command("t", text)
        done = unit.run("t")
        assert done.returncode == code and (unit.tokens / "t").read_text() == first, (text, done)
    (unit.commands / "t").unlink()
    assert unit.run("t").returncode and (unit.tokens / "t").read_text() == first
    assert os.listdir(unit.tokens) == ["t"]


def script(heading, number):
    text = (ROOT / "docs" / "credentials.md").read_text().split("### %s\n" % heading)[1].split("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)[number]


def test_the_commands_of_the_documentation(unit, work):
    """Each command, with a provider that answers as Google, Azure and Vault do; then an agent that reads all of the files."""
    tokens = {name: secret(name) for name in NAMES[:5]}
    client = secret("azure-client") + "&=%+ "
    unit.command("google", script("Vertex AI", 0))
    unit.provider("curl", json.dumps({"access_token": tokens["google"], "expires_in": 3598, "token_type": "Bearer"}), "-fsS", "Metadata-Flavor: Google",
                  "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token")
    assert unit.run("google").returncode == 0
    unit.command("gcloud", script("Vertex AI", 1))
    unit.provider("gcloud", json.dumps({"configuration": {"active_configuration": "default"}, "credential": {
        "access_token": tokens["gcloud"], "id_token": "x", "token_expiry": utc(3598)}}), "config config-helper", "--format=json")
    assert unit.run("gcloud").returncode == 0
    unit.command("azure", script("Azure AD (Entra ID)", 0))
    unit.provider("curl", json.dumps({"token_type": "Bearer", "expires_in": 3598, "ext_expires_in": 3598, "access_token": tokens["azure"]}), "-fsS", "d @-",
                  "https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token", "grant_type=client_credentials", "client_id=id-1",
                  "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default", "client_secret=%s%%26%%3D%%25%%2B%%20" % client[:-5])
    done = unit.run("azure", AZURE_TENANT_ID="tenant-1", AZURE_CLIENT_ID="id-1", AZURE_CLIENT_SECRET=client)
    assert done.returncode == 0, done
    unit.command("identity", script("Azure AD (Entra ID)", 1))
    unit.provider("curl", json.dumps({"access_token": tokens["identity"], "expires_in": "3598", "expires_on": str(int(time.time()) + 3598)}), "-fsS",
                  "Metadata: true", "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://cognitiveservices.azure.com")
    assert unit.run("identity").returncode == 0
    unit.command("vault", script("Vault", 0))
    unit.provider("vault", json.dumps({"request_id": "1", "lease_duration": 0, "data": {"data": {"key": tokens["vault"]}, "metadata": {"version": 2}}}),
                  "kv get", "-mount=secret", "llm/openai")
    assert unit.run("vault").returncode == 0
    for name in tokens:
        got = json.loads((unit.tokens / name).read_text())
        assert got["token"] == tokens[name]
        if name != "vault":
            ends = calendar.timegm(time.strptime(got["expires_at"], "%Y-%m-%dT%H:%M:%SZ"))
            assert 3500 < ends - time.time() < 3600, got["expires_at"]
    routes = [{"model_prefix": name, "upstream": "https://a.test", "auth": "file:%s/%s" % (unit.tokens, name)} for name in tokens]
    with harness.Agent(work, {"routes": routes}) as agent:
        assert agent.text().count("event=credential_read ") == len(tokens), agent.text()
    # A provider that refuses leaves each file as it is.
    for program in ("curl", "gcloud", "vault"):
        unit.provider(program, '{"error":"denied"}', code=22)
    for name in tokens:
        before = (unit.tokens / name).read_bytes()
        assert unit.run(name, AZURE_TENANT_ID="t", AZURE_CLIENT_ID="i", AZURE_CLIENT_SECRET="s").returncode != 0
        assert (unit.tokens / name).read_bytes() == before
