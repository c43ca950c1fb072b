# SPDX-License-Identifier: GPL-3.0-or-later
"""What installs a certificate. Its nginx is a fake that answers with one certificate after the other: how the workers before and
after a reload share the first moment cannot be had from a real one at will."""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificate_install

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")


class Edge:
    """A directory with two certificates and a third for no name, and a host whose nginx answers from ``answers``, in turn."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.tls = folder, folder / "tls"
        self.answers: list[str] = []
        for name in ("tls", "bin", "shared"):
            (folder / name).mkdir()
        for name in ("nginx", "systemctl", "logger"):
            self.program(name, 'echo "$0 $*" >>"${0%/*}/../asked"')
        for name, names in {"old": ["-addext", "subjectAltName=DNS:*.shop.test"], "new": ["-addext", "subjectAltName=DNS:shop.test"],
                            "bare": []}.items():  # fmt: skip
            (folder / name).mkdir()
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "5",
                 "-subj", f"/CN={name}", *names, "-keyout", f"{name}/privkey.pem", "-out", f"{name}/fullchain.pem"],
                check=True, capture_output=True, cwd=folder,
            )  # fmt: skip
        self.config()
        patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
        patch.setattr(certificate_install, "served", self.served)
        patch.setattr(time, "sleep", lambda _seconds: None)

    def program(self, name: str, script: str) -> None:
        (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def config(self, shared: str = "") -> None:
        group = grp.getgrgid(os.getgid()).gr_name
        config = {"directory": str(self.tls), "shared_directory": shared, "shared_group": group}
        (self.folder / "config.json").write_text(json.dumps(config))

    def served(self, _name: str) -> str:
        name = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return certificate_install.Certificate(self.tls, name, self.folder / name)._fingerprint() if name else ""

    def install(self, name: str, *answers: str) -> int:
        """Install one; nginx answers with these in turn, with the last one from then on."""
        self.answers = list(answers)
        (self.folder / "asked").write_text("")
        return certificate_install.main(["main", str(self.folder / name), "--config", str(self.folder / "config.json")])

    def asked(self, words: str) -> int:
        return (self.folder / "asked").read_text().count(words)

    def link(self) -> str:
        """Which one the link leads to."""
        found = [name for name in ("old", "new", "bare") if (self.tls / "main/privkey.pem").read_text()
                 == (self.folder / name / "privkey.pem").read_text()]  # fmt: skip
        return found[0]


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    before = os.umask(0)
    os.umask(before)
    edge = Edge(tmp_path, monkeypatch)
    assert edge.install("old", "old") == 0
    capfd.readouterr()
    os.umask(before)
    return edge


@pytest.fixture(autouse=True)
def _umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_it_is_installed_once(edge: Edge, capfd: pytest.CaptureFixture[str]) -> None:
    assert edge.link() == "old" and (edge.tls / "main/privkey.pem").stat().st_mode & 0o777 == 0o600
    assert edge.install("new", "old", "new") == 0
    said = capfd.readouterr()
    assert said.out.startswith("main: installed, valid until ") and "GMT" in said.out and not said.err
    assert edge.link() == "new" and edge.asked("systemctl reload nginx.service") == 1 and edge.asked("logger") == 1
    assert edge.install("new", "new") == 0  # nothing left to do
    assert capfd.readouterr() == ("", "") and not edge.asked("nginx") and not edge.asked("logger")
    assert edge.install("new", "old", "new") == 0  # what an earlier run left undone: nginx was not reloaded
    assert "installed" in capfd.readouterr().out and edge.asked("systemctl reload nginx.service") == 1


@pytest.mark.parametrize(
    "answers", [["old", "new"], ["old", "new", "old", "new"], ["old", "old", "old", "new", "old", "old", "new"]]
)
def test_workers_that_are_on_their_way_out_do_not_count(
    edge: Edge, answers: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert edge.install("new", *answers) == 0
    assert "installed, valid until" in capfd.readouterr().out
    assert edge.link() == "new"


@pytest.mark.parametrize("answers", [["old"], ["old", "new", *["old", "new"] * 40]])
def test_one_that_stays_is_taken_back(edge: Edge, answers: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert edge.install("new", *answers) == 1
    words = "main: nginx goes on serving another certificate for shop.test. The one before is served again"
    assert words in capfd.readouterr().err
    assert edge.link() == "old" and len(list(edge.tls.glob("main-*"))) == 1


@pytest.mark.parametrize(
    ("program", "script", "words"),
    [
        (
            "nginx",
            "echo 'nginx: [emerg] nonsense' >&2; echo more >&2; exit 1",
            "nginx refuses its configuration: nginx: [emerg] nonsense. The",
        ),
        ("systemctl", '[ "$1" = --quiet ]', "nginx could not be reloaded. The one before is served again"),
    ],
)
def test_what_nginx_does_not_take_is_taken_back(
    edge: Edge, program: str, script: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    edge.program(program, script)
    assert edge.install("new", "old") == 1
    assert words in capfd.readouterr().err and edge.link() == "old"


def test_nginx_that_does_not_run_is_not_started(edge: Edge) -> None:
    edge.program("systemctl", '[ "$1" != --quiet ] || exit 3; exit 1')
    assert edge.install("new", "") == 0 and edge.link() == "new"


def test_what_does_not_belong_together_is_refused(edge: Edge, capfd: pytest.CaptureFixture[str]) -> None:
    (edge.folder / "new/privkey.pem").write_text((edge.folder / "bare/privkey.pem").read_text())
    assert edge.install("new", "old") == 1
    assert capfd.readouterr().err == "main: the key is not that of the certificate\n"
    (edge.folder / "new/fullchain.pem").write_text("nonsense")
    assert edge.install("new", "old") == 1
    assert "new/fullchain.pem is no certificate" in capfd.readouterr().err
    (edge.folder / "new/privkey.pem").write_text("")
    assert edge.install("new", "old") == 1
    assert "new/privkey.pem is missing or empty" in capfd.readouterr().err
    assert edge.link() == "old" and not edge.asked("nginx")


def test_one_that_has_expired_is_refused(edge: Edge, capfd: pytest.CaptureFixture[str]) -> None:
    real = shutil.which("openssl", path=os.environ["PATH"])
    edge.program("openssl", f'case "$*" in *-checkend*) exit 1;; esac; exec {real} "$@"')
    assert edge.install("new", "old") == 1
    assert "the certificate has expired" in capfd.readouterr().err


def test_this_one_and_the_one_before_are_kept(edge: Edge) -> None:
    for name, before in (("new", "old"), ("bare", "new")):
        assert edge.install(name, before, name) == 0
    assert len(list(edge.tls.glob("main-*"))) == 2 and edge.link() == "bare"
    assert not [path for path in edge.tls.iterdir() if path.name.startswith((".new", ".link"))]


def test_what_somebody_put_there_by_hand_is_kept(edge: Edge) -> None:
    for number in range(2):
        (edge.tls / "main").unlink()
        shutil.copytree(edge.folder / "old", edge.tls / "main")
        assert edge.install(("new", "bare")[number], "old", ("new", "bare")[number]) == 0
    assert (edge.tls / "main.before").is_dir() and (edge.tls / "main.before.~1~").is_dir() and edge.link() == "bare"


def test_other_edges_may_fetch_it(edge: Edge) -> None:
    edge.config(str(edge.folder / "shared"))
    for name, answers in (("old", ["old"]), ("new", ["old", "new"]), ("new", ["new"])):
        assert edge.install(name, *answers) == 0
        shared = edge.folder / "shared/main"
        assert (shared / "privkey.pem").read_text() == (edge.folder / name / "privkey.pem").read_text()
        assert shared.stat().st_mode & 0o777 == 0o750 and (shared / "privkey.pem").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (edge.folder / "shared").iterdir()] == ["main"]


def test_names() -> None:
    text = "X509v3 Subject Alternative Name: \n    DNS:*.shop.test, DNS:shop.test\n"
    assert certificate_install.first_name(text) == "www.shop.test" and certificate_install.first_name("") == ""


def test_without_its_configuration(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert certificate_install.main(["main", str(tmp_path), "--config", str(tmp_path / "none")]) == 2
    assert "none cannot be read" in capfd.readouterr().err
