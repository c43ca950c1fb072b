# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of secrets: what is on the disk is compared, each colour has its own, and nobody but its service reads them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import secrets

FILES = {"backend": {"jwt": "one", "url": "postgres://a:b@c/d\n"}, "worker": {"jwt": "one"}}
OWNERS = {"backend": str(os.getuid()), "worker": str(os.getuid())}


def write(folder: Path, files: dict[str, Any] | None = None, private: bool = True, check: bool = False) -> list[str]:
    """What the module does."""
    wanted, found = secrets.desired(FILES if files is None else files, OWNERS, private), secrets.observe(folder, private)
    differs = secrets.differences(found, wanted)
    if differs and not check:
        secrets.apply(folder, found, wanted)
    return differs


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in [folder, *folder.rglob("*")]}


ALL = [".", "backend", "backend/jwt", "backend/url", "worker", "worker/jwt"]
EXPECTED = {"backend/jwt": b"one", "backend/url": b"postgres://a:b@c/d\n", "worker/jwt": b"one"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets" / "green"


@pytest.mark.parametrize(("private", "outer", "inner", "file"), [(True, 0o700, 0o500, 0o400), (False, 0o755, 0o755, 0o444)])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_secrets_are_written_once(folder: Path, private: bool, outer: int, inner: int, file: int, umask: int) -> None:
    old = os.umask(umask)
    try:
        assert write(folder, private=private, check=True) == ALL and not folder.exists()
        assert write(folder, private=private) == ALL
    finally:
        os.umask(old)
    assert contents(folder) == EXPECTED
    assert modes(folder) == {
        ".": outer, "backend": inner, "worker": inner, "backend/jwt": file, "backend/url": file, "worker/jwt": file,
    }  # fmt: skip
    assert write(folder, private=private, check=True) == write(folder, private=private) == []


@pytest.mark.parametrize(
    ("damage", "differs"),
    [
        ("true", []),
        ("printf wrong > backend/jwt", ["backend/jwt"]),
        ("printf 'one\n' > backend/jwt", ["backend/jwt"]),
        ("rm backend/jwt", ["backend/jwt"]),
        ("chmod 0440 backend/jwt", ["backend/jwt"]),
        ("chmod 0755 worker", ["worker"]),
        ("chmod 0755 .", ["."]),
        ("rm -r worker", ["worker", "worker/jwt"]),
        ("rm -r worker; touch worker", ["worker", "worker/jwt"]),
        ("rm -r worker; ln -s /etc worker", ["worker", "worker/jwt"]),
        ("rm backend/jwt; mkdir backend/jwt; touch backend/jwt/x", ["backend/jwt", "backend/jwt/x"]),
        ("rm backend/jwt; ln -s /etc/hostname backend/jwt", ["backend/jwt"]),
        ("rm backend/jwt; mkfifo backend/jwt", ["backend/jwt"]),
        ("echo x > backend/old", ["backend/old"]),
        ("echo x > backend/.jwt.4711", ["backend/.jwt.4711"]),  # of a run that was killed
        ("mkdir gone; echo x > gone/jwt", ["gone", "gone/jwt"]),
    ],
)
def test_what_is_on_the_disk_is_compared_and_put_right(folder: Path, damage: str, differs: list[str]) -> None:
    write(folder)
    script = f"chmod -R u+w . && {{ {damage}; }} && chmod u-w backend backend/url; chmod u-w worker worker/jwt backend/jwt"
    subprocess.run(["sh", "-c", script], cwd=folder, check=False, stderr=subprocess.DEVNULL)
    before = modes(folder)
    assert write(folder, check=True) == differs and modes(folder) == before  # to look changes nothing
    assert write(folder) == differs
    assert contents(folder) == EXPECTED and write(folder, check=True) == []
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_a_changed_secret_is_known_by_its_name_alone(folder: Path) -> None:
    write(folder)
    assert write(folder, {**FILES, "worker": {"jwt": "another"}}, check=True) == ["worker/jwt"]


@pytest.mark.parametrize(("value", "content"), [(7, b"7"), ("日本", "日本".encode()), ("", b""), (" x ", b" x ")])
def test_values_arrive_unchanged(folder: Path, value: object, content: bytes) -> None:
    write(folder, {"backend": {"jwt": value}})
    assert contents(folder) == {"backend/jwt": content} and write(folder, {"backend": {"jwt": value}}) == []


def test_without_secrets_there_is_nothing(folder: Path) -> None:
    assert write(folder, {}) == [] and not folder.exists()
    write(folder)
    assert write(folder, {}) == ALL[1:] and contents(folder) == {} and write(folder, {}) == []


def test_one_colour_leaves_the_other_alone(folder: Path) -> None:
    other = folder.parent / "blue"
    write(other)
    before = {path: path.stat() for path in [other, *other.rglob("*")]}
    write(folder, {"backend": {"jwt": "wrong"}})
    assert {path: path.stat() for path in [other, *other.rglob("*")]} == before


def test_a_file_is_never_seen_half_or_open_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"backend": {"jwt": "old"}})
    seen = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        seen.append((target.read_bytes(), source.read_bytes(), source.stat().st_mode & 0o777))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    write(folder, {"backend": {"jwt": "new"}})
    assert seen == [(b"old", b"new", 0o400)]


def test_the_owner_is_the_user_of_the_service(folder: Path) -> None:
    if os.getuid():
        pytest.skip("only root gives files away")
    wanted = secrets.desired(FILES, {"backend": "10001", "worker": "101"}, True)
    secrets.apply(folder, {}, wanted)
    owners = {str(path.relative_to(folder)): (path.stat().st_uid, path.stat().st_gid) for path in folder.rglob("*")}
    assert owners["backend"] == owners["backend/jwt"] == (10001, 0) and owners["worker/jwt"] == (101, 0)
    assert secrets.differences(secrets.observe(folder, True), wanted) == []
    another = secrets.desired(FILES, {"backend": "10002", "worker": "101"}, True)
    assert secrets.differences(secrets.observe(folder, True), another) == ["backend", "backend/jwt", "backend/url"]


@pytest.mark.parametrize("bad", ["../x", "/etc/x", "a/b", "", ".", "..", ".x"])
def test_names_that_are_no_names_are_refused(folder: Path, bad: str) -> None:
    for files in ({"backend": {bad: "x"}}, {bad: {"x": "x"}}):
        with pytest.raises(ValueError, match="is no name"):
            write(folder, files)
    assert not folder.exists()


@pytest.mark.parametrize(("keep", "gone"), [("blue", []), ("green", ["backend", "worker"]), ("", [])])
def test_what_colours_shared_goes_when_the_one_that_serves_has_its_own(folder: Path, keep: str, gone: list[str]) -> None:
    shared = folder.parent
    for name in ("backend", "worker", "postgres"):
        (shared / name).mkdir(parents=True)
    write(folder)
    assert [path.name for path in secrets.shared(shared, keep, ["backend", "worker", "frontend"])] == gone
