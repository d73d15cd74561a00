"""`python -m benchmarks [startup] [calls] [invalid] …`: all of them, or those that are named.

`visitors`, which takes half an hour, and `scale` and `hour`, which compare nothing, are only run when they are named.
"""

import importlib
import sys

ALL = ("startup", "calls", "invalid", "streams", "sessions", "auth", "identity", "logs")
SLOW = ("visitors", "scale", "hour")


def main(names: list[str]) -> None:
    for name in names or ALL:
        if name not in ALL + SLOW:
            raise SystemExit(f"There is no benchmark {name!r}; there are {', '.join(ALL)}.")
        print(f"\n=== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
