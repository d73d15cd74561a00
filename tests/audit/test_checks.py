"""What the audit finds, and what it lets pass."""

from types import MappingProxyType
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_poto import (
    OIDC,
    ConfigurationError,
    CurrentSession,
    OwnSignIn,
    Poto,
    PotoModule,
    current_context,
    poto_router,
    public,
    roles,
)
from fastapi_poto.audit import Report, audit
from fastapi_poto.auth import auth_router
from tests.secret import SECRET


def report_of(*modules: type[PotoModule], poto: Poto | None = None, auth: bool = True, **arguments: Any) -> Report:
    app = FastAPI()
    app.include_router(poto_router(*modules, poto=poto or Poto(SECRET), auth=auth))
    return audit(app, **{"workers": 1, **arguments})


def found(report: Report) -> list[tuple[str, str]]:
    return [(finding.level, finding.where) for finding in report.findings]


class Fine(PotoModule):
    PRICES = {"a": 1}
    sizes = ("s", "m")
    limits = MappingProxyType({"a": 1})

    @public
    async def get_price(self, sku: str) -> int:
        return self.PRICES[sku]

    @public
    async def greet(self) -> str:
        return await self.session.get("name", "you") if self.get_current_user() else "whoever you are"

    @public
    async def name(self) -> str:
        return user.id if (user := self.get_current_user()) else "nobody"

    async def keep(self, name: str) -> None:
        await self.session.set("name", name)

    @roles("admin")
    async def close(self) -> None: ...


def test_what_is_fine_is_silent() -> None:
    """Constants, a public method that asks who calls, sessions of signed-in callers: nothing to say."""
    report = report_of(Fine, roles={"admin"})
    assert found(report) == []
    report.check()


class Trap(PotoModule):
    carts: dict[str, list[str]] = {}
    seen: set[str] = set()
    LOG: list[str] = []
    tags = ["a"]

    async def add(self, sku: str) -> None:
        self.carts.setdefault(self.user.id, []).append(sku)

    async def see(self, sku: str) -> None:
        self._see(sku)

    def _see(self, sku: str) -> None:
        type(self).seen |= {sku}

    async def log(self, line: str) -> None:
        Trap.LOG += [line]


class SubTrap(Trap):
    async def again(self) -> None: ...


def test_state_on_the_class() -> None:
    """What methods change is shared by all callers: an error, also in a helper and under a constant's name."""
    report = report_of(Trap, SubTrap)
    assert found(report) == [
        ("error", "Trap.carts"),
        ("error", "Trap.seen"),
        ("error", "Trap.LOG"),
        ("warning", "Trap.tags"),
    ]
    with pytest.raises(ConfigurationError, match=r"Trap\.carts: a dict on the class.*self\.session"):
        report.check()


class Careless(PotoModule):
    @public
    async def by_attribute(self) -> int:
        return await self.session.increment("n")

    @public
    async def by_name(self) -> Any:
        return await self.get_session_value("n")

    @public
    async def by_context(self) -> Any:
        return await current_context().session.get("n")

    @public
    async def by_helper(self) -> int:
        return await self._count()

    async def _count(self) -> int:
        return await self.context.session.increment("n")

    @public
    async def by_parameter(self, session: CurrentSession) -> Any:
        return await session.get("n")

    @public
    async def of_something_else(self, db: dict[str, int]) -> Any:
        session = db
        return session.get("n")


def test_public_methods_that_need_a_caller() -> None:
    """Touching the session is a warning, taking the session as a parameter an error."""
    assert sorted(found(report_of(Careless))) == [
        ("error", "Careless.by_parameter"),
        ("warning", "Careless.by_attribute"),
        ("warning", "Careless.by_context"),
        ("warning", "Careless.by_helper"),
        ("warning", "Careless.by_name"),
    ]


class Roles(PotoModule):
    @roles("admin")
    async def a(self) -> None: ...

    @roles("Admins", "root")
    async def b(self) -> None: ...


def test_roles() -> None:
    """A method that nobody can call is an error, if it is known who there is; a near miss is a warning."""
    assert found(report_of(Roles)) == [("warning", "Roles.a")]
    assert found(report_of(Roles, roles=["admin", "root"])) == [("warning", "Roles.b"), ("warning", "Roles.a")]
    assert ("error", "Roles.a") in found(report_of(Roles, roles=["root"]))


def test_no_way_to_sign_in() -> None:
    """An error with a memory store; a warning where another application may do it; nothing for public methods."""
    assert found(report_of(Fine, auth=False)) == [("error", "Fine.keep and 1 more")]
    shared = Poto(SECRET, store="sqlite:///unused.db")
    assert found(report_of(Fine, auth=False, poto=shared)) == [("warning", "Fine.keep and 1 more")]

    class Open(PotoModule):
        @public
        async def get_it(self) -> int:
            return 1

    assert found(report_of(Open, auth=False)) == []


def test_sign_in_elsewhere_in_the_application() -> None:
    """Another router of the same runtime, or the sign-in routes alone, will do."""
    poto = Poto(SECRET)
    app = FastAPI()
    app.include_router(poto_router(Fine, poto=poto, auth=False), prefix="/api")
    app.include_router(auth_router(poto))
    assert found(audit(app, workers=1)) == []


def test_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret and a store of one process each are errors then; the environment says how many there are."""
    report = report_of(Fine, poto=Poto(), workers=4)
    assert found(report) == [("error", "Poto")] * 2
    assert found(report_of(Fine, poto=Poto(SECRET, store="sqlite:///unused.db"), workers=4)) == []
    assert found(report_of(Fine, poto=Poto(), workers=1)) == [("warning", "Poto")]
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert found(report_of(Fine, workers=None)) == [("error", "Poto")]


def test_debug() -> None:
    """Tracebacks are for developers."""
    assert found(audit(FastAPI(debug=True), workers=1)) == [("warning", "app")]


def test_routes_that_are_never_reached() -> None:
    """A plain route in front of a method; two methods with one operation id, which the start refuses."""
    poto = Poto(SECRET)
    app = FastAPI()

    @app.post("/Fine/keep")
    async def keep() -> None: ...

    app.include_router(poto_router(Fine, poto=poto))
    report = audit(app, workers=1)
    assert found(report) == [("error", "POST /Fine/keep")]
    assert "Fine.keep is never called: the plain route of" in report.findings[0].says
    twice = FastAPI()
    twice.include_router(poto_router(Fine, poto=poto), prefix="/a")
    twice.include_router(poto_router(Fine, poto=poto), prefix="/b")
    assert found(audit(twice, workers=1)) == [("error", "app")]


def test_two_routers_that_share_a_sign_in() -> None:
    """Both bring its routes: they are one, and nothing is said."""
    poto = Poto(SECRET)
    app = FastAPI()
    app.include_router(poto_router(Fine, poto=poto))
    app.include_router(poto_router(Trap, poto=poto))
    assert {where.partition(".")[0] for _, where in found(audit(app, workers=1))} == {"Trap"}


def test_issuers_without_an_audience() -> None:
    """A token for any other application would be good: a warning, unless the authorized parties are named."""

    def report(*parties: str, auth: bool = True) -> Report:
        issuer = OIDC("https://login.example", audience=None, name="corp", authorized_parties=parties)
        return report_of(Fine, poto=Poto(SECRET, credentials=[OwnSignIn(), issuer]), auth=auth)

    assert found(report()) == [("warning", "OIDC corp")]
    assert found(report("web")) == []
    assert found(report("web", auth=False)) == []
