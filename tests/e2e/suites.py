"""`make suites`: the suites about concurrency, each alone, all at once, and over several server processes.

Writes the table of docs/concurrency.md.
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "concurrency.md"
PROCESSES = 3

SUITES = {
    "test_login": "visitors and named users who sign in at the same moment",
    "test_isolation": "long calls, streams, bursts, abandoned streams, failures",
    "test_context": "the caller in threads, tasks, generators, on connections that are kept alive",
    "test_session": "one user's session from many calls at once",
    "test_rpc": "verbs, values, errors",
    "test_llm": "long streams that are left in the middle",
    "test_bytes": "uploads and downloads",
    "test_module_design": "shared state, and what to use instead",
}


def run(suite: str, processes: int = 1) -> tuple[str, float, str]:
    """How many tests passed, the seconds, and the output if one did not."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE / f"{suite}.py")],
        cwd=HERE.parents[1],
        env={**os.environ, "E2E_PROCESSES": str(processes)},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    output = "" if done.returncode == 0 else done.stdout + done.stderr
    return passed[1] if passed else "0", time.perf_counter() - start, output


def main() -> int:
    alone = {suite: run(suite) for suite in SUITES}
    with ThreadPoolExecutor(len(SUITES)) as pool:
        together = dict(zip(SUITES, pool.map(run, SUITES), strict=True))
    spread = {suite: run(suite, PROCESSES) for suite in SUITES}
    lines = [
        f"| suite | tests | alone, s | all at once, s | over {PROCESSES} processes, s |",
        "|---|---|---|---|---|",
    ]
    failures = []
    for suite, about in SUITES.items():
        columns = [alone[suite], together[suite], spread[suite]]
        failures += [output for _, _, output in columns if output]
        shown = " | ".join("**failed**" if output else f"{seconds:.1f}" for _, seconds, output in columns)
        lines.append(f"| `{suite}`: {about} | {alone[suite][0]} | {shown} |")
    table = "\n".join(lines)
    print(table)
    page = PAGE.read_text()
    begin, end = "<!-- suites -->\n", "<!-- end of suites -->"
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}{table}\n{end}{rest.partition(end)[2]}")
    sys.stderr.write("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
