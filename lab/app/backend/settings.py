# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment, read and judged once. A message names a variable and never shows its value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

FAULTS = ("never_listens health_500 slow_start crash_after_served ignore_sigterm failing_migration slow_migration").split()
ENCRYPTED = ("require", "verify-ca", "verify-full")


class SettingsError(Exception):
    """What is wrong with the environment, in one line."""


@dataclass(frozen=True)
class Settings:
    env: str
    host: str
    port: int
    release: str
    fault: str
    fault_seconds: float | None
    drain_seconds: float
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    gemini_api_key: str = field(repr=False)
    sentry_dsn: str = field(repr=False)

    def fault_lasts(self, default: float) -> float:
        return default if self.fault_seconds is None else self.fault_seconds


def secret(name: str) -> str:
    """The image is built for one way only, as real ones are: plain variables, or files named by <name>_FILE."""
    if os.environ.get("SECRETS") != "file":
        return os.environ.get(name, "")
    path = os.environ.get(f"{name}_FILE", "")
    try:
        return Path(path).read_text().rstrip("\n") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SettingsError(f"{name}_FILE cannot be read: {reason}") from None


def number(name: str, default: str | None) -> float | None:
    text = os.environ.get(name) or default
    try:
        value = float(text) if text is not None else None
    except ValueError:
        value = -1
    if value is not None and not 0 <= value < 100_000:
        raise SettingsError(f"{name} is not a number from 0 to 99999")
    return value


def check_database_url(url: str, strict: bool) -> None:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if not url:
        raise SettingsError("DATABASE_URL is not set")
    try:
        mode = conninfo_to_dict(url).get("sslmode")
    except ProgrammingError:
        raise SettingsError("DATABASE_URL is not a PostgreSQL URL") from None
    if strict and mode not in ENCRYPTED:
        raise SettingsError(f"DATABASE_URL must have sslmode={', '.join(ENCRYPTED[:-1])} or {ENCRYPTED[-1]} outside development")


def load(only_database: bool = False) -> Settings:
    env = os.environ.get("ENV") or "development"
    strict = env != "development"
    settings = Settings(
        env=env,
        host=os.environ.get("HOST") or "0.0.0.0",
        port=int(number("PORT", "8080") or 0),
        release=os.environ.get("RELEASE") or "dev",
        fault=os.environ.get("FAULT", ""),
        fault_seconds=number("FAULT_SECONDS", None),
        drain_seconds=number("DRAIN_SECONDS", "25") or 0,
        database_url=secret("DATABASE_URL"),
        # A secret only where it holds a password: without a file the plain variable counts in both kinds of image.
        redis_url="" if only_database else secret("REDIS_URL") or os.environ.get("REDIS_URL", ""),
        # In development one may be made up: tokens then last as long as the process.
        jwt_secret="" if only_database else secret("JWT_SECRET") or ("" if strict else token_hex(32)),
        gemini_api_key="" if only_database else secret("GEMINI_API_KEY"),
        sentry_dsn=os.environ.get("SENTRY_DSN", ""),
    )
    if settings.fault and settings.fault not in FAULTS:
        raise SettingsError(f"FAULT must be one of {', '.join(FAULTS)}")
    check_database_url(settings.database_url, strict)
    if only_database:
        return settings
    if strict and len(settings.jwt_secret) < 32:
        raise SettingsError("JWT_SECRET must have 32 characters or more outside development")
    if strict and not settings.redis_url:
        raise SettingsError("REDIS_URL is not set")
    if settings.redis_url and not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("REDIS_URL is not a Redis URL")
    return settings
