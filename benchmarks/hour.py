"""An hour of a million users, second by second: what each worker and store has to do, and what breaks first.

    python -m benchmarks.hour

What comes in a second is drawn from a seed. Work that a second has no time for waits for the next one: that backlog, in
seconds, is what callers wait on top of everything else. Costs are those that `benchmarks.scale` measured. In the hour a
machine dies, at 10 minutes, and comes back at 12; from 30 minutes on all workers are restarted, one machine at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

HOUR = 3600
DIES_AT, BACK_AT, ROLLING_FROM, ROLLING_EVERY = 600, 720, 1800, 60


@dataclass(frozen=True)
class Load:
    """What people do. Rates are per second, times in seconds."""

    users: int = 1_000_000
    active: float = 0.2
    """Of all users, at any time of the hour."""
    between_calls: float = 20.0
    reads: float = 0.4
    """Of calls: those that read the session. And those that write it:"""
    writes: float = 0.1
    visit: float = 1200.0
    """How long somebody stays; each visit begins with a sign-in, by a password for every tenth."""
    passwords: float = 0.1
    between_refreshes: float = 900.0
    streams: int = 100_000
    stream_life: float = 600.0
    between_items: float = 10.0
    recheck: float = 15.0


@dataclass(frozen=True)
class Costs:
    """CPU seconds of a worker for an action, and of one core of the store for one operation."""

    read: float
    write: float
    call: float = 88e-6
    operation: float = 60e-6
    """What an operation on a server adds to the worker's call."""
    stream: float = 129e-6
    item: float = 33e-6
    password: float = 20e-3


STORES: Mapping[str, tuple[Costs, int, str]] = {
    # Costs, cores of one shard, what one is.
    "PostgreSQL": (Costs(read=22e-6, write=140e-6), 16, "a server of 16 cores"),
    "Redis": (Costs(read=4e-6, write=6e-6), 1, "a master of a cluster, which has one core"),
}


def _about(random: Random, mean: float) -> float:
    """So many of a Poisson distribution, by its normal approximation."""
    return max(0.0, random.gauss(mean, mean**0.5))


@dataclass
class Queue:
    """Something with so many core seconds a second. Work that is too much waits."""

    cores: float
    backlog: float = 0.0
    longest: float = 0.0
    busiest: float = 0.0
    total: float = 0.0

    def second(self, work: float) -> None:
        self.total += work
        self.busiest = max(self.busiest, work / self.cores)
        self.backlog = max(0.0, self.backlog + work - self.cores)
        self.longest = max(self.longest, self.backlog / self.cores)

    def shown(self, seconds: int) -> str:
        return f"{self.total / seconds / self.cores:5.0%} {self.busiest:6.0%} {self.longest:7.2f} s"


def hour(store: str, load: Load, *, machines: int, cores: int, shards: int, seconds: int = HOUR) -> dict[str, Queue]:
    """The busiest of the workers' machines, of the store's shards, and what there was to do at most."""
    costs, store_cores, _ = STORES[store]
    random = Random(16)
    workers = [Queue(cores) for _ in range(machines)]
    parts = [Queue(store_cores) for _ in range(shards)]
    # Users fall on shards by the hash of their records' names; a fixed, uneven draw stands for it.
    weights = [_about(random, load.users / shards) for _ in range(shards)]
    active = load.users * load.active
    open_streams = [load.streams / machines] * machines
    for second in range(seconds):
        down = DIES_AT <= second < BACK_AT
        rolling = (second - ROLLING_FROM) // ROLLING_EVERY if second >= ROLLING_FROM else machines
        is_out = [(down and one == 0) or one == rolling for one in range(machines)]
        up = [one for one in range(machines) if not is_out[one]]
        # Clients of a machine that has gone come back within 3 seconds, to any of the others.
        lost = 0.0
        for one in range(machines):
            if is_out[one]:
                gone = min(open_streams[one], max(1.0, open_streams[one] / 3))
                open_streams[one] -= gone
                lost += gone
        calls = _about(random, active / load.between_calls)
        signing_in = _about(random, active / load.visit)
        refreshes = _about(random, active / load.between_refreshes)
        opened = _about(random, load.streams / load.stream_life) + lost
        items = _about(random, sum(open_streams) / load.between_items)
        checks = sum(open_streams) / load.recheck
        reads = calls * (1 + load.reads) + 2 * signing_in + 2 * refreshes + opened + checks
        writes = calls * load.writes + 5 * signing_in + refreshes
        work = (
            calls * costs.call
            + (reads + writes) * costs.operation
            + opened * costs.stream
            + items * costs.item
            + signing_in * load.passwords * costs.password
        )
        for one in up:
            open_streams[one] += opened / len(up) - open_streams[one] / load.stream_life
            workers[one].second(work / len(up) * (1 + random.gauss(0, 0.02)))
        for part, weight in zip(parts, weights, strict=True):
            part.second((reads * costs.read + writes * costs.write) * weight / sum(weights))
    return {
        "workers": max(workers, key=lambda one: one.longest or one.busiest),
        "store": max(parts, key=lambda one: one.busiest),
    }


def limit(store: str, *, machines: int, cores: int, shards: int) -> tuple[float, str]:
    """So many times the load fit, with a tenth of a second's wait at most; and what breaks first beyond that."""
    times, breaks = 1.0, ""
    while not breaks:
        times *= 1.1
        load = Load(users=int(1_000_000 * times), streams=int(100_000 * times))
        found = hour(store, load, machines=machines, cores=cores, shards=shards)
        breaks = next((name for name, queue in found.items() if queue.longest > 0.1), "")
    return times / 1.1, breaks


def main() -> None:
    print("A million users, 100,000 streams: of the busiest, the mean, the worst second, the longest wait")
    print(f"  {'store':11} {'machines':>9} {'shards':>6}   {'a machine':24} a shard")
    plans = (("PostgreSQL", 2, 1), ("PostgreSQL", 4, 1), ("Redis", 2, 3), ("Redis", 4, 3))
    for store, machines, shards in plans:
        found = hour(store, Load(), machines=machines, cores=8, shards=shards)
        shown = [found[name].shown(HOUR) for name in ("workers", "store")]
        print(f"  {store:11} {machines:4} of 8 {shards:6}   {shown[0]:24} {shown[1]}")
    print("How far it goes")
    for store, machines, shards in (*plans, ("PostgreSQL", 64, 1), ("Redis", 64, 3)):
        times, breaks = limit(store, machines=machines, cores=8, shards=shards)
        print(f"  {store:11} {machines:4} of 8 {shards:6}   {times:5.1f} million, then the {breaks}")


if __name__ == "__main__":
    main()
