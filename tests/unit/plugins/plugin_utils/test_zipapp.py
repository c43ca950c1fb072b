# SPDX-License-Identifier: GPL-3.0-or-later
"""A command as one file: the same bytes every time, everything in it that it needs, and it runs without Ansible."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

# Its name, arguments with which it reads its configuration first, and what it says that it has none.
COMMANDS = {
    "backup.cli": ("shop-backup", ["list"], "/etc/shop/backup.json is not there"),
    "logs.command": ("shop-logs", ["--lines=1"], "/etc/shop/logs.json cannot be read"),
    "edge.certificate_install": ("edge-certificate", ["shop", "/", "--config=/none"], "/none cannot be read"),
}


@pytest.mark.parametrize("entry", COMMANDS)
def test_the_same_source_is_the_same_file(entry: str) -> None:
    assert zipapp.pack(entry) == zipapp.pack(entry)


@pytest.mark.parametrize("entry", COMMANDS)
def test_it_runs_alone_and_names_its_application(tmp_path: Path, entry: str) -> None:
    name, given, said = COMMANDS[entry]
    command = tmp_path / name
    command.write_bytes(zipapp.pack(entry))
    for arguments, code, words in ((["--help"], 0, "usage: "), (given, 2, said)):
        # -S: nothing that is installed beside Python itself.
        run = [sys.executable, "-S", str(command), *arguments]
        done = subprocess.run(run, capture_output=True, text=True, check=False, cwd="/", env={})
        assert done.returncode == code and words in done.stdout + done.stderr, done.stderr


def test_what_is_imported_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    sources = {
        "shop/till.py": f"import json\nfrom {zipapp.PACKAGE}.shop import stock\n\n\ndef main():\n    return stock.count()\n",
        "shop/stock.py": f"def count():\n    from {zipapp.PACKAGE}.io.disk import number\n    return number\n",
        "shop/door.py": "import os\n",
        "io/disk.py": f"import {zipapp.PACKAGE}.shop.stock\nnumber = 7\n",
        "shop/__init__.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    assert list(zipapp.closure("shop.till", tmp_path)) == ["io.disk", "shop.stock", "shop.till"]
    command = tmp_path / "till"
    command.write_bytes(zipapp.pack("shop.till", tmp_path))
    assert subprocess.run([sys.executable, "-S", str(command)], check=False, env={}).returncode == 7
    names = zipfile.ZipFile(io.BytesIO(command.read_bytes())).namelist()
    assert sorted(name for name in names if "__" not in name) == [
        f"{zipapp.PACKAGE.replace('.', '/')}/{module}.py" for module in ("io/disk", "shop/stock", "shop/till")
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import yaml\n", "till imports yaml: a server has"),
        ("from ansible.module_utils.basic import AnsibleModule\n", "till imports ansible.module_utils.basic"),
        ("from . import stock\n", "till imports ."),
        (f"from {zipapp.PACKAGE}.gone import stock\n", "gone: there is no "),
    ],
)
def test_what_a_server_does_not_have_is_refused(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "till.py").write_text(source)
    with pytest.raises(ValueError, match=words):
        zipapp.pack("till", tmp_path)


def test_no_such_command() -> None:
    with pytest.raises(ValueError, match="till: there is no "):
        zipapp.pack("till")
