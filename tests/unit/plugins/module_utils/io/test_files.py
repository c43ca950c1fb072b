# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are brought to what is declared, all of them or none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import files

ME = {"owner": os.geteuid(), "group": os.getegid()}


def entry(path: Any, state: str = "file", **more: Any) -> dict[str, Any]:
    """An entry as the module has it, with what the argument spec adds."""
    return {"path": str(path), "state": state, "secret": False, **({"template": "x.j2"} if state == "file" else {}), **more}


def plan(*entries: dict[str, Any], **contents: bytes) -> list[files.Change]:
    """The changes; each file's content is named after its base name without what follows the dot."""
    named = {each["path"]: contents.get(Path(each["path"]).stem, b"new\n") for each in entries if each["state"] == "file"}
    return files.plan(entries, named)


def tree(root: Path) -> dict[str, Any]:
    """What is below a directory: path -> content, mode; a link's target."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else (path.read_bytes() if path.is_file() else None, path.stat().st_mode & 0o7777)
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"path": "etc/a"}, "etc/a: is not absolute"),
        ({"content": "x"}, "/a: has template and content. Give one of"),
        ({"template": None}, "/a: has no source. Give one of"),
        ({"state": "directory"}, "/a: template is for files, not for state directory"),
        ({"state": "absent"}, "/a: template is for files, not for state absent"),
        ({"target": "/b"}, "/a: target and state link belong together"),
        ({"state": "link", "template": None}, "/a: target and state link belong together"),
        ({"purge": "*"}, "/a: purge is for directories"),
        ({"validate": "nginx -t"}, "/a: validate is for files and has %s"),
        ({"mode": "rw"}, "/a: mode 'rw' is no octal number in quotes"),
        ({"mode": 420}, "/a: mode 420 is no octal number in quotes"),
        ({"mode": "0888"}, "/a: mode '0888' is no octal number"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(wrong: dict[str, Any], said: str) -> None:
    found = files.problems([{**entry("/a"), **wrong}])
    assert len(found) == 1 and found[0].startswith(said)


def test_a_sound_list_has_no_problems_and_a_path_twice_has_one() -> None:
    sound = [
        entry("/a", validate="check %s", mode="0640"),
        entry("/d", "directory", purge="*.conf"),
        entry("/l", "link", target="/a"),
        entry("/g", "absent"),
    ]
    assert files.problems(sound) == []
    assert files.problems([*sound, entry("/a", "absent")]) == ["/a: is there twice. Remove one of the two entries."]


def test_what_is_as_declared_is_left_alone(tmp_path: Path) -> None:
    wanted = [
        entry(tmp_path / "d", "directory", mode="0750"),
        entry(tmp_path / "d/a.conf", mode="0640"),
        entry(tmp_path / "link", "link", target="d/a.conf"),
        entry(tmp_path / "gone", "absent"),
    ]
    first = plan(*wanted)
    assert [change.path for change in first] == [str(tmp_path / name) for name in ("d", "d/a.conf", "link")]
    files.apply(first)
    assert tree(tmp_path) == {"d": (None, 0o750), "d/a.conf": (b"new\n", 0o640), "link": "d/a.conf"}
    inode = (tmp_path / "d/a.conf").stat().st_ino
    assert plan(*wanted) == []
    files.apply(plan(*wanted))
    assert (tmp_path / "d/a.conf").stat().st_ino == inode


@pytest.mark.parametrize("spoil", ["content", "mode", "link", "longer"])
def test_each_difference_is_noticed_and_undone(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "a.conf"
    files.apply(plan(entry(path)))
    if spoil == "content":
        path.write_bytes(b"old\n")
    elif spoil == "longer":
        path.write_bytes(b"new\nand more\n")
    elif spoil == "mode":
        path.chmod(0o666)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    assert [change.path for change in plan(entry(path))] == [str(path)]
    files.apply(plan(entry(path)))
    assert (path.read_bytes(), path.stat().st_mode & 0o7777, path.is_symlink()) == (b"new\n", 0o644, False)
    if spoil == "link":
        assert (tmp_path / "elsewhere").read_bytes() == b"new\n"


def test_a_link_to_a_directory_is_that_directory(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "d").symlink_to("disk")
    files.apply(plan(entry(tmp_path / "d", "directory", mode="0755")))
    assert (tmp_path / "d").is_symlink() and (tmp_path / "disk").stat().st_mode & 0o777 == 0o755
    assert plan(entry(tmp_path / "d", "directory", mode="0755")) == []


def test_only_what_matches_and_is_not_declared_is_purged(tmp_path: Path) -> None:
    for name in ("kept.json", "gone.json", "other.txt"):
        (tmp_path / name).write_bytes(b"new\n")
    (tmp_path / "kept.json").chmod(0o644)
    mode = f"{tmp_path.stat().st_mode & 0o7777:04o}"
    changes = plan(entry(tmp_path, "directory", purge="*.json", mode=mode), entry(tmp_path / "kept.json"))
    assert [(change.path, change.after.state) for change in changes] == [(str(tmp_path / "gone.json"), "absent")]
    files.apply(changes)
    assert sorted(tree(tmp_path)) == ["kept.json", "other.txt"]


def test_absent_removes_a_directory_with_all_in_it_but_not_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    files.apply(plan(entry(tmp_path / "d", "absent"), entry(tmp_path / "link", "absent")))
    assert sorted(tree(tmp_path)) == ["kept"]


def test_what_would_fail_in_the_middle_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    changes = plan(
        entry(tmp_path / "dir"),
        entry(tmp_path / "file", "directory"),
        entry(tmp_path / "b", owner="nobody-of-that-name", group="none-of-that-name"),
    )
    assert files.impossible(changes) == [
        f"{tmp_path}/dir: is a directory. Remove it.",
        f"{tmp_path}/file: is no directory. Remove it.",
        f"{tmp_path}/b: there is no owner nobody-of-that-name on this host. Create it first, or correct the name.",
        f"{tmp_path}/b: there is no group none-of-that-name on this host. Create it first, or correct the name.",
    ]


def test_missing_directories_above_a_file_are_made_for_everybody(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        files.apply(
            plan(
                entry(tmp_path / "own", "directory", mode="0700"), entry(tmp_path / "own/a.conf"), entry(tmp_path / "x/y/b.conf")
            )
        )
    finally:
        os.umask(umask)
    modes = {path: found[1] for path, found in tree(tmp_path).items()}
    assert modes == {"own": 0o700, "own/a.conf": 0o644, "x": 0o755, "x/y": 0o755, "x/y/b.conf": 0o644}


def test_all_are_validated_and_what_is_refused_is_told_with_its_own_path(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    check = 'sh -c \'grep -q good "$0" || { echo "$0: line 1: hunter2"; exit 3; }\' %s'
    changes = plan(
        entry(tmp_path / "good.conf", validate=check),
        entry(tmp_path / "bad.conf", validate=check),
        entry(tmp_path / "secret.conf", validate=check, secret=True),
        entry(tmp_path / "tool.conf", validate="no-such-tool %s"),
        good=b"good",
    )
    found = files.invalid(changes, str(scratch))
    assert found == [
        f"{tmp_path}/bad.conf: sh refuses it (exit code 3). {tmp_path}/bad.conf: line 1: hunter2",
        f"{tmp_path}/secret.conf: sh refuses it (exit code 3). It is secret, so what was said of it is not shown.",
        f"{tmp_path}/tool.conf: cannot be validated, there is no no-such-tool. Install it first.",
    ]
    assert tree(tmp_path) == {"scratch": (None, scratch.stat().st_mode & 0o7777)}


def test_a_file_whose_mode_alone_differs_is_not_validated(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_bytes(b"new\n")
    (tmp_path / "a.conf").chmod(0o600)
    assert files.invalid(plan(entry(tmp_path / "a.conf", validate="false %s")), str(tmp_path)) == []


def test_a_full_disk_replaces_no_file_and_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.conf", "b.conf"):
        (tmp_path / name).write_bytes(b"old\n")
    before, write = tree(tmp_path), files._write

    def full(path: str, wanted: files.Entry) -> None:
        write(path, wanted)
        if "b.conf" in path:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(OSError, match="No space"):
        files.apply(plan(entry(tmp_path / "a.conf"), entry(tmp_path / "b.conf")))
    assert tree(tmp_path) == before


def test_a_file_has_owner_and_mode_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace = os.replace

    def watched(source: str, target: str) -> None:
        seen.append((os.stat(source).st_mode & 0o7777, Path(source).read_bytes(), os.path.exists(target)))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", watched)
    umask = os.umask(0)
    try:
        files.apply(plan(entry(tmp_path / "secret", mode="0440", secret=True)))
    finally:
        os.umask(umask)
    assert seen == [(0o440, b"new\n", False)]


def test_differences_are_shown_and_secrets_are_not(tmp_path: Path) -> None:
    for name in ("plain", "secret", "binary"):
        (tmp_path / name).write_bytes(b"old\n")
        (tmp_path / name).chmod(0o644)
    rows = [
        files.difference(change)
        for change in plan(
            entry(tmp_path / "plain", mode="0600"),
            entry(tmp_path / "secret", secret=True),
            entry(tmp_path / "binary"),
            binary=b"\0",
        )
    ]
    path = str(tmp_path / "plain")
    assert rows[0] == [
        {"before": "old\n", "after": "new\n", "before_header": path, "after_header": path},
        {"before": {"path": path, "mode": "0644"}, "after": {"path": path, "mode": "0600"}},
    ]
    assert rows[1] == [{"prepared": f"{tmp_path}/secret: the content differs. It is secret and not shown.\n"}]
    assert rows[2] == [{"prepared": f"{tmp_path}/binary: the content differs. It is too large or no text, and not shown.\n"}]


def test_a_removed_secret_is_not_read() -> None:
    change = files.Change("/s", files.observe(__file__, content=False), files.Entry("absent"), True, "")
    assert change.before.content is None and all("prepared" not in row for row in files.difference(change))


def test_names_and_numbers_of_accounts() -> None:
    assert files.account("owner", "root") == 0 and files.account("group", "root") == 0
    assert files.account("owner", "10472") == 10472 and files.account("owner", None) == ME["owner"]
    assert files.account("group", "none-of-that-name") == "none-of-that-name"
