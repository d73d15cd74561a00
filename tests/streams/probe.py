"""What a generator under test did, and when: notes that the test waits for."""

import threading
import time
from collections import defaultdict


class Probe:
    """Notes of one stream, made on the server's thread and read on the test's."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.notes: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        with self._changed:
            self.notes.append((what, time.monotonic()))
            self._changed.notify_all()

    def count(self, what: str) -> int:
        with self._changed:
            return sum(1 for name, _ in self.notes if name == what)

    def wait(self, what: str, seconds: float = 5.0, count: int = 1) -> float:
        """The time of the note; raises if it does not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count(what) >= count, seconds):
                raise AssertionError(f"{what!r} was not noted within {seconds} s: {self.names}")
            return [at for name, at in self.notes if name == what][count - 1]

    def _count(self, what: str) -> int:
        return sum(1 for name, _ in self.notes if name == what)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.notes]


PROBES: dict[str, Probe] = defaultdict(Probe)


def limit() -> float:
    """50 ms, more where other processes leave this one less than a core."""
    wall, own = time.perf_counter(), time.process_time()
    while time.perf_counter() < wall + 0.02:
        pass
    return 0.05 * max(1.0, (time.perf_counter() - wall) / (time.process_time() - own))


def wait_parked(probe: Probe, at_least: int = 1) -> None:
    """Return when the generator has made no item for a while: its reader stalls."""
    probe.wait("item", count=at_least)
    count = -1
    while count != (count := probe.count("item")):
        time.sleep(0.1)
