# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles serve any application: none of them knows the first one, kasaneha, by its name, its paths, its services or its metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from metadata import files

ROOT = Path(__file__).parent.parent.parent

# What is looked for, whatever its case.
WORDS = re.compile(
    r"kasaneha|gemini|_astro|\bsessions\b|\bservice\s*(=~?|!=|!~)\s*\\?[\"'][a-z]|\bBackend(?=[A-Z])", re.IGNORECASE
)

# What may stand there: (path, what). The collection's own names, and English.
ALLOWED = [
    ("*", r"kasaneha[._]deploy\b|KASANEHA_DEPLOY_"),  # itself, and the labels of its containers, as the journal writes them, too
    ("*", r"github\.com/kasaneha/deploy"),
    ("*", r"\bkasaneha_(backup|cert|container|deploy|docker|edge|failed|log|reboot|release|restore)_\w+"),  # its metrics
    ("roles/monitoring/files/collector.py", r"^PREFIX = \"kasaneha_\"$"),  # with which those begin
    ("*", r"\bkasaneha:(errors|panel|runbook|slo_objective)\b"),  # what its rules record
    ("*", r"(?<=[/*])kasaneha\.(conf|prom|yml)\b"),  # its files in directories of other programs
    ("roles/logging/templates/elasticsearch/*", r"\bkasaneha\.(app|colour|stream)\b|^ *\"kasaneha\": \{"),  # its fields of a line
    ("*", r"\bsessions (in the database|and saved objects)"),
    # Removed from servers that have it; to be deleted with the tasks that do so.
    (
        "roles/logging/vars/main.yml",
        r"^_logging_former_(page_dir: /usr/local/share/kasaneha-logs|owner: /etc/kasaneha/logs\.json)$",
    ),
]


def specific(root: Path) -> Iterator[str]:
    """Each place in a role that knows one application: `path:line: what`."""
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if not name.startswith("roles/"):
            continue
        allowed = [re.compile(what) for where, what in ALLOWED if fnmatch(name, where)]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text = line
            for pattern in allowed:
                text = pattern.sub("", text)
            yield from (f"{name}:{number}: {found[0]}" for found in WORDS.finditer(text))


def test_no_role_knows_one_application() -> None:
    found = list(specific(ROOT))
    assert not found, "\n".join(found)


def test_every_exception_is_needed() -> None:
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in files(ROOT)
        if path.relative_to(ROOT).parts[0] == "roles"
    }
    for where, what in ALLOWED:
        assert any(re.search(what, text, re.MULTILINE) for name, text in texts.items() if fnmatch(name, where)), what


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("toy/defaults/main.yml", "toy_dir: /usr/local/share/kasaneha-logs"),
        ("logging/vars/main.yml", "_logging_page_dir: /usr/local/share/kasaneha-logs"),
        ("toy/defaults/main.yml", "toy_tag: kasaneha"),
        ("toy/README.md", "names: [kasaneha.app]"),
        ("toy/vars/main.yml", "toy_container: kasaneha_backend"),
        ("toy/vars/main.yml", "toy_database: kasaneha_db"),
        ("toy/defaults/main.yml", "toy_paths: .*/sessions/.*"),
        ("toy/files/alerts/x.yml", 'expr: up{service="backend"} == 0'),
        ("toy/files/alerts/x.yml", "expr: up{job='x',service!='backend'} == 0"),
        ("toy/files/dashboards.yml", r"expr: \"rate(x{service=~\"backend|web\"})\""),
        ("toy/files/alerts/x.yml", "alert: BackendDown"),
        ("toy/files/dashboards.yml", "expr: rate(gemini_api_requests_total[5m])"),
    ],
)
def test_what_is_specific_is_found(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    path = tmp_path / "roles" / name
    path.parent.mkdir(parents=True)
    path.write_text(f"fine: kasaneha.deploy.x kasaneha_backup_size_bytes\n{line}\n")
    monkeypatch.setitem(specific.__globals__, "files", lambda _root: [path])
    assert [found.split(": ")[0] for found in specific(tmp_path)] == [f"roles/{name}:2"]
