# SPDX-License-Identifier: GPL-3.0-or-later
"""The exchange of a restore, under an application that goes on writing uploads: forward, back, and killed at any rename."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.exchange import Exchange, read_journal

RENAME = os.rename
COMING, GOING = (plan.beside("shop", purpose, "20261129t130000z-abcdef") for purpose in ("restore", "before"))


class Server:
    """A server of which the exchange sees the names of its databases only."""

    def __init__(self, runtime: Path) -> None:
        self.runtime, self.databases = runtime, {"shop": "old", COMING: "new"}

    def sql(self, text: str) -> list[Any]:
        if text.startswith("DROP"):
            self.databases.pop(text.split('"')[1], None)
        return list(self.databases)

    @contextlib.contextmanager
    def session(self, *_arguments: Any) -> Iterator[Server]:
        yield self

    def one(self, _text: str) -> int:
        return 0

    def ask(self, text: str) -> list[Any]:
        for statement in text.split(";"):
            if "RENAME TO" in statement:
                self.databases[statement.split('"')[3]] = self.databases.pop(statement.split('"')[1])
        return []


class Place:
    """A directory of uploads, a set unpacked inside it, and the exchange of both with a database."""

    def __init__(self, folder: Path) -> None:
        self.live = folder / "uploads"
        self.coming = self.live / ".restore-new-1"
        fill(self.live, {"daily/old": "old", "daily/both": "old", "kept": "old", "kind/x": "old", "only-old": "old"})
        fill(self.coming, {"daily/new": "new", "daily/both": "new", "kept": "new", "kind": "new", "only-new/x": "new"})
        self.config = plan.Config(instance="shop", root=str(folder), container="c", database="shop", user="u")
        self.server = Server(folder)
        self.moves = [{"live": str(self.live), "coming": str(self.coming), "going": ""}]

    def exchange(self) -> Exchange:
        """As a new process sees it: what the journal says, or a restore that is being prepared."""
        found = read_journal(self.config)
        exchange = Exchange(self.config, self.server, found or {"set": "s"})  # type: ignore[arg-type]
        if not found:
            exchange.write_journal(phase="preparing", step="", coming=COMING, going=GOING, moves=self.moves)
        return exchange

    def run(self) -> None:
        """The whole exchange."""
        exchange = self.exchange()
        exchange.replace_live("exchanging", COMING, GOING, self.moves)
        exchange.commit()

    def seen(self) -> dict[str, str]:
        """The files that the application sees."""
        return content(self.live)

    def replaced(self) -> dict[str, str]:
        """The files that the restore put aside."""
        return content(self.live / f".restore-{GOING.rpartition('__before_')[2]}")


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    return {name: text for name, text in files.items() if not name.startswith(".")}


OLD = {"daily/old": "old", "daily/both": "old", "kept": "old", "kind/x": "old", "only-old": "old"}
NEW = {"daily/new": "new", "daily/both": "new", "kept": "new", "kind": "new", "only-new/x": "new"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def late(place: Place, number: int) -> None:
    """What an application writes that knows nothing of the restore: into directories that it makes, and in place of files."""
    with contextlib.suppress(OSError):
        fill(place.live, {f"daily/late-{number}": "late"})
    with contextlib.suppress(OSError):
        fill(place.live, {f"late-{number}": "late"})


def writing(place: Place, monkeypatch: pytest.MonkeyPatch, fail: int = 0, error: BaseException | None = None) -> list[int]:
    """Let something be written before every rename in the directory but repeated ones, and let one of them fail; how many there were."""
    count, seen = [0], set()

    def rename(source: Any, target: Any, **options: Any) -> None:
        if str(place.live) in str(source) and (source, target) not in seen:
            seen.add((source, target))
            count[0] += 1
            late(place, count[0])
            if count[0] == fail and error:
                raise error
        RENAME(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    return count


def lates(files: dict[str, str]) -> set[str]:
    return {name.rpartition("late-")[2] for name in files if "late-" in name}


def test_files_are_exchanged_while_nobody_writes(place: Place) -> None:
    before = place.live.stat().st_ino
    place.run()
    assert place.seen() == NEW and place.replaced() == OLD and place.live.stat().st_ino == before
    assert place.server.databases == {"shop": "new", GOING: "old"}


def test_files_are_exchanged_though_an_application_writes_before_every_step(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = writing(place, monkeypatch)
    place.run()
    seen, replaced = place.seen(), place.replaced()
    assert NEW.items() <= seen.items() and OLD.items() <= replaced.items()
    assert lates(seen) | lates(replaced) == {str(number) for number in range(1, count[0] + 1)}  # nothing written is lost
    assert place.server.databases == {"shop": "new", GOING: "old"}


def test_a_file_that_its_writer_takes_back_stops_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(source: Any, target: Any, **options: Any) -> None:
        if Path(source) == place.live / "kept":
            os.unlink(source)
        RENAME(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    place.run()
    assert place.seen() == NEW and "kept" not in place.replaced()


class Killed(BaseException):
    """Nothing of the process runs after it."""


def renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patched:
        (tmp_path / "count").mkdir()
        counted = Place(tmp_path / "count")
        count = writing(counted, patched)
        counted.run()
    return count[0]


def killed(place: Place, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Run the exchange up to a rename, and no further."""
    with monkeypatch.context() as patched:
        writing(place, patched, number, Killed())
        with pytest.raises(Killed):
            place.run()


def test_killed_at_any_rename_everything_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = renames(tmp_path, monkeypatch)
    assert total >= 8  # four entries out, four in
    for number in range(1, total + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = Place(folder)
        killed(place, monkeypatch, number)
        with monkeypatch.context() as patched:
            writing(place, patched)  # the application has not stopped
            place.exchange().recover_after_crash()
        seen = place.seen()
        assert {name: text for name, text in seen.items() if "late-" not in name} == OLD, number
        assert not [path for path in place.live.iterdir() if path.name.startswith(".restore-")]
        assert place.server.databases == {"shop": "old"} and not read_journal(place.config)


def test_killed_again_while_it_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = renames(tmp_path, monkeypatch)
    for second in range(1, 12):
        folder = tmp_path / str(second)
        folder.mkdir()
        place = Place(folder)
        killed(place, monkeypatch, total)
        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            writing(place, patched, second, Killed())
            place.exchange().recover_after_crash()
        if read_journal(place.config):
            place.exchange().recover_after_crash()
        assert {name: text for name, text in place.seen().items() if "late-" not in name} == OLD, second


def test_an_error_of_the_file_system_takes_the_same_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, renames(tmp_path, monkeypatch) + 1):
        code = (errno.EPERM, errno.ENOSPC, errno.EBUSY)[number % 3]
        folder = tmp_path / str(number)
        folder.mkdir()
        place = Place(folder)
        exchange = place.exchange()
        with monkeypatch.context() as patched:
            writing(place, patched, number, OSError(code, os.strerror(code), str(place.live / "x")))
            with pytest.raises(plan.BackupError, match=f"uploads/x: {os.strerror(code)}") as caught:
                exchange.replace_live("exchanging", COMING, GOING, place.moves)
        assert caught.value.code == plan.RESTORE_FAILED
        exchange.undo_restore()
        assert {name: text for name, text in place.seen().items() if "late-" not in name} == OLD
        assert place.server.databases == {"shop": "old"} and not read_journal(place.config)


def test_what_cannot_be_undone_yet_says_so_and_is_undone_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = place.exchange()
    with monkeypatch.context() as patched:
        writing(place, patched, 8, OSError(errno.EIO, "Input/output error", "a"))
        with pytest.raises(plan.BackupError):
            exchange.replace_live("exchanging", COMING, GOING, place.moves)
    with monkeypatch.context() as patched:
        writing(place, patched, 1, OSError(errno.EIO, "Input/output error", "b"))
        with pytest.raises(plan.BackupError, match="b: Input/output error"):
            place.exchange().recover_after_crash()
    place.exchange().recover_after_crash()
    assert {name: text for name, text in place.seen().items() if "late-" not in name} == OLD


def test_the_way_back_and_back_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    writing(place, monkeypatch)
    place.run()
    exchange = place.exchange()
    again = GOING[:-1] + "0"
    exchange.replace_live("undoing", GOING, again, exchange.moves_to_previous())
    exchange.commit()
    assert OLD.items() <= place.seen().items() and place.server.databases["shop"] == "old"


def test_under_a_loop_that_writes_all_the_time(tmp_path: Path) -> None:
    place, stop, written = Place(tmp_path), threading.Event(), [0]

    def loop() -> None:
        while not stop.is_set():
            written[0] += 1
            late(place, written[0] % 50)

    writer = threading.Thread(target=loop)
    writer.start()
    try:
        place.run()
        for _round in range(20):
            exchange = place.exchange()
            names = (plan.beside("shop", "before", plan.set_id(_round, "abcdef")), exchange.journal["going"])
            exchange.replace_live("undoing", names[1], names[0], exchange.moves_to_previous())
            exchange.commit()
    finally:
        stop.set()
        writer.join()
    assert NEW.items() <= place.seen().items() and written[0] > 50
