"""Whose address counts: the peer's, or behind trusted proxies the nearest hop that is none of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_poto.auth.addresses import client_address
from fastapi_poto.errors import ConfigurationError
from fastapi_poto.settings import AuthSettings

TRUSTED = AuthSettings(trusted_proxies=["10.0.0.0/8", "::1"]).proxy_networks()


def address(peer: str | None, *forwarded: str, trusted: bool = True) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    client = None if peer is None else (peer, 1)
    return client_address({"type": "http", "headers": headers, "client": client}, TRUSTED if trusted else ())


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.9",), "192.0.2.1"),
        ("10.1.1.1", ("198.51.100.9",), "198.51.100.9"),
        ("10.1.1.1", ("6.6.6.6, 198.51.100.9",), "198.51.100.9"),
        ("10.1.1.1", ("6.6.6.6", "198.51.100.9"), "198.51.100.9"),
        ("10.1.1.1", ("6.6.6.6, 198.51.100.9, 10.2.2.2",), "198.51.100.9"),
        ("10.1.1.1", ("10.3.3.3, 10.2.2.2",), "10.3.3.3"),
        ("10.1.1.1", ("6.6.6.6, junk, 10.2.2.2",), "10.2.2.2"),
        ("10.1.1.1", ("198.51.100.9:5555",), "198.51.100.9"),
        ("10.1.1.1", ("[2001:db8::1]:5555",), "2001:db8::/64"),
        ("::1", ("2001:db8:0:1:2:3:4:5",), "2001:db8:0:1::/64"),
        ("::ffff:10.1.1.1", ("198.51.100.9",), "198.51.100.9"),
        ("10.1.1.1", ("",), "10.1.1.1"),
        ("10.1.1.1", ("\xff\xfe, \r\n",), "10.1.1.1"),
        ("/run/socket", (), "unknown"),
        (None, ("198.51.100.9",), "unknown"),
    ],
)
def test_the_address_that_counts(peer: str | None, forwarded: tuple[str, ...], expected: str) -> None:
    """Threat 24: what a client wrote itself never counts, only what a trusted proxy saw."""
    assert address(peer, *forwarded) == expected


def test_without_trusted_proxies_the_header_is_nothing() -> None:
    """By default nobody's word is taken."""
    assert address("10.1.1.1", "198.51.100.9", trusted=False) == "10.1.1.1"


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_header_gives_an_address(value: str) -> None:
    """Nothing in the header fails."""
    assert address("10.1.1.1", value)


def test_a_network_that_is_none_is_a_mistake_at_start_up() -> None:
    """The error says what to write."""
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.0/8"):
        AuthSettings(trusted_proxies=["proxy.example"])
