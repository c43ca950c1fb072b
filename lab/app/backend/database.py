# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL through a pool that outlives restarts of the database."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

ANSWERS_WITHIN = 8.0  # seconds: to be given a connection that works; a user would rather wait than be refused
STATEMENT_WITHIN = 10.0


class Database:
    def __init__(self, url: str, release: str) -> None:
        self.pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=10,
            open=False,
            # The pool doubles its pause between tries; short rounds find a database that is back within seconds.
            reconnect_timeout=3,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": 2,
                "application_name": f"kasaneha {release}",
            },
        )

    async def query(self, statement: str, *values: Any, within: float = ANSWERS_WITHIN) -> list[dict[str, Any]]:
        """One statement, one transaction. Raises psycopg.OperationalError or TimeoutError when there is no answer."""
        connection = await self._working_connection(within)
        try:
            return await asyncio.wait_for(self._rows(connection, statement, values), STATEMENT_WITHIN)
        finally:
            await self.pool.putconn(connection)

    async def _working_connection(self, within: float) -> psycopg.AsyncConnection:
        # An idle connection learns of a restart only when it is used: ask before it is trusted with a statement.
        deadline = monotonic() + within
        while True:
            connection = await self.pool.getconn(timeout=max(0.01, deadline - monotonic()))
            try:
                await asyncio.wait_for(connection.execute("SELECT 1"), max(0.01, deadline - monotonic()))
                return connection
            except psycopg.OperationalError:
                await self.pool.putconn(connection)  # dead: the pool replaces it
            except BaseException:
                await self.pool.putconn(connection)
                raise

    @staticmethod
    async def _rows(connection: psycopg.AsyncConnection, statement: str, values: Any) -> list[dict[str, Any]]:
        cursor = await connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []
