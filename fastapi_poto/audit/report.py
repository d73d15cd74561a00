"""`audit(app)`: the table of routes, and what is wrong with them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .._compat import servers
from ..errors import ConfigurationError
from .checks import Finding, check_app, check_methods, check_paths, check_roles, check_runtimes, check_state
from .table import Row, drawn, rows


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. As a string, all of it."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "warning"]

    def check(self) -> None:
        """Raise `ConfigurationError` with all errors, if there are any: for start-up, and for tests."""
        if self.errors:
            raise ConfigurationError("\n".join(map(str, self.errors)))

    def __str__(self) -> str:
        methods = sum(row.operation is not None for row in self.rows)
        summary = (
            f"{len(self.rows)} routes, {methods} of them methods; "
            f"{_counted(self.errors, 'error')}, {_counted(self.warnings, 'warning')}"
        )
        return "\n".join([drawn(self.rows), "", *map(str, self.findings), summary])


def audit(app: Any, *, roles: Collection[str] | None = None, workers: int | None = None) -> Report:
    """Look at an application as it would start.

    `roles` are all that users can have, if that is known. `workers` is how many processes will serve it; None: what
    the environment says to uvicorn and gunicorn, or the command line that runs this.
    """
    table = tuple(rows(app.routes))
    count = servers.workers() if workers is None else workers
    findings = [
        *check_runtimes(table, count),
        *check_methods(table),
        *check_state(table),
        *check_roles(table, roles),
        *check_paths(table),
        *check_app(app),
    ]
    return Report(table, tuple(sorted(findings, key=lambda finding: finding.level != "error")))


def _counted(findings: list[Finding], noun: str) -> str:
    return f"{len(findings) or 'no'} {noun}{'' if len(findings) == 1 else 's'}"
