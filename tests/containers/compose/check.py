# SPDX-License-Identifier: MIT
"""What tests/containers/compose/run asks of the stack that is up."""
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "rig"))
sys.dont_write_bytecode = True
import evidence  # noqa: E402

LLM, ADMIN, PROMETHEUS, OSLO = (int(os.environ[name]) for name in ("LLM_PORT", "ADMIN_PORT", "PROMETHEUS_PORT", "OSLO_PORT"))
SERVICES = "agent", "tap", "haproxy", "openai", "anthropic", "prometheus"
FLEET = "postgres", "fleet", "agent-oslo", "haproxy-oslo"
SHIPPERS = "ship-berlin", "ship-oslo"
GATEWAYS = "berlin", "oslo"
TOKEN = open("dist/compose/secrets/admin_token").read()
CLIENT = evidence.secret("client")


def podman(*arguments, check=True, stderr=subprocess.STDOUT):
    run = subprocess.run(["podman", *arguments], stdout=subprocess.PIPE, stderr=stderr)
    text = run.stdout.decode()
    if check and run.returncode:
        sys.exit("podman %s: %d\n%s" % (" ".join(arguments), run.returncode, text))
    return text if check else (run.returncode, text)


def container(service):
    return "spoa-llm_%s_1" % service


def until(what, true, seconds=60):
    end = time.monotonic() + seconds
    while True:
        problem = true()
        if problem is None:
            return
        if time.monotonic() > end:
            sys.exit("%s: %s" % (what, problem))
        time.sleep(0.5)


def expect(what, got, wanted):
    if got != wanted:
        sys.exit("%s: %r, not %r" % (what, got, wanted))
    print("  %-34s %s" % (what, got), flush=True)


def ask(path, model, headers, stream=False, port=LLM):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = {"model": model, "stream": stream, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer, text


def healthy(service):
    # podman runs health checks by systemd's timers, which not every machine has: run one now.
    rc, text = podman("healthcheck", "run", container(service), check=False)
    return None if rc == 0 else text or "unhealthy"


def guarded(service):
    told = json.loads(podman("inspect", container(service)))[0]
    status = podman("exec", container(service), "cat", "/proc/1/status")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "read-only": told["HostConfig"]["ReadonlyRootfs"],
        "root": fields["Uid"].split()[0] == "0",
        "capabilities": int(fields["CapBnd"], 16) | int(fields["CapEff"], 16),
        "no-new-privileges": fields["NoNewPrivs"].strip(),
    }


def pid_of(service):
    return int(podman("inspect", "-f", "{{.State.Pid}}", container(service)).strip())


def nowhere(service, network):
    """The service is in `network` alone, and has no route out of it."""
    networks = sorted(json.loads(podman("inspect", container(service)))[0]["NetworkSettings"]["Networks"])
    routes = pathlib.Path("/proc/%d/net/route" % pid_of(service)).read_text().splitlines()[1:]
    expect("networks of " + service, (networks, [line for line in routes if line.split()[1] == "00000000"]), ([network], []))


def sockets():
    """Modes and owners of the volumes by which HAProxy, the tap and the agent meet, and of the sockets in them; the legs once."""
    told = set()
    for volume in "tap", "legs", "reports":
        top = pathlib.Path(podman("volume", "inspect", "-f", "{{.Mountpoint}}", "spoa-llm_" + volume).strip())
        for path in [top, *top.iterdir()]:
            if path == top or path.is_socket() and path.name != "control.sock":
                name = volume if path == top else "%s/%s" % (volume, "leg" if path.name.startswith("leg.") else path.name)
                told.add("%s %o %d:%d" % (name, path.stat().st_mode & 0o7777, path.stat().st_uid, path.stat().st_gid))
    return told


def main():
    for service in SERVICES + FLEET + SHIPPERS:
        if service not in SHIPPERS:
            until("%s is healthy" % service, lambda: healthy(service))
        expect(service, guarded(service), {"read-only": True, "root": False, "capabilities": 0, "no-new-privileges": "1"})

    openai = {"authorization": "Bearer " + CLIENT}
    anthropic = {"x-api-key": CLIENT, "anthropic-version": "2023-06-01"}
    for what, path, model, headers, mock, whose in (
            ("OpenAI chat, glm", "/v1/chat/completions", "glm-4.6", openai, "openai", "operator"),
            ("OpenAI chat, gpt", "/v1/chat/completions", "gpt-5.5", openai, "openai", "client"),
            ("Anthropic messages, claude", "/v1/messages", "claude-sonnet-4-5", anthropic, "anthropic", "client"),
            ("Anthropic messages, glm", "/v1/messages", "glm-4.6", anthropic, "openai", "operator")):
        for stream in False, True:
            answer, _ = ask(path, model, headers, stream)
            expect(what + (", streamed" if stream else ""),
                   (answer.status, answer.getheader("x-mock"), answer.getheader("x-mock-saw")), (200, mock, whose))
    answer, text = ask("/v1/chat/completions", "kimi-k2", openai)
    expect("refused: no credential", (answer.status, answer.getheader("x-mock"), json.loads(text)["error"]["code"]),
           (502, None, "upstream_auth_unavailable"))

    def ledger():
        rows = [json.loads(line) for line in podman(
            "exec", container("agent"), "spoa-llm", "ledger", "export", stderr=subprocess.DEVNULL).splitlines()]
        found = sorted((row["model"], row["status"]) for row in rows)
        wanted = sorted([("glm-4.6", 200)] * 4 + [("gpt-5.5", 200)] * 2 + [("claude-sonnet-4-5", 200)] * 2 + [("kimi-k2", 502)])
        if found != wanted:
            return found
        told = [(row["model"], row["usage_from"], row["output"]) for row in rows if row["stream"] and row["status"] == 200]
        return None if all(one[1:] == ("stream", 7) for one in told) and len(told) == 4 else told
    until("the ledger has each request once, and each stream to the token", ledger, 20)
    print(podman("exec", container("agent"), "spoa-llm", "savings"))

    fleet(openai)

    request = urllib.request.Request("http://127.0.0.1:%d/metrics" % ADMIN)
    try:
        urllib.request.urlopen(request, timeout=5)
        sys.exit("/metrics was given without a token")
    except urllib.error.HTTPError as error:
        expect("/metrics without a token", error.code, 401)
    request.add_header("authorization", "Bearer " + TOKEN)

    def metric(name):
        text = urllib.request.urlopen(request, timeout=5).read().decode()
        return sum(float(value) for value in re.findall(r"^%s(?:\{.*\})? (\S+)$" % name, text, re.M))

    def twice():
        got = {name: metric("spoa_llm_ledger_%s_total" % name) for name in ("lines", "duplicate_lines", "foreign_lines")}
        return None if got == {"lines": 18, "duplicate_lines": 9, "foreign_lines": 0} else got
    until("each log line came by the ring and by datagram, with the key", twice, 10)
    print("  each log line came by the ring and by datagram, with the key")

    def scraped():
        query = "http://127.0.0.1:%d/api/v1/query?query=up%%7Bjob%%3D%%22spoa-llm%%22%%7D" % PROMETHEUS
        result = json.load(urllib.request.urlopen(query, timeout=5))["data"]["result"]
        up = {one["metric"]["instance"]: one["value"][1] for one in result}
        return None if up == {"agent:9603": "1", "agent-oslo:9603": "1"} else result
    # Prometheus asks for a name every 30 s, also after a question that nobody answered.
    until("Prometheus scrapes the agents", scraped, 120)
    rules = json.load(urllib.request.urlopen("http://127.0.0.1:%d/api/v1/rules" % PROMETHEUS, timeout=5))["data"]["groups"]
    count = sum(len(group["rules"]) for group in rules)
    if os.path.exists("dist/alerts.yml") and not count:
        sys.exit("Prometheus has no alerts")
    print("  Prometheus scrapes the agents, %d alerts" % count)

    subprocess.run(["podman-compose", "-p", "spoa-llm", "up", "-d", "--no-build", "load"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)

    def loaded():
        rows = [json.loads(line) for line in podman(
            "exec", container("agent"), "spoa-llm", "ledger", "export", stderr=subprocess.DEVNULL).splitlines()]
        found = {(row["model"], row["status"]) for row in rows if row["project"] in ("search", "support", "nightly")}
        return None if len(rows) > 20 and len(found) >= 3 else found
    until("the load's requests are in the ledger", loaded, 60)
    print("  the load runs")

    # Neither network nor volume lets an upstream, or a client, ask the agent.
    expect("networks of the agent", sorted(json.loads(podman("inspect", container("agent")))[0]["NetworkSettings"]["Networks"]),
           ["spoa-llm_metrics"])
    # The tap's network leads nowhere. It and HAProxy alone reach the legs, and the tap alone the socket for reports.
    nowhere("tap", "spoa-llm_alone")
    expect("sockets of the tap and the legs", sorted(sockets()), sorted(
        ["tap/tap.sock 660 9605:9600", "reports/tap.dgram 660 9602:9605", "tap 2750 9605:9600", "legs 2750 9601:9605", "reports 2750 9602:9605"]
        + ["legs/leg 660 9601:9605"]))
    log = podman("logs", container("agent"), stderr=subprocess.STDOUT)
    told = re.findall(r"event=(log_listen_open|log_queue_short|socket_unused)", log)
    expect("the agent warns of its log sockets", told, [])
    searched()


def fleet(headers):
    """Both gateways' requests are in PostgreSQL, and each shipper reaches what it needs alone."""
    for _ in range(3):
        expect("at the second gateway", ask("/v1/chat/completions", "gpt-5.5", headers, port=OSLO)[0].status, 200)

    def rows():
        text = podman("exec", container("fleet"), "spoa-llm", "fleet", "list", "--json", stderr=subprocess.DEVNULL)
        found = {one["name"]: (one["rows"], one["behind"], bool(one["routes_differ_since"])) for one in json.loads(text)["gateways"]}
        return None if found == {"berlin": (9, 0, False), "oslo": (3, 0, False)} else found
    until("PostgreSQL has each request of both gateways", rows, 60)
    print("  PostgreSQL has each request of both gateways")

    def page():
        request = urllib.request.Request("http://127.0.0.1:%d/savings?scope=fleet&format=json" % ADMIN, headers={"authorization": "Bearer " + TOKEN})
        try:
            said = json.load(urllib.request.urlopen(request, timeout=10))
        except urllib.error.HTTPError as error:
            return error.read().decode()
        return None if said["totals"]["requests"] == 12 else said["totals"]
    until("the page of one gateway shows both", page, 30)
    print("  the page of one gateway shows both")
    for service in SHIPPERS + ("postgres", "fleet"):
        nowhere(service, "spoa-llm_fleet")
    for service, name in zip(SHIPPERS, GATEWAYS):
        mounts = {one["Destination"]: one["RW"] for one in json.loads(podman("inspect", container(service)))[0]["Mounts"]}
        expect("mounts of " + service, mounts, {"/var/lib/spoa-llm": False, "/run/spoa-llm-ship": True, "/run/fleet-db": True, "/run/fleet/" + name: False})
    code, _ = podman("exec", container("agent"), "cat", "/run/fleet/berlin/password", check=False)
    if code == 0:
        sys.exit("the agent reads PostgreSQL's password")


def searched():
    """No credential in anything that the stack wrote, answers, or shows of itself."""
    for name in GATEWAYS:
        volume = podman("volume", "inspect", "-f", "{{.Mountpoint}}", "spoa-llm_fleet_" + name).strip()
        evidence.known(pathlib.Path(volume, "password").read_text().strip(), "the password of " + name)
    for secret in os.listdir("dist/compose/secrets"):
        evidence.known(open("dist/compose/secrets/" + secret).read(), secret)
    size = 0

    def search(data, where):
        nonlocal size
        if not data:
            sys.exit("nothing to search: " + where)
        size += len(data)
        evidence.search(data, where)
    names = podman("ps", "-a", "--format", "{{.Names}}").split()
    assert set(map(container, SERVICES + FLEET + SHIPPERS)) <= set(names), names
    for name in names:
        search(podman("logs", name) or "-", "the log of " + name)
        search(podman("inspect", name), "podman inspect " + name)
        search(podman("top", name, "pid", "args"), "the processes of " + name)
        for about in "cmdline", "status":
            search(podman("exec", name, "cat", "/proc/1/" + about), "/proc/1/%s of %s" % (about, name))
        # What a user of the machine who may not be root sees of it.
        evidence.search_processes([int(podman("inspect", "-f", "{{.State.Pid}}", name).strip())])
    for command in (["ledger", "export"], ["savings"], ["explain", "-c", "/etc/spoa-llm/spoa-llm.json", "--model", "glm-4.6"],
                    ["backends", "-c", "/etc/spoa-llm/spoa-llm.json"]):
        search(podman("exec", container("agent"), "spoa-llm", *command), "spoa-llm " + " ".join(command))
    files = 0
    for volume in podman("volume", "ls", "-q").split():
        # The passwords stand in two of these volumes; PostgreSQL's data are large, and what it logs is searched.
        if volume.rpartition("_")[2] in ("data", *GATEWAYS):
            continue
        for file in pathlib.Path(podman("volume", "inspect", "-f", "{{.Mountpoint}}", volume).strip()).rglob("*"):
            evidence.search(str(file), "a file's name")
            evidence.search_file(file)
            files += file.name in ("ledger.db", "ledger.db-wal") or "journal" in file.parts
    if files < 2:
        sys.exit("the ledger's volume was not searched: %d files" % files)
    for page in "/", "/livez", "/readyz", "/metrics", "/savings", "/stats", "/stats-history", "/explain?model=glm-4.6":
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (ADMIN, page), headers={"authorization": "Bearer " + TOKEN})
        search(urllib.request.urlopen(request, timeout=10).read(), "page " + page)
    for page in "status/config", "targets", "query?query=%7Bjob%3D%22spoa-llm%22%7D":
        search(urllib.request.urlopen("http://127.0.0.1:%d/api/v1/%s" % (PROMETHEUS, page), timeout=10).read(), "Prometheus, " + page)
    told = evidence.verdict()
    if told or size < 100000:
        sys.exit(told or "too little to search: %d bytes" % size)
    print("  no credential of %d in %d bytes of logs, pages, files, processes" % (len(evidence.SECRETS), size))


main()
