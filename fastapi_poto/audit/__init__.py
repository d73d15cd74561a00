"""The start-up audit: every route with its guard, and what cannot be vouched for."""

from .checks import Finding
from .report import Report, audit
from .table import Row

__all__ = ["Finding", "Report", "Row", "audit"]
