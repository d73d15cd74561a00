"""`python -m fastapi_poto audit`."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastapi_poto.commands.command import main
from tests.secret import SECRET

APP = """
from fastapi import FastAPI
from fastapi_poto import Poto, PotoModule, poto_router, roles

class Shop(PotoModule):
    {line}

    @roles("admin")
    async def close(self) -> None:
        self.carts["a"] = 1

def make() -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=Poto({secret!r})))
    return app

app = make()
number = 1
"""


def write(directory: Path, name: str, *, line: str = "pass", secret: str = SECRET) -> str:
    (directory / f"{name}.py").write_text(APP.format(line=line, secret=secret))
    return f"{name}:app"


def test_as_users_run_it(tmp_path: Path) -> None:
    """From the application's directory: the table on stdout, 0 when nothing is wrong, 1 for errors."""
    fine, wrong = write(tmp_path, "fine"), write(tmp_path, "wrong", line="carts = {}")
    runs = [
        subprocess.run(
            [sys.executable, "-m", "fastapi_poto", "audit", target], cwd=tmp_path, capture_output=True, text=True
        )
        for target in (fine, wrong)
    ]
    assert [run.returncode for run in runs] == [0, 1], runs
    assert "POST  /Shop/close" in runs[0].stdout
    assert "error: Shop.carts: a dict on the class, which the methods change" in runs[1].stdout
    assert runs[0].stderr == ""


def test_roles_and_strictness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--roles` says who there is; `--strict` turns warnings into a failure; `--factory` calls."""
    write(tmp_path, "shop_a")
    base = ["audit", "shop_a:make", "--factory", "--app-dir", str(tmp_path), "--workers", "1"]
    assert main([*base, "--roles", "admin"]) == 0
    assert main([*base, "--roles", "boss"]) == 1
    assert "nobody can call it: no user has 'admin'. There are: 'boss'." in capsys.readouterr().out
    write(tmp_path, "shop_b", line="tags = []")
    assert main(["audit", "shop_b:app", "--app-dir", str(tmp_path)]) == 0
    assert main(["audit", "shop_b:app", "--app-dir", str(tmp_path), "--strict"]) == 1


def test_an_application_that_refuses_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its reason, and 1: a weak secret."""
    target = write(tmp_path, "shop_c", secret="short")
    assert main(["audit", target, "--app-dir", str(tmp_path)]) == 1
    assert "error: The secret has 5 bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("shop_d", "is not module:app"),
        ("no_such_module:app", "There is no module 'no_such_module'"),
        ("shop_d:nothing", "shop_d has no 'nothing'"),
        ("shop_d:number", "is no FastAPI application but of type int"),
        ("shop_d:make", "is no FastAPI application but of type function; if it makes one, add --factory"),
    ],
)
def test_no_application(tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, says: str) -> None:
    """2, and what was found instead."""
    write(tmp_path, "shop_d")
    sys.modules.pop("shop_d", None)
    assert main(["audit", target, "--app-dir", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_what_an_import_raises_is_shown(tmp_path: Path) -> None:
    """A missing package of the application's own is not taken for a missing application."""
    (tmp_path / "shop_e.py").write_text("import no_such_package\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        main(["audit", "shop_e:app", "--app-dir", str(tmp_path)])
