"""Serve one of the compared applications: `python -m benchmarks.serve PORT`; prints its path and token."""

import os
import sys

import uvicorn

from benchmarks.apps import BUILDERS

if __name__ == "__main__":
    app, path, token, _ = BUILDERS[os.environ["BENCH_APP"]](int(os.environ["BENCH_COUNT"]))
    print(path, token, flush=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
