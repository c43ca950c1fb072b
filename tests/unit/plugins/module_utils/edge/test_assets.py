# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashed assets on an edge: whole or not at all, readable, and never other bytes under a name that is served."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import assets

ONE, TWO = {"_astro/a.1.js": b"one", "_astro/both.css": b"both"}, {"_astro/b.2.js": b"two", "_astro/both.css": b"both"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the role nginx makes for assets."""
    for name in ("assets", "releases"):
        (tmp_path / "www" / name).mkdir(parents=True)
    return tmp_path / "www"


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def packed(tmp_path: Path, files: dict[str, bytes], *more: tarfile.TarInfo, mode: int = 0o644) -> Path:
    """An archive as `docker cp` makes it: of a folder, with the modes of the image."""
    path = tmp_path / "assets.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry("_astro/", tarfile.DIRTYPE, mode=0o700))
        for name, content in files.items():
            info = entry(name, mode=mode)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def publish(
    folder: Path, archive: Path, release: str, image: str = "sha256:1", keep: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    return assets.publish(folder, archive, release, image, {release, *keep})


def served(folder: Path) -> dict[str, bytes]:
    """Everything that nginx finds."""
    return {
        str(path.relative_to(folder / "assets")): path.read_bytes() for path in (folder / "assets").rglob("*") if path.is_file()
    }


def tidy(folder: Path) -> bool:
    """Nothing is left of the work."""
    return sorted(path.name for path in folder.iterdir()) == ["assets", "releases"]


def test_assets_are_published_and_published_again(folder: Path, tmp_path: Path) -> None:
    archive = packed(tmp_path, ONE)
    assert publish(folder, archive, "v1") == {"written": sorted(ONE), "removed": []}
    assert served(folder) == ONE and assets.published(folder) == {"v1": "sha256:1"} and tidy(folder)
    assert publish(folder, archive, "v1") == {"written": [], "removed": []}
    # A release that was pushed once more under the same name.
    assert publish(folder, packed(tmp_path, TWO), "v1", "sha256:2")["written"] == ["_astro/b.2.js"]
    assert assets.published(folder) == {"v1": "sha256:2"}
    assert served(folder) == {**ONE, **TWO}  # pages of the first one are still open
    assert publish(folder, packed(tmp_path, TWO), "v2")["removed"] == ["_astro/a.1.js"]


@pytest.mark.parametrize("mode", [0o600, 0o000, 0o4755])
def test_nginx_can_read_them_whatever_the_image_says(folder: Path, tmp_path: Path, mode: int) -> None:
    old = os.umask(0o077)
    try:
        publish(folder, packed(tmp_path, {**ONE, "_astro/deep/er/x.js": b"x"}, mode=mode), "v1")
    finally:
        os.umask(old)
    for path in (folder / "assets").rglob("*"):
        assert path.stat().st_mode & 0o7777 == (0o755 if path.is_dir() else 0o644), path
    # An earlier version published them with the image's modes.
    (folder / "assets/_astro/a.1.js").chmod(0o600)
    (folder / "assets/_astro").chmod(0o700)
    publish(folder, packed(tmp_path, ONE), "v2", keep=("v1",))
    assert (folder / "assets/_astro/a.1.js").stat().st_mode & 0o777 == 0o644
    assert (folder / "assets/_astro").stat().st_mode & 0o777 == 0o755


def test_old_releases_go_and_what_no_release_brought_stays(folder: Path, tmp_path: Path) -> None:
    publish(folder, packed(tmp_path, ONE), "v1")
    (folder / "assets/_astro/foreign.js").write_bytes(b"foreign")
    assert publish(folder, packed(tmp_path, TWO), "v2", keep=("v1",))["removed"] == []
    assert publish(folder, packed(tmp_path, TWO), "v3", keep=("v2",))["removed"] == ["_astro/a.1.js"]
    assert served(folder) == {**TWO, "_astro/foreign.js": b"foreign"} and set(assets.published(folder)) == {"v2", "v3"}


def test_other_bytes_under_a_name_that_is_served_are_refused(folder: Path, tmp_path: Path) -> None:
    publish(folder, packed(tmp_path, ONE), "v1")
    before = served(folder)
    with pytest.raises(ValueError, match=r"_astro/both\.css.*v1"):
        publish(folder, packed(tmp_path, {**TWO, "_astro/both.css": b"other"}), "v2", keep=("v1",))
    assert served(folder) == before and assets.published(folder) == {"v1": "sha256:1"} and tidy(folder)
    with pytest.raises(ValueError, match=r"_astro/both\.css"):  # nor does a release that was pushed again bring them
        publish(folder, packed(tmp_path, {"_astro/both.css": b"other"}), "v1", "sha256:2")
    assert publish(folder, packed(tmp_path, TWO), "v2", keep=("v1",))["written"] == ["_astro/b.2.js"]


def plain_list(folder: Path, release: str, *names: str) -> None:
    """What earlier versions wrote."""
    (folder / "releases" / release).write_text("_astro/\n" + "".join(f"{name}\n" for name in names))


@pytest.mark.parametrize(
    ("there", "listed", "refused"),
    [
        (b"on", False, False),  # an unpacking that was cut off: no release has it yet
        (b"", False, False),
        (b"", True, False),  # the power went before it was on the disk
        (b"one", True, False),
        (None, True, False),
        (b"ONE", True, True),
    ],
)
def test_what_an_earlier_version_left_blocks_nothing(
    folder: Path, tmp_path: Path, there: bytes | None, listed: bool, refused: bool
) -> None:
    (folder / "assets/_astro").mkdir()
    if there is not None:
        (folder / "assets/_astro/a.1.js").write_bytes(there)
    plain_list(folder, "v0", *(["_astro/a.1.js"] if listed else []))
    assert assets.published(folder) == {"v0": ""}
    if refused:
        with pytest.raises(ValueError, match=r"a\.1\.js"):
            publish(folder, packed(tmp_path, ONE), "v1", keep=("v0",))
    else:
        publish(folder, packed(tmp_path, ONE), "v1", keep=("v0",))
        assert served(folder) == ONE


def test_a_file_that_was_damaged_is_put_right(folder: Path, tmp_path: Path) -> None:
    publish(folder, packed(tmp_path, ONE), "v1")
    (folder / "assets/_astro/a.1.js").write_bytes(b"o")
    assert publish(folder, packed(tmp_path, ONE), "v2", keep=("v1",))["written"] == ["_astro/a.1.js"]
    assert served(folder) == ONE


@pytest.mark.parametrize("broken", ["fsync", "replace", "copyfileobj"])
@pytest.mark.parametrize("call", range(1, 5))
def test_a_full_disk_leaves_nothing_that_blocks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, call: int
) -> None:
    publish(folder, packed(tmp_path, TWO), "v0")
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def some(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= call:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return some

    more = {**ONE, "_astro/c.3.js": b"three", "_astro/d.4.js": b"four", "_astro/e.5.js": b"five"}
    with monkeypatch.context() as patch:
        where = assets.shutil if broken == "copyfileobj" else os
        patch.setattr(where, broken, failing(getattr(where, broken)))
        with pytest.raises(OSError, match="No space left"):
            publish(folder, packed(tmp_path, more), "v1", keep=("v0",))
    assert calls >= call
    found = served(folder)
    assert TWO.items() <= found.items() and found.items() <= {**TWO, **more}.items()  # each is there whole or not at all
    assert assets.published(folder) == {"v0": "sha256:1"}
    publish(folder, packed(tmp_path, more), "v1", keep=("v0",))
    assert served(folder) == {**TWO, **more} and set(assets.published(folder)) == {"v0", "v1"} and tidy(folder)


def test_what_a_run_that_was_killed_left_goes(folder: Path, tmp_path: Path) -> None:
    (folder / "staging/deep").mkdir(parents=True)
    (folder / "staging/deep/0").write_bytes(b"o")
    (folder / "releases/.v1.4711").write_text("{")  # the list that was being written
    (folder / "releases/v9.new").write_text("_astro/a.1.js\n")  # by an earlier version
    assert set(assets.published(folder)) == {"v9.new"}
    publish(folder, packed(tmp_path, ONE), "v1")
    assert served(folder) == ONE and tidy(folder) and os.listdir(folder / "releases") == ["v1"]


def test_everything_is_on_the_disk_before_it_counts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        assert str(source) in synced, f"{source} is not on the disk yet"
        if target.parent.name == "releases":
            assert str(folder / "assets/_astro") in synced, "the names are not on the disk yet"
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    publish(folder, packed(tmp_path, ONE), "v1")
    assert len(synced) > 4


def test_links_become_what_they_name(folder: Path, tmp_path: Path) -> None:
    links = (entry("_astro/hard.js", tarfile.LNKTYPE, "_astro/a.1.js"), entry("_astro/soft.js", tarfile.SYMTYPE, "a.1.js"))
    publish(folder, packed(tmp_path, ONE, *links), "v1")
    assert served(folder) == {**ONE, "_astro/hard.js": b"one", "_astro/soft.js": b"one"}
    assert not any(path.is_symlink() for path in (folder / "assets").rglob("*"))


@pytest.mark.parametrize(
    "bad",
    [
        entry("../outside.js"),
        entry("/etc/outside.js"),
        entry("_astro/../../outside.js"),
        entry("_astro/x.js", tarfile.SYMTYPE, "/etc/passwd"),
        entry("_astro/x.js", tarfile.SYMTYPE, "x.js"),
        entry("_astro/x.js", tarfile.SYMTYPE, "../_astro"),
        entry("_astro/x.js", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: f"{bad.name}-{bad.linkname}",
)
def test_what_is_no_asset_is_refused(folder: Path, tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(ValueError, match=r"outside\.js|x\.js"):
        publish(folder, packed(tmp_path, ONE, bad), "v1")
    assert served(folder) == {} and assets.published(folder) == {} and tidy(folder)


@pytest.mark.parametrize("lost", [100, 512, 1024, 11000])
def test_an_archive_that_is_cut_short_is_refused(folder: Path, tmp_path: Path, lost: int) -> None:
    archive = packed(tmp_path, {"_astro/a.1.js": b"\x01" * 3000})
    whole = archive.read_bytes().rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512 + 1024)  # as Docker ends it
    archive.write_bytes(whole)
    publish(folder, archive, "v1")
    archive.write_bytes(whole[: max(0, len(whole) - lost)])
    with pytest.raises(ValueError, match="cut short"):
        publish(folder, archive, "v2", keep=("v1",))
    assert set(assets.published(folder)) == {"v1"} and tidy(folder)


def test_a_list_names_the_bytes_of_each_file(folder: Path, tmp_path: Path) -> None:
    publish(folder, packed(tmp_path, ONE), "v1")
    found = json.loads((folder / "releases/v1").read_text())
    assert found == {
        "schema": 1,
        "image": "sha256:1",
        "files": {name: hashlib.sha256(it).hexdigest() for name, it in ONE.items()},
    }


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": 2}', ""])
def test_a_list_that_cannot_be_read_blocks_nothing(folder: Path, tmp_path: Path, text: str) -> None:
    publish(folder, packed(tmp_path, ONE), "v1")
    (folder / "releases/v1").write_text(text)
    assert assets.published(folder) == {"v1": ""}
    publish(folder, packed(tmp_path, ONE), "v1")
    assert assets.published(folder) == {"v1": "sha256:1"} and served(folder) == ONE


def test_a_list_that_names_what_is_outside_removes_nothing_there(folder: Path, tmp_path: Path) -> None:
    (folder / "precious").write_text("x")
    plain_list(folder, "v0", "../precious", "/etc/passwd")
    publish(folder, packed(tmp_path, ONE), "v1")
    assert (folder / "precious").exists() and set(assets.published(folder)) == {"v1"}
