"""What a cut of power leaves of a directory: see tests/preload/powercut.c.

    cut = PowerCut(directory)       # what is in it does not count as synced
    agents(..., env=cut.env)        # its files are in `directory`
    ...                             # SIGKILL
    cut.rebuild(to, names)
"""
import os
import shutil

import harness

LIBRARY = harness.ROOT / "build" / "powercut.so"
# Which names of files the disk has. A directory is synced seldom, and a file system may bring its changes to the disk at any time before.
NAMES = ("as synced", "as they are")


class PowerCut:
    def __init__(self, directory):
        assert LIBRARY.exists(), "make test-tools"
        self.directory = directory
        self.synced = directory.with_name(directory.name + ".synced")
        self.synced.mkdir()
        preload = harness.environment().get("LD_PRELOAD", "")
        self.env = {"LD_PRELOAD": " ".join(filter(None, [preload, str(LIBRARY)])), "POWERCUT": str(directory),
                    "ASAN_OPTIONS": harness.environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}

    def refuse(self, end):
        """The next sync of a file whose path ends so fails. Returns what tells whether it has."""
        file = self.synced / "refuse"
        (self.synced / "refuse.new").write_text(end)
        (self.synced / "refuse.new").rename(file)
        return lambda: not file.exists()

    def rebuild(self, to, names):
        """Writes to the new directory `to` what the disk has for certain."""
        assert names in NAMES
        # Directories are as they were made: their own inodes are known, whatever the disk has of their names.
        inodes = {path.stat().st_ino: path for path in [self.directory, *self.directory.rglob("*")] if path.is_dir()}
        self._directory(self.directory.stat().st_ino, inodes, to, names)
        return to

    def _directory(self, inode, inodes, to, names):
        to.mkdir()
        list_of = self.synced / ("names-%d" % inode)
        if names == "as they are":
            entries = [(entry.inode(), entry.name) for entry in os.scandir(inodes[inode])]
        else:
            lines = list_of.read_text().splitlines() if list_of.exists() else []
            entries = [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]
        for of, name in entries:
            data = self.synced / ("data-%d" % of)
            if of in inodes:
                self._directory(of, inodes, to / name, names)
            elif data.exists():
                shutil.copy(data, to / name)
            else:
                (to / name).touch()     # it was made, and never synced
