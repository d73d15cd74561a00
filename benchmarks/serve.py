"""One of the compared applications: `uvicorn --factory benchmarks.serve:app`; prints its path and its token."""

import os
from typing import Any

from benchmarks.apps import BUILDERS


def app() -> Any:
    app, path, token, _ = BUILDERS[os.environ["BENCH_APP"]](int(os.environ["BENCH_COUNT"]))
    print(path, token, flush=True)
    return app
