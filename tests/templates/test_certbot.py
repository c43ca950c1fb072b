# SPDX-License-Identifier: GPL-3.0-or-later
"""What installs a certificate. Its nginx is a fake that answers with one certificate after the other: how the workers before and
after a reload share the first moment cannot be had from a real one at will."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from render import render

OPENSSL = """#!/bin/sh
[ "$1" = s_client ] || exec {real} "$@"
echo look >>{folder}/looks
sed -n "$(wc -l <{folder}/looks)p;\\$p" {folder}/answers | head -n 1 | xargs cat
"""


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """A folder with two certificates, ``old`` being installed, and programs that answer from ``answers``, a line for each look."""
    (tmp_path / "tls").mkdir()
    (tmp_path / "bin").mkdir()
    real = subprocess.run(["sh", "-c", "command -v openssl"], check=True, capture_output=True, text=True).stdout.strip()
    for name, script in {
        "openssl": OPENSSL.format(real=real, folder=tmp_path),
        **dict.fromkeys(("nginx", "systemctl", "logger", "sync"), "#!/bin/sh\n"),
        "sleep": "#!/bin/sh\n",  # sixty looks within the test's patience
        "edge-certificate": render("certbot", "edge-certificate.sh.j2", {"certbot_install_dir": str(tmp_path / "tls")}),
    }.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "5", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=DNS:kasaneha.test", "-keyout", f"{name}/privkey.pem", "-out", f"{name}/fullchain.pem"],
            check=True, capture_output=True, cwd=tmp_path,
        )  # fmt: skip
    assert install(tmp_path, "old", ["old"]).returncode == 0
    return tmp_path


def install(edge: Path, name: str, answers: list[str]) -> subprocess.CompletedProcess[str]:
    """Install one; nginx answers with these in turn, with the last one from then on."""
    (edge / "looks").write_text("")
    (edge / "answers").write_text("".join(f"{edge}/{answer}/fullchain.pem\n" for answer in answers))
    environment = {**os.environ, "PATH": f"{edge}/bin:{os.environ['PATH']}"}
    return subprocess.run(
        [edge / "bin/edge-certificate", "main", edge / name], capture_output=True, text=True, check=False, env=environment
    )


def served(edge: Path) -> str:
    return next(
        name
        for name in ("old", "new")
        if (edge / name / "privkey.pem").read_text() == (edge / "tls/main/privkey.pem").read_text()
    )


@pytest.mark.parametrize(
    "answers", [["old", "new"], ["old", "new", "old", "new"], ["old", "old", "old", "new", "old", "old", "new"]]
)
def test_workers_that_are_on_their_way_out_do_not_count(edge: Path, answers: list[str]) -> None:
    done = install(edge, "new", answers)
    assert done.returncode == 0 and "installed, valid until" in done.stdout, done.stderr
    assert served(edge) == "new"


@pytest.mark.parametrize("answers", [["old"], ["old", "new", *["old", "new"] * 40]])
def test_one_that_stays_is_taken_back(edge: Path, answers: list[str]) -> None:
    done = install(edge, "new", answers)
    assert (
        done.returncode == 1
        and "goes on serving another certificate for kasaneha.test. The one before is served again" in done.stderr
    )
    assert served(edge) == "old"
