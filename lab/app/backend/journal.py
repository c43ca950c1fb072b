# SPDX-License-Identifier: GPL-3.0-or-later
"""What users do: log in, talk in sessions, upload files."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import gemini
import jwt
from database import Database
from fastapi import APIRouter, Depends, HTTPException, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

UPLOADS = Path("uploads")
UPLOAD_LIMIT = 32 * 1024 * 1024
TOKEN_LASTS = timedelta(hours=12)
Row = dict[str, Any]
router = APIRouter()


class Name(BaseModel):
    name: str = Field(min_length=1, max_length=80)


class Title(BaseModel):
    title: str = Field("", max_length=200)


class Text(BaseModel):
    text: str = Field(min_length=1, max_length=20_000)


async def database(request: Request) -> Database:
    return request.app.state.database


async def user(request: Request) -> int:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            key = request.app.state.settings.jwt_secret
            return int(jwt.decode(given, key, ["HS256"], options={"require": ["sub", "exp"]})["sub"])
    except jwt.InvalidTokenError:
        pass
    raise HTTPException(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})


def only(rows: list[Row]) -> Row:
    if not rows:
        raise HTTPException(404, "not found")
    return rows[0]


@router.post("/token")
async def token(request: Request, body: Name, db: Database = Depends(database)) -> Row:
    # DO UPDATE, because DO NOTHING returns no row for a user who is there already.
    [row] = await db.query(
        "INSERT INTO users (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
        body.name,
    )
    now = datetime.now(UTC)
    claims = {"sub": str(row["id"]), "name": body.name, "iat": now, "exp": now + TOKEN_LASTS}
    signed = jwt.encode(claims, request.app.state.settings.jwt_secret, "HS256")
    return {"token": signed, "expires_in": int(TOKEN_LASTS.total_seconds())}


@router.post("/sessions", status_code=201)
async def create_session(body: Title | None = None, me: int = Depends(user), db: Database = Depends(database)) -> Row:
    insert = "INSERT INTO sessions (user_id, title) VALUES (%s, %s) RETURNING id, title, created_at"
    return only(await db.query(insert, me, body.title if body else ""))


@router.get("/sessions")
async def list_sessions(me: int = Depends(user), db: Database = Depends(database)) -> list[Row]:
    return await db.query("SELECT id, title, created_at FROM sessions WHERE user_id = %s ORDER BY created_at DESC LIMIT 100", me)


async def own_session(session_id: uuid.UUID, me: int = Depends(user), db: Database = Depends(database)) -> Row:
    rows = await db.query("SELECT id, title, created_at FROM sessions WHERE id = %s AND user_id = %s", session_id, me)
    return only(rows)


@router.get("/sessions/{session_id}")
async def read_session(session: Row = Depends(own_session), db: Database = Depends(database)) -> Row:
    messages = await db.query("SELECT role, text, created_at FROM messages WHERE session_id = %s ORDER BY id", session["id"])
    return {**session, "messages": messages}


@router.post("/sessions/{session_id}/messages")
async def ask(
    request: Request,
    body: Text,
    seconds: float = Query(1, ge=0, le=300),
    session: Row = Depends(own_session),
    db: Database = Depends(database),
) -> StreamingResponse:
    if not request.app.state.settings.gemini_api_key:
        raise HTTPException(503, "GEMINI_API_KEY is not set")

    async def store(role: str, text: str) -> None:
        await db.query("INSERT INTO messages (session_id, role, text) VALUES (%s, %s, %s)", session["id"], role, text)

    async def stream() -> AsyncIterator[str]:
        parts = []
        async for part in gemini.answer(body.text, seconds):
            parts.append(part)
            yield f"data: {json.dumps({'token': part})}\n\n"
        # Shielded: a reader who leaves at this moment must not break off a statement half-way.
        await asyncio.shield(store("assistant", "".join(parts)))
        yield 'event: done\ndata: {"stored": true}\n\n'

    await store("user", body.text)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # no proxy may collect the tokens
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


@router.post("/uploads", status_code=201)
async def upload(file: UploadFile, me: int = Depends(user), db: Database = Depends(database)) -> Row:
    if file.size is None or file.size > UPLOAD_LIMIT:
        raise HTTPException(413, f"an upload has {UPLOAD_LIMIT} bytes at most")
    upload_id = uuid.uuid4()
    await run_in_threadpool(save, file.file, UPLOADS / str(upload_id))
    name = (file.filename or "upload")[:200]
    await db.query("INSERT INTO uploads (id, user_id, name, size) VALUES (%s, %s, %s, %s)", upload_id, me, name, file.size)
    return {"id": upload_id, "size": file.size}


def save(source: BinaryIO, path: Path) -> None:
    """All of it or none: a backup may read the folder at any moment."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@router.get("/uploads/{upload_id}")
async def download(upload_id: uuid.UUID, me: int = Depends(user), db: Database = Depends(database)) -> FileResponse:
    row = only(await db.query("SELECT name FROM uploads WHERE id = %s AND user_id = %s", upload_id, me))
    path = UPLOADS / str(upload_id)
    if not path.is_file():
        raise HTTPException(404, "the file is gone")
    # An attachment of no type: what users upload must never run as a page of this site.
    headers = {"X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type="application/octet-stream", filename=row["name"], headers=headers)
