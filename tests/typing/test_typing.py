"""Types are a feature: both checkers agree with the package and with what users see of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

# Each reads the whole project, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy() -> None:
    """`mypy --strict` is clean over the package, the example and the surface."""
    assert run(sys.executable, "-m", "mypy") == ""


def test_pyright() -> None:
    """pyright is clean over the package and the surface."""
    assert run(str(Path(sys.executable).with_name("pyright"))) == ""
