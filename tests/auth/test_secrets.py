"""Secrets that can be guessed, or that others know, are refused at start-up."""

import base64
import secrets
import uuid

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from fastapi_poto.auth.secrets import Secrets
from fastapi_poto.errors import ConfigurationError

E = serialization.Encoding
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo
RSA = rsa.generate_private_key(65_537, 2048)
KEYS = [RSA, ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()]
PRIVATE = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_asymmetric_keys_are_refused(key: rsa.RSAPrivateKey) -> None:
    """Threats 2 and 29: PEM, DER and SSH, public and private, as bytes, as text and as bare base64."""
    public = key.public_key()
    der = public.public_bytes(E.DER, PUBLIC)
    forms: list[str | bytes] = [
        public.public_bytes(E.PEM, PUBLIC),
        public.public_bytes(E.PEM, PUBLIC).decode(),
        b"\n  " + public.public_bytes(E.PEM, PUBLIC),
        public.public_bytes(E.OpenSSH, serialization.PublicFormat.OpenSSH),
        key.private_bytes(E.PEM, *PRIVATE),
        key.private_bytes(E.DER, *PRIVATE),
        der,
        der.decode("latin-1"),
        base64.b64encode(der),
        base64.encodebytes(der).decode(),
    ]
    for form in forms:
        with pytest.raises(ConfigurationError, match="key or certificate"):
            Secrets(form)


@pytest.mark.parametrize(
    "secret",
    [
        "", "short", "x" * 31, "ä" * 15, b"0123456789abcdef",
    ],
)  # fmt: skip
def test_short_secrets_are_refused(secret: str | bytes) -> None:
    """Threat 29: under 32 bytes; the error says how to make one."""
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        Secrets(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "changeme" * 8, "secret" * 10, "Secret-Key " * 4, "passwordpasswordpasswordpassword",
        "changeme-changeme-changeme-changeme", "your-256-bit-secret-your-256-bit-secret",
        "CHANGE_ME_IN_PRODUCTION_PLEASE!!", "please-change-this-secret-key-in-production",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "this-is-a-placeholder-for-the-secret",
        "replace-me-with-a-long-random-string", "<insert a long random secret key here, please>",
        "a-string-secret-at-least-256-bits-long", "django-insecure-abcdefghijklmnopq",
    ],
)  # fmt: skip
def test_placeholders_are_refused(secret: str) -> None:
    """Threat 29: what stands in tutorials and templates, and what says that it is to be replaced."""
    with pytest.raises(ConfigurationError, match="placeholder"):
        Secrets(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "my-secret-token-to-change-in-production-and-keep-it",
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970", "Xq3-fV9tKz7LwPe2RbYm5HdNc8Ju4Sga",
        "Yn2kjibddFAWtnPJ2AFlL8WXmohJMCvigQggaEypa5E=", "6Q3xv0TVkzq0M2o1rJ8c9yB4wEuHs7fL",
    ],
)  # fmt: skip
def test_published_secrets_are_refused(secret: str) -> None:
    """Threat 37: other projects' defaults, and those that this one's documentation had."""
    with pytest.raises(ConfigurationError, match="published"):
        Secrets(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "a" * 32, "a" * 64, "abcabcabc" * 10, "0" * 40, "\0" * 64, "0123456789abcdef" * 2, "fedcba9876543210" * 2,
        "abcdefghijklmnopqrstuvwxyz012345", "qwertyuiopasdfghjklzxcvbnm123456", "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
        "1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y", "13579bdf02468ace13579bdf02468ace", "0000000000000000000000000000000a",
        "conformance-conformance-conformance", "00000000-0000-0000-0000-000000000000",
    ],
)  # fmt: skip
def test_sequences_and_repetitions_are_refused(secret: str) -> None:
    """Threat 37: counting, rows of the keyboard, few characters, one piece again and again."""
    with pytest.raises(ConfigurationError, match="easily guessed"):
        Secrets(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "the quick brown fox jumps over the lazy dog today", "correct horse battery staple is the best password",
        "change-me-to-something-long-and-random-please", "thisisthesecretkeyofmyapplicationdonottouch",
        "ThisIsMyCustomSecretKeyForAuthentication", "a secret of at least 32 bytes, from your environment",
        "ich bin ein sehr geheimer schluessel fuer tokens", "JWT_SECRET_KEY_MUST_BE_AT_LEAST_32_BYTES",
        "VGhpcyBpcyBteSBjdXN0b20gU2VjcmV0IGtleSBmb3IgYXV0aGVudGljYXRpb24=",
        "local-dev-only-not-for-prod-0123456789abcdef",
    ],
)  # fmt: skip
def test_prose_is_refused(secret: str) -> None:
    """Threat 37: words, with breaks or without, in capitals, and in base64."""
    with pytest.raises(ConfigurationError, match="easily guessed"):
        Secrets(secret)


@given(st.integers(min_value=24, max_value=96))
def test_random_secrets_are_taken(size: int) -> None:
    """What the error message says to do works, for any size, as text and as bytes."""
    for secret in (secrets.token_urlsafe(size), secrets.token_hex(size), secrets.token_bytes(size + 8)):
        assert len(list(Secrets(secret))) == 1


def test_no_generated_secret_is_refused() -> None:
    """Of no usual kind: 2,500 of each."""
    for _ in range(2_500):
        raw = secrets.token_bytes(32)
        for secret in (secrets.token_urlsafe(48), raw.hex(), base64.b64encode(raw), str(uuid.uuid4())):
            Secrets(secret)


def test_a_random_secret_that_looks_like_a_sequence_is_taken() -> None:
    """ "0" is the tag of a DER sequence, and the next character may happen to be the rest's length: that is no key."""
    assert (
        len(list(Secrets("0Q" + "eHk2dvLyovXHYn_HkP5wak6PyIWaHcvvXXlQXvV1EUc7chastBW-ym5Xewbvkd-Z2_hJ8bcvdR5f3tkjM")))
        == 1
    )


def test_a_secret_is_named_after_its_hash() -> None:
    """Every process gives the same secret the same name, and the name tells nothing of it."""
    secret, other = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    assert Secrets(secret).current_id == Secrets(secret.encode()).current_id != Secrets(other).current_id
    several = Secrets([secret, other])
    assert several.current == secret.encode()
    assert [kid for kid, _ in several] == [Secrets(secret).current_id, Secrets(other).current_id]
    assert secret not in repr(several)


def test_derived_keys_differ_by_purpose() -> None:
    """A key for cookies is not the key for refresh tokens, nor the secret."""
    made = Secrets(secrets.token_urlsafe(48))
    assert len({made.current, *made.derive("cookie"), *made.derive("refresh token")}) == 3


@pytest.mark.parametrize("value", [[], {}, {"a b": secrets.token_hex(32)}, {"": secrets.token_hex(32)}, 5, [5], [None]])
def test_no_secret_and_bad_names(value: object) -> None:
    """What is no secret at all is one clear error."""
    with pytest.raises((ConfigurationError, TypeError)):
        Secrets(value)  # type: ignore[arg-type]
