# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def names(path: Path) -> list[str]:
    """What stands in the folder."""
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"日本": ["🌊", None, True, {"b": 0.5}]}, {"text": "two\nlines"}])
@pytest.mark.parametrize("put", [statefile.write, statefile.create])
def test_what_is_written_is_read_again(path: Path, put: Callable[..., None], value: dict[str, Any]) -> None:
    put(path, value)
    assert statefile.read(path) == {"schema": 1, **value}
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path) == ["state.json"]


def test_nothing_is_none(path: Path) -> None:
    assert statefile.read(path) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no JSON"),
        ('{"schema": 1', "is no JSON"),
        ("[1]", "is not of schema 1."),
        ("null", "is not of schema 1."),
        ("{}", "is not of schema 1."),
        ('{"schema": 2}', "is not of schema 1."),
        ('{"schema": "1"}', "is not of schema 1."),
    ],
)
def test_what_cannot_be_read_is_said_with_its_name(path: Path, text: str, why: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=why) as error:
        statefile.read(path)
    assert str(error.value).startswith(str(path))


def test_bytes_that_are_no_text_are_a_value_error_too(path: Path) -> None:
    path.write_bytes(b'{"schema": 1, "a": "\xff"}')
    with pytest.raises(ValueError, match="utf-8"):
        statefile.read(path)


def test_a_file_is_replaced_and_never_written_over(path: Path) -> None:
    statefile.write(path, {"a": 1})
    with path.open() as reader:  # who reads now, reads all of the old one
        statefile.write(path, {"a": 2})
        assert json.load(reader)["a"] == 1
    assert statefile.read(path) == {"schema": 1, "a": 2}


@pytest.mark.parametrize("put", [statefile.write, statefile.create])
def test_a_value_that_is_no_json_leaves_what_was(path: Path, put: Callable[..., None]) -> None:
    statefile.write(path, {"a": 1})
    with pytest.raises(TypeError):
        put(path, {"a": object()})
    assert statefile.read(path) == {"schema": 1, "a": 1}
    assert names(path) == ["state.json"]


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_disk_that_fails_leaves_what_was(path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    statefile.write(path, {"a": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        statefile.write(path, {"a": 2})
    assert statefile.read(path) == {"schema": 1, "a": 1}
    assert names(path) == ["state.json"]


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_after(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), replace(*names)))
    statefile.write(path, {})
    assert done == ["fsync", "rename", "fsync"]


def test_create_never_replaces(path: Path) -> None:
    statefile.create(path, {"a": 1})
    with pytest.raises(FileExistsError):
        statefile.create(path, {"a": 2})
    assert statefile.read(path) == {"schema": 1, "a": 1}
    assert names(path) == ["state.json"]


def _create(path: Path, start: Any, results: Any) -> None:
    start.wait()
    try:
        statefile.create(path, {"pid": os.getpid()})
        results.put(os.getpid())
    except FileExistsError:
        results.put(0)


def test_of_many_who_create_one_wins(path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start, results = fork.Event(), fork.Queue()
    many = [fork.Process(target=_create, args=(path, start, results)) for _unused in range(8)]
    for process in many:
        process.start()
    start.set()
    winners = [pid for pid in (results.get(timeout=30) for _unused in many) if pid]
    for process in many:
        process.join()
    assert len(winners) == 1
    assert statefile.read(path) == {"schema": 1, "pid": winners[0]}


def test_remove(path: Path) -> None:
    statefile.write(path, {})
    statefile.remove(path)
    assert names(path) == []
    statefile.remove(path)  # nothing to remove is no error


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        (None, ['{"a": 1, "b": "x\\ny"}']),
        (b"", ['{"a": 1, "b": "x\\ny"}']),
        (b'{"c": 2}\n', ['{"c": 2}', '{"a": 1, "b": "x\\ny"}']),
        (b'{"c": 2}\n{"cut', ['{"c": 2}', '{"cut', '{"a": 1, "b": "x\\ny"}']),  # a crash in the middle of a line
    ],
)
def test_append(path: Path, before: bytes | None, lines: list[str]) -> None:
    if before is not None:
        path.write_bytes(before)
    statefile.append(path, {"b": "x\ny", "a": 1})
    assert path.read_text() == "".join(f"{line}\n" for line in lines)


def test_point_replaces_by_one_rename(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, done = path.with_name("live"), []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (done.append(Path(names[1]).name), replace(*names)))
    for target in ("states/1", "states/2", "states/2"):
        statefile.point(link, target)
        assert os.readlink(link) == target
    assert done == ["live"] * 3
    assert names(path) == ["live"]


def test_point_is_not_stopped_by_what_a_crash_left(path: Path) -> None:
    link = path.with_name("live")
    link.with_name(f".live.{os.getpid()}").symlink_to("states/0")
    statefile.point(link, "states/1")
    assert os.readlink(link) == "states/1"
    assert names(path) == ["live"]


def test_a_link_never_replaces_a_folder(path: Path) -> None:
    (path.parent / "live").mkdir()
    with pytest.raises(OSError, match="directory"):
        statefile.point(path.parent / "live", "states/1")
    assert (path.parent / "live").is_dir()
