# SPDX-License-Identifier: MIT
"""The upstream of tests/containers/systemd/inside: port 8000."""
import signal
import sys

sys.path.insert(0, "/tests/rig")
sys.dont_write_bytecode = True
from upstream import Mock  # noqa: E402


class Upstream(Mock):
    def up(self):
        self.port = 8000
        super().up()


Upstream("upstream")
while True:
    signal.pause()
