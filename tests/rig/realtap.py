"""`spoa-llm tap` in a gateway, and a gateway whose ledger it reports to."""
import os
import signal

import taps
from ledgers import LedgerGateway
from plaintap import Tapped
from processes import state_of


class RealTap(taps.Tap):
    """`spoa-llm tap`, with the directories of the gateway."""

    def __init__(self, path, legs, *flags, **more):
        super().__init__(path.parent, *flags, **more)
        assert (self.path, self.legs) == (str(path), legs)
        self.successor = None

    def upgrade(self):
        """Replaces the tap; the process from before goes on with its streams."""
        self.process.kill(signal.SIGUSR2)
        self.log("event=tap_draining")
        self.successor = int(self.log(r"event=tap_upgraded pid=(\d+)")[-1])

    def close(self):
        # The second signal ends a tap that waits for connections of HAProxy's.
        self.process.kill(signal.SIGTERM)
        self.__exit__(None)
        if self.successor and state_of(self.successor) not in "ZX":
            os.kill(self.successor, signal.SIGKILL)


class Recorded(Tapped, LedgerGateway):
    """With a ledger, to which the tap reports."""

    def start(self):
        self.config["tap_listen"] = "dgram@%s/tap.dgram" % self.dir
        super().start()
