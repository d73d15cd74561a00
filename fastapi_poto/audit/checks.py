"""What cannot be vouched for: errors, which are wrong whatever was meant, and warnings, which may be meant."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from ..auth import OwnSignIn
from ..auth.oidc import OIDC
from ..errors import ConfigurationError
from ..module import PotoModule
from ..openapi.operation_ids import check_operation_ids
from ..operations import Operation, Source
from ..stores import MemoryStore
from .source import MUTABLE, touches
from .table import Row, modules_of


class Finding(NamedTuple):
    """One thing that is wrong, or may be. `says` ends with what to do."""

    level: Literal["error", "warning"]
    where: str
    says: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.says}"


_error, _warning = partial(Finding, "error"), partial(Finding, "warning")


def check_runtimes(table: Sequence[Row], workers: int) -> Iterator[Finding]:
    """The secret and the stores of each runtime."""
    for poto in _potos(table):
        secrets, where = poto.secrets, "Poto"
        if secrets.of_process and workers > 1:
            yield _error(
                where,
                f"there is no secret, so each of {workers} workers makes its own and refuses the others' tokens. "
                "Set POTO_SECRET or Poto(secret).",
            )
        elif secrets.of_process:
            yield _warning(
                where,
                "there is no secret: one is made for the process, and everybody is signed out when it ends. "
                "Set POTO_SECRET or Poto(secret).",
            )
        in_memory = [store for store in poto.stores if isinstance(getattr(store, "inner", store), MemoryStore)]
        if in_memory and workers > 1:
            yield _error(
                where,
                f"the store is this process's memory, and {workers} workers would each have users and sessions of "
                'their own. Use Poto(store="redis://…"), "postgresql://…" or "sqlite:///…".',
            )
        yield from _check_sign_in(poto, table, in_memory=bool(in_memory))
        for issuer in (one for one in poto.authenticator.credentials if isinstance(one, OIDC)):
            if not issuer.audiences and not issuer.authorized_parties:
                yield _warning(
                    f"OIDC {issuer.name}",
                    f"a token that {issuer.issuer} made for any other application is good here. "
                    'Write audience="…", or authorized_parties=[…] if its tokens have no audience.',
                )


def _potos(table: Sequence[Row]) -> list[Any]:
    return list({id(row.poto): row.poto for row in table if row.operation is not None}.values())


def _check_sign_in(poto: Any, table: Sequence[Row], *, in_memory: bool) -> Iterator[Finding]:
    """Whether those who must sign in can."""
    guarded = [
        row for row in table if row.poto is poto and row.operation is not None and not row.operation.guard.public
    ]
    others = [one for one in poto.authenticator.credentials if not isinstance(one, OwnSignIn)]
    if not guarded or others or any(row.operation is None and row.poto is poto for row in table):
        return
    where = guarded[0].where if len(guarded) == 1 else f"{guarded[0].where} and {len(guarded) - 1} more"
    if in_memory:
        yield _error(
            where,
            "callers must be signed in, but nothing here signs anybody in, and sign-ins elsewhere are in another "
            "process's memory. Remove auth=False, or include auth_router(poto), or share a store.",
        )
    else:
        yield _warning(
            where,
            "callers must be signed in, but nothing here signs anybody in. Right if another application with the "
            "same secret and store does; else remove auth=False.",
        )


def check_methods(table: Sequence[Row]) -> Iterator[Finding]:
    """Public methods that need a caller after all."""
    for operation in _operations(table):
        if not operation.guard.public:
            continue
        taken = [one.name for one in (*operation.parameters, *operation.constructor) if one.source is Source.SESSION]
        if taken:
            yield _error(
                operation.where,
                f"it is public, but takes the session as {taken[0]!r}: a caller without credentials always gets 401. "
                "Remove @public, or the parameter.",
            )
            continue
        found = touches(operation.cls, operation.name)
        if found.session and not found.user:
            yield _warning(
                operation.where,
                "it is public and touches the session: a caller without credentials gets 401 there. "
                "Ask get_current_user() first, or remove @public.",
            )


def _operations(table: Sequence[Row]) -> list[Operation]:
    return list(
        {(row.operation.cls, row.operation.name): row.operation for row in table if row.operation is not None}.values()
    )


def check_state(table: Sequence[Row]) -> Iterator[Finding]:
    """What all calls of a module share, and no two processes: on the class, and in the Python module."""
    seen: set[object] = set()
    for cls in modules_of(table):
        found = [touches(cls, operation.name) for operation in _operations(table) if operation.cls is cls]
        changed = {name for one in found for name in one.changed}
        assigned = {name for one in found for name in one.assigned}
        for owner in (base for base in cls.__mro__ if base not in (object, PotoModule)):
            for name, value in vars(owner).items():
                if (owner, name) not in seen and not name.startswith("__"):
                    seen.add((owner, name))
                    yield from _check_attribute(
                        f"{owner.__qualname__}.{name}", value, name in changed, name in assigned
                    )
        for name, how in sorted((name, how) for one in found for name, how in one.module_state.items()):
            if name not in seen:
                seen.add(name)
                yield _warning(
                    name,
                    f"it is {how} by a method of {cls.__qualname__}: {_SHARED}",
                )


_SHARED = (
    "all callers share it, and each process has another. "
    "Keep what is the caller's in self.session, and the rest in a store or a dependency."
)


def _check_attribute(where: str, value: object, is_changed: bool, is_assigned: bool) -> Iterator[Finding]:
    kind = f"a {type(value).__name__} on the class"
    is_mutable = isinstance(value, MUTABLE)
    if is_assigned or (is_changed and is_mutable):
        yield _error(
            where,
            f"{kind}, which the methods {'change' if is_mutable else 'set'}: {_SHARED}",
        )
    elif is_mutable and not where.rpartition(".")[2].isupper():  # else a constant, by its name and what methods do
        yield _warning(
            where,
            f"{kind} is shared by all calls of this process. "
            "Make it a tuple, a frozenset or a MappingProxyType, or write its name in capitals.",
        )


def check_roles(table: Sequence[Row], known: Collection[str] | None) -> Iterator[Finding]:
    """Roles that nobody has, and names that are nearly the same."""
    used: dict[str, str] = {}
    for operation in _operations(table):
        roles = operation.guard.roles
        used.update({role: operation.where for role in roles if role not in used})
        if roles and known is not None and roles.isdisjoint(known):
            yield _error(
                operation.where,
                f"nobody can call it: no user has {_listed(roles)}. There are: {_listed(known) or 'none'}.",
            )
        elif known is not None and roles - set(known):
            yield _warning(operation.where, f"no user has {_listed(roles - set(known))}.")
    similar: dict[str, str] = {}
    for role in sorted(used):
        other = similar.setdefault(_plain(role), role)
        if other != role:
            yield _warning(
                used[role],
                f"the role {role!r} is nearly {other!r} of {used[other]}. If they are one, write them alike.",
            )


def _listed(roles: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(roles)))


def _plain(role: str) -> str:
    return "".join(filter(str.isalnum, role.casefold())).removesuffix("s")


def check_paths(table: Sequence[Row]) -> Iterator[Finding]:
    """Routes that are never reached, because another one has their path."""
    first: dict[tuple[str, str], Row] = {}
    for row in table:
        for verb in row.verb.split(","):
            other = first.setdefault((verb, row.path), row)
            same_sign_in = row.operation is None and other.operation is None and row.poto is other.poto
            if other is not row and not (same_sign_in and row.poto is not None):
                yield _error(
                    f"{verb} {row.path}",
                    f"{_named(row)} is never called: {_named(other)} comes first. Give one of them another path.",
                )


def _named(row: Row) -> str:
    return row.operation.where if row.operation is not None else f"the {row.kind} of {row.module or 'the application'}"


def check_app(app: Any) -> Iterator[Finding]:
    """The application itself."""
    try:
        check_operation_ids(app.routes)
    except ConfigurationError as error:
        yield _error("app", str(error))
    try:
        app.openapi()
    except ConfigurationError:
        pass  # said above
    except Exception as error:  # of any of the application's routes
        yield _error("app", f"/openapi.json cannot be made ({type(error).__name__}: {error}). Find the route.")
    if getattr(app, "debug", False):
        yield _warning("app", "debug=True shows tracebacks to callers. Remove it in production.")
