import time
import fleets, harness, postgres, json, socket, sqlite3
from test_ship import QUIET
from loglines import Maker
def test_many(work):
    with postgres.Server(settings=QUIET) as server:
        fleet = fleets.Fleet(server)
        gws = [fleets.Gateway(fleet, "g%d" % n) for n in range(3)]
        for one in gws:
            one.take(Maker(seed=3).make(3)); one.register()
        day = int(time.time() // 86400)
        fleet.sql("insert into spoa_llm.gateways (name, uuid, writer, ledger_epoch, spent_sequence) select 'x'||n, gen_random_uuid(), 'w'||n, '', 5 from generate_series(1,17) n", code=None)
        print(fleet.sql("select no, name from spoa_llm.gateways"))
        fleet.sql("insert into spoa_llm.spending select no, 4, 'client-number-'||n, %d, 5,5,5,5,5,5, 3 from spoa_llm.gateways, generate_series(1,100000) n; update spoa_llm.gateways set spent_sequence=3; analyze" % day)
        for _ in range(2):
            t = time.time(); got = gws[0].sql("select count(*) from spoa_llm.spent_elsewhere(%d, '{}', '{}')" % day); print("all", got, time.time() - t)
        nos = [r[0] for r in fleet.sql("select no from spoa_llm.gateways")]
        t = time.time(); got = gws[0].sql("select count(*) from spoa_llm.spent_elsewhere(%d, '{%s}', '{%s}')" % (day, ",".join(nos), ",".join("3" for _ in nos))); print("none", got, time.time() - t)
        fleet.sql("update spoa_llm.gateways set spent_sequence=4; update spoa_llm.spending set sequence=4, day_nano=6 where name like '%%00'")
        t = time.time(); got = gws[0].sql("select count(*) from spoa_llm.spent_elsewhere(%d, '{%s}', '{%s}')" % (day, ",".join(nos), ",".join("3" for _ in nos))); print("1 percent", got, time.time() - t)
        # shipper with agent's socket
        path = work / "fleet.sock"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); sock.bind(str(path)); sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1<<20)
        g = gws[0]
        cfg = json.loads(g.config.read_text()); cfg["fleet_listen"] = "dgram@%s" % path; g.config.write_text(json.dumps(cfg))
        p = harness.Process("agent", harness.argv("ship", "-c", g.config), g.directory / "ship.log", harness.environment())
        t0 = time.time(); words = 0; accounts = 0; sock.settimeout(30)
        while time.time() - t0 < 40:
            d = json.loads(sock.recv(65536))
            if d["kind"] == "spent":
                words += 1; accounts += len(d["spent"])
                if d["first"] or d["last"]: print("%.1f" % (time.time() - t0), d["pass"], d["first"], d["last"], accounts, d["gateways"])
            elif d["kind"]=="fleet": print("%.1f" % (time.time()-t0), d["state"], d["problem"][:80])
        print(words)
        print(open("/proc/%d/status" % p.popen.pid).read().split("VmRSS")[1][:30])
        p.end()
