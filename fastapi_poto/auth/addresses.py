"""Which client a request comes from, as far as it can be believed."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network


def client_address(scope: Scope, trusted: tuple[Network, ...] = ()) -> str:
    """The client's address; of an IPv6 one the /64 network, since a client has all of it.

    `X-Forwarded-For` is read from the right, as far as every hop is in `trusted`.
    """
    client = scope.get("client")
    peer = _parse(client[0]) if client else None
    if peer is None:
        return "unknown"
    if trusted and _within(peer, trusted):
        sent = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in reversed(sent.decode("latin-1").split(",")):
            address = _parse(hop.strip())
            if address is None:
                break
            peer = address
            if not _within(peer, trusted):
                break
    return _bucket(peer)


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _bucket(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
