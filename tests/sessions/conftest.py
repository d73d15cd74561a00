"""Fixtures that several files here share."""

from uuid import uuid4

import pytest

from fastapi_poto.sessions import Session, SessionManager
from fastapi_poto.stores import Store
from tests.sessions.calls import call_of


@pytest.fixture
def user_id() -> str:
    return f"user_{uuid4().hex}"


@pytest.fixture
async def sessions(store: Store) -> SessionManager:
    return SessionManager(store)


@pytest.fixture
async def session(sessions: SessionManager, user_id: str) -> Session:
    return sessions.handle(call_of(user_id))
