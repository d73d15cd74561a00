"""`OIDC`: callers with tokens of an external issuer."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastapi.openapi.models import OAuth2 as OAuth2Model
from fastapi.openapi.models import OAuthFlowAuthorizationCode, OAuthFlows
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer, OpenIdConnect
from fastapi.security.base import SecurityBase

from ...errors import ConfigurationError, Unauthenticated
from ...users import Identity, User
from ..credentials import ManagedCredentials, Remembered, Services, bearer_token
from .claims import LEEWAY, ClaimsPolicy, Refused, RoleSource, read_name, read_roles, read_scopes

logger = logging.getLogger("fastapi_poto.auth")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_WORTH_KEEPING = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity(Identity):
    """Somebody whom an issuer knows. `of_token` is the user as the token says, without what is decided here."""

    of_token: User
    issued_at: float


class OIDC(ManagedCredentials):
    """Callers with access tokens of an OpenID Connect issuer; this application is a resource server (RFC 9068).

    `OIDC("https://login.example/realms/shop", audience="shop", name="corp", roles="realm_access.roles")`

    A caller's id is `<name>:<sub>`. `audience`: one of these must be in the token; None accepts tokens that the
    issuer made for anybody, and the audit says so. `roles`: a dotted path into the claims, several, or a function of
    the claims; `scopes_as_roles` adds the scopes. `required` has claims that must be there with these values,
    `authorized_parties` what `azp` may be. `algorithms` are those that the issuer may sign with.

    `discovery` and `jwks` replace the addresses that follow from the issuer's own. `stream_until`: a stream ends
    with its `"token"`, or goes on for a `"session"`, as long as a sign-in of this application's own could last.

    Raises `ConfigurationError` for what cannot be right, and without the extra `oidc`.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Sequence[str] | None,
        name: str = "oidc",
        roles: RoleSource = None,
        scopes_as_roles: bool = False,
        algorithms: Sequence[str] = ("RS256", "PS256", "ES256", "EdDSA"),
        required: Mapping[str, Any] | None = None,
        authorized_parties: Iterable[str] = (),
        audience_claim: str = "aud",
        subject: str = "sub",
        discovery: str | None = None,
        jwks: str | None = None,
        stream_until: Literal["token", "session"] = "token",
        refresh_interval: float = 300.0,
        timeout: float = 5.0,
    ) -> None:
        try:
            from . import key_set, token
            from .fetch import check_url
        except ImportError as error:
            raise ConfigurationError(
                'OIDC needs packages that are not installed. Run: pip install "joserfc>=1.8" "httpx>=0.28"'
            ) from error
        self._key_set, self._token = key_set.KeySet, token
        if not _NAME.fullmatch(name) or name in ("token", "key"):
            raise ConfigurationError(f"OIDC(name={name!r}): lower case letters, digits, - and _; not token, not key.")
        unknown = set(algorithms) - token.ALGORITHMS
        if unknown or not algorithms:
            raise ConfigurationError(
                f"OIDC(algorithms={tuple(algorithms)!r}): any of {', '.join(sorted(token.ALGORITHMS))}."
            )
        if stream_until not in ("token", "session"):
            raise ConfigurationError(f'OIDC(stream_until={stream_until!r}): "token" or "session".')
        audiences = [audience] if isinstance(audience, str) else audience or ()
        if audience is not None and not all(audiences):
            raise ConfigurationError(f"OIDC(audience={audience!r}): name this application, as the issuer does.")
        self.issuer = check_url(issuer, "the issuer")
        self.authorization_servers = (self.issuer,)
        self.name = name
        self.audiences = frozenset(audiences)
        self.authorized_parties = frozenset(authorized_parties)
        self._policy = ClaimsPolicy(
            issuer, self.audiences, audience_claim, self.authorized_parties, subject, dict(required or {})
        )
        self._algorithms = frozenset(algorithms)
        self._roles, self._scopes_as_roles = roles, scopes_as_roles
        self._stream_until = stream_until
        self._discovery = check_url(discovery or f"{issuer.rstrip('/')}/.well-known/openid-configuration", "discovery")
        self._jwks = jwks if jwks is None else check_url(jwks, "jwks")
        self._refresh_interval, self._timeout = refresh_interval, timeout
        self.security: Sequence[SecurityBase] = (
            [OpenIdConnect(openIdConnectUrl=self._discovery, scheme_name=name), _AuthorizationCode(self)]
            if jwks is None
            else [HTTPBearer(bearerFormat="JWT", scheme_name=name)]
        )

    def attach(self, services: Services) -> None:
        super().attach(services)
        self._clock = services.clock
        self._users = services.external_users
        self._longest = services.settings.auth.refresh_absolute
        self._known: Remembered[ExternalIdentity] = Remembered(services.settings.auth.remembered_tokens, _WORTH_KEEPING)
        self.keys = self._key_set(
            self.issuer,
            discovery_url=self._discovery,
            jwks_url=self._jwks,
            refresh_interval=self._refresh_interval,
            timeout=self._timeout,
            clock=services.clock,
            on_change=self._known.clear,  # a key that was taken back verifies nothing any more
        )

    async def open(self) -> None:
        """Fetch the keys, if the issuer answers."""
        await self.keys.refresh()

    async def close(self) -> None:
        await self.keys.close()

    def problem(self) -> str | None:
        return self.keys.problem()

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        """Raises `Unavailable` as long as the issuer has never answered."""
        token = bearer_token(connection)
        if token is None:
            return None
        now = self._clock()
        known = self._known.get(token)
        if known is None:
            parsed = self._token.parse(token)
            if parsed is None or parsed.claims.get("iss") != self.issuer:
                return None
            known = await self._verify(parsed, now)
            self._known.keep(token, known)
        else:
            self.keys.refresh_if_old(now)
            if now >= known.expires_at + LEEWAY:
                del self._known[token]
                raise Unauthenticated
        user = await self._users.apply(known.of_token, known.issued_at)
        if user is None:
            raise Unauthenticated
        return known if user is known.of_token else replace(known, user=user)

    async def is_active(self, identity: Identity) -> bool:
        """Whether the token has not expired, and the user is not blocked and has at least the roles of then."""
        assert isinstance(identity, ExternalIdentity)  # noqa: S101 - given here
        now = self._clock()
        ends_at = identity.expires_at + LEEWAY
        if self._stream_until == "session":
            ends_at = identity.issued_at + self._longest
        if now >= ends_at:
            return False
        user = await self._users.apply(identity.of_token, identity.issued_at)
        return user is not None and identity.user.roles <= user.roles

    async def _verify(self, token: Any, now: float) -> ExternalIdentity:
        try:
            if token.algorithm not in self._algorithms:
                raise Refused("its header is not an access token's")
            self._policy.check(token.claims, now)
            key = await self.keys.key(token.kid, token.algorithm)
            if key is None:
                raise Refused("of an unknown key")
            if not self._token.has_signature_of(token, key):
                raise Refused("its signature is wrong")
        except Refused as why:
            logger.debug("A token of %s was refused: %s", self.name, why)
            raise Unauthenticated from None
        claims = token.claims
        scopes = read_scopes(claims)
        roles = read_roles(claims, self._roles) | (scopes if self._scopes_as_roles else frozenset())
        user = User(f"{self.name}:{claims[self._policy.subject]}", roles, name=read_name(claims), claims=claims)
        return ExternalIdentity(
            user,
            self.name,
            expires_at=claims["exp"],
            claims=claims,
            scopes=scopes,
            of_token=user,
            issued_at=claims["iat"],
        )


class _AuthorizationCode(SecurityBase):
    """How Swagger UI's Authorize signs in at the issuer, as soon as its discovery document has been read."""

    def __init__(self, issuer: OIDC) -> None:
        self._issuer = issuer
        self.scheme_name = f"{issuer.name}-code"

    @property
    def model(self) -> OAuth2Model:  # type: ignore[override] # known only later
        found = self._issuer.keys.endpoints
        flows = OAuthFlows()
        if "authorization_endpoint" in found and "token_endpoint" in found:
            scopes = {"openid": "Who signs in"}
            flows.authorizationCode = OAuthFlowAuthorizationCode(
                authorizationUrl=found["authorization_endpoint"], tokenUrl=found["token_endpoint"], scopes=scopes
            )
        return OAuth2Model(flows=flows)
