"""A reader that stops reading stops the generator."""

import pytest

from tests.streams.conftest import Connect
from tests.streams.probe import Probe, wait_parked

MEGABYTE = 1 << 20


@pytest.mark.parametrize("name", ["flood", "sync_flood"])
def test_a_stalled_reader_stops_the_generator(connect: Connect, name: str, tag: str, probe: Probe) -> None:
    """What is made and not read stays within what the kernel buffers, about 4 MB; then it goes on where it was."""
    connection = connect(f"/Leaving/{name}", query={"tag": tag}, receive_buffer=8192)
    wait_parked(probe, at_least=100)
    made = probe.count("item")
    assert made * 1024 < 8 * MEGABYTE
    wait_parked(probe)
    assert probe.count("item") == made
    while len(connection.received) < (made + 1000) * 1024:
        connection.read_some()
    assert probe.count("item") > made
    connection.leave()
    probe.wait("closed")


def test_nothing_is_lost_by_waiting(connect: Connect, tag: str, probe: Probe) -> None:
    """After a stall every item comes, once and in order."""
    connection = connect("/Leaving/hot", query={"tag": tag}, receive_buffer=8192)
    connection.read_until(b"data: 1\n\n")
    connection.wait_full()
    while len(connection.received) < 6 * MEGABYTE:
        connection.read_some()
    connection.leave()
    numbers = [int(frame[6:]) for frame in connection.body.split(b"\n\n")[:-1]]
    assert len(numbers) > 100_000
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_reader_that_stalls_for_long_is_given_up(
    connect_one: Connect, tag: str, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """After `send_timeout` (half a second here) the generator is closed, with a word in the log."""
    connect_one("/Quick/flood", query={"tag": tag}, receive_buffer=8192)
    wait_parked(probe, at_least=100)
    stalled = [at for name, at in probe.notes if name == "item"][-1]
    assert 0.3 < probe.wait("closed") - stalled < 2
    assert any("did not read" in record.getMessage() for record in caplog.records)
