"""Checks of extras: names of packages in, MissingExtra out where one is not installed."""

from __future__ import annotations

from anymask.primitives.errors import MissingExtra


def need_packages(packages: tuple[str, ...], extra: str, purpose: str) -> None:
    """Import them. Raises MissingExtra for the first that is not there.

    purpose  what needs them, as the error says it
    """
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            raise MissingExtra(package, extra, purpose) from None


def need_engine() -> None:
    """Raises MissingExtra where the packages of the data engine are not installed."""
    need_packages(("sqlalchemy",), "engine", "the data engine")


def need_server() -> None:
    """Raises MissingExtra where the packages of the server are not installed."""
    need_packages(("fastapi", "uvicorn", "python_multipart", "sqlalchemy"), "serve", "the server")


def need_torch() -> None:
    """Raises MissingExtra where training cannot run."""
    need_packages(("torch",), "torch", "training")
