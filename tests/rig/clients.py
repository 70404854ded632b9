"""A gateway that looks for keys of its clients: its streams go through a tap, and its routes may have pools."""
import evidence
import keys
from plaintap import Tapped
from pools import PoolGateway

class ClientGateway(Tapped, PoolGateway):
    """`clients`: entries of the file of clients. `mode`: HAProxy's LLM_CLIENTS. A key of a client's may reach no upstream."""

    def __init__(self, haproxy, mocks, config, clients=(), mode="on", **more):
        self.clients, self.file = list(clients), None
        more["limits"] = dict({"LLM_CLIENTS": mode}, **more.get("limits", {}))
        super().__init__(haproxy, mocks, config, **more)

    def start(self):
        if not self.fake:
            self.write(self.clients)
            self.config["clients"] = str(self.file)
        super().start()

    def write(self, clients):
        """Replaces the file of clients."""
        self.file = self.file or self.dir / "clients.json"
        keys.write(self.file, list(clients))

    def close(self, quiet=False):
        self.owners.update({value: [] for value in evidence.SECRETS if value.startswith("sk-spoa-")})
        super().close(quiet)
