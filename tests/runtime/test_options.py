"""What `Poto` is told, by arguments and by the environment; and what it refuses to be told."""

from typing import Any

import pytest

from fastapi_poto import ConfigurationError, Poto, Settings
from fastapi_poto._compat.servers import workers
from fastapi_poto.runtime import default_poto
from fastapi_poto.settings import from_environment
from fastapi_poto.stores import MemoryStore
from tests.secret import SECRET


def test_options() -> None:
    """Poto takes the fields of both settings by name, and says which there are."""
    poto = Poto(SECRET, visitors_per_hour=7, session_keys=3, settings=Settings(ping_interval=2))
    assert poto.settings.auth.visitors_per_hour == 7
    assert (poto.settings.session_keys, poto.settings.ping_interval) == (3, 2)
    with pytest.raises(TypeError, match=r"no option 'visitors_per_our'.*visitors_per_hour"):
        Poto(SECRET, visitors_per_our=7)


@pytest.mark.parametrize(
    ("name", "value"), [("replay_items", 0), ("ping_interval", -1), ("send_timeout", float("nan"))]
)
def test_numbers_that_make_no_sense(name: str, value: float) -> None:
    """A stream that keeps no item would wait for ever, and one with a negative interval do nothing but ping."""
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        Poto(SECRET, **{name: value})


class Records:
    """A store of records, with or without logs."""

    def __init__(self, **log: object) -> None:
        self.__dict__ |= log
        self.records = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        if name == "log":
            raise AttributeError(name)
        return getattr(self.records, name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"access_ttl": "often"}, r"Poto\(access_ttl='often'\): input should be a valid number"),
        ({"allowed_origins": "https://a.example"}, r"Poto\(allowed_origins='https://a.example'\): .*sequence"),
        ({"store": 3}, r"Poto\(store=3\) lacks read, read_many, write, .*log\. Write what .*Store asks for"),
        (
            {"users": object()},
            r"Poto\(users=.* lacks get, find, add, .*Write what .*UserProvider asks for",
        ),
        ({"store": Records()}, r"Poto\(store=.* lacks log\. Write what fastapi_poto.stores.base.Store asks for"),
        ({"store": Records(log=object())}, r"Poto\(store.log=.* lacks append, .*what .*EventLog asks for"),
        ({"sessions": object()}, r"Poto\(sessions=.* lacks handle, .*Write what .*SessionProvider asks for"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_what_is_no_option_value(given: dict[str, Any], message: str) -> None:
    """A wrong type is an error at once, which names the option."""
    with pytest.raises(ConfigurationError, match=message):
        Poto(SECRET, **given)


def test_the_environment() -> None:
    """POTO_<NAME> sets any number; one that is none is an error that names the variable."""
    assert from_environment({"POTO_VISITORS_PER_HOUR": "none", "POTO_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}) == {
        "visitors_per_hour": None,
        "trusted_proxies": ["10.0.0.0/8", "::1"],
    }
    with pytest.raises(ConfigurationError, match=r"POTO_PING_INTERVAL='often'.*Change or unset"):
        from_environment({"POTO_PING_INTERVAL": "often"})
    assert from_environment({"POTO_STRICT": "on"}) == {"strict": True}


def test_a_misspelt_variable() -> None:
    """A name that is nearly an option's would be without effect: an error, which names both. Others are left alone."""
    with pytest.raises(ConfigurationError, match=r"POTO_REGISTRATON is no option. Write POTO_REGISTRATION"):
        from_environment({"POTO_REGISTRATON": "false"})
    kubernetes = {
        "POTO_PORT": "tcp://10.0.0.1:80",
        "POTO_PORT_80_TCP_ADDR": "10.0.0.1",
        "POTO_SERVICE_HOST": "10.0.0.1",
    }
    assert from_environment({**kubernetes, "POTO_SECRET": SECRET, "POTO_STORE": "memory://"}) == {}


@pytest.mark.parametrize(
    ("command", "environment", "count"),
    [
        (["/srv/.venv/bin/uvicorn", "shop:app", "--workers", "4"], {}, 4),
        (["/site-packages/uvicorn/__main__.py", "shop:app", "--workers=3"], {}, 3),
        (["gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker", "shop:app"], {}, 2),
        (["/usr/bin/gunicorn", "-w2", "shop:app"], {}, 2),
        (["uvicorn", "shop:app"], {"WEB_CONCURRENCY": "5"}, 5),
        (["uvicorn", "shop:app", "--reload"], {"WEB_CONCURRENCY": "many"}, 1),
        (["import_everything", "--workers", "4"], {}, 1),
        ([], {}, 1),
    ],
)
def test_how_many_workers(command: list[str], environment: dict[str, str], count: int) -> None:
    """What the command line of a server says, and the environment; another program's options say nothing."""
    assert workers(environment, command) == count


def test_secrets_rotate_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """POTO_SECRET signs; POTO_PREVIOUS_SECRETS still verify."""
    old, older = SECRET[::-1], SECRET.upper()
    monkeypatch.setenv("POTO_SECRET", SECRET)
    monkeypatch.setenv("POTO_PREVIOUS_SECRETS", f"{old} {older}")
    default_poto.cache_clear()
    try:
        assert [secret for _, secret in default_poto().secrets] == [one.encode() for one in (SECRET, old, older)]
    finally:
        default_poto.cache_clear()
