"""What the Python drivers share: each ability is one function; one that raises is an ability that the tool lacks."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL = sys.argv[1]
EVERYTHING: dict[str, Any] = json.loads((Path(__file__).parent / "everything.json").read_text())


def run(*steps: Callable[[], None]) -> None:
    result: dict[str, str | None] = {}
    for step in steps:
        try:
            step()
        except Exception as error:
            result[step.__name__] = f"{type(error).__name__}: {error}"
        else:
            result[step.__name__] = None
    print(json.dumps(result))
