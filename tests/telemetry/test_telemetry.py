"""What traces and metrics say of calls, in a process of its own: providers cannot be taken back."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stack", ["native", "contrib"])
def test_traced(stack: str) -> None:
    """FastAPI's own telemetry, and OpenTelemetry's instrumentation of FastAPI."""
    run_traced("traced.py", "-k", f"{stack} or either")


def test_ends() -> None:
    """How streams end that the server ends."""
    run_traced("traced_ends.py")


def run_traced(file: str, *options: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(ROOT / "tests/telemetry" / file), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
