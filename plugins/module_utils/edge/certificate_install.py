# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The command ``edge-certificate NAME DIRECTORY``: fullchain.pem and privkey.pem of a directory become what nginx serves as NAME.

Judged first, installed by one rename, tested, reloaded, and seen from outside; whatever fails, the one before is served again. Run
again, it changes nothing, but finishes what an earlier run left undone. Says ``installed`` if it did something.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http, statefile

CONFIG = "/etc/edge-certificate.json"
FILES = ("fullchain.pem", "privkey.pem")
LOOKS, PAUSE = 60, 0.25  # how often nginx is looked at before a certificate is given up, and seconds between


class RefusedError(Exception):
    """It is not installed; what was served is served."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = argparse.ArgumentParser(prog="edge-certificate", description=str(__doc__).partition("\n\n")[0])
    options.add_argument("name")
    options.add_argument("directory", type=Path)
    options.add_argument("--config", default=CONFIG, help=f"JSON: directory, shared_directory, shared_group (default: {CONFIG})")
    chosen = options.parse_args(arguments)
    try:
        config = json.loads(Path(chosen.config).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{chosen.config} cannot be read: {error}\n")
        return 2
    os.umask(0o077)
    tls = Path(config["directory"])
    with (tls / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            installed = Certificate(tls, chosen.name, chosen.directory).install()
            if config["shared_directory"]:
                share(tls / chosen.name, Path(config["shared_directory"], chosen.name), config["shared_group"])
        except (RefusedError, OSError, LookupError) as error:
            report(chosen.name, str(error), sys.stderr)
            return 1
        if installed:
            report(chosen.name, f"installed, valid until {installed}", sys.stdout)
    return 0


def report(name: str, text: str, stream: TextIO) -> None:
    """Say it to whoever runs this, and to the journal."""
    stream.write(f"{name}: {text}\n")
    with contextlib.suppress(OSError):
        subprocess.run(["logger", "-t", "edge-certificate", "--", f"{name}: {text}"], check=False)


# --- decisions ------------------------------------------------------------------------------------
def fingerprint(certificate: bytes) -> str:
    """The beginning of a certificate's SHA-256; empty for none.

    :param certificate: in DER.
    """
    return hashlib.sha256(certificate).hexdigest()[:16] if certificate else ""


def first_name(text: str) -> str:
    """A name for which a certificate is good, as a client would ask for it; empty if it names none.

    :param text: what ``openssl x509 -ext subjectAltName`` prints.
    """
    found = re.search(r"DNS:([^,\s]+)", text)
    return re.sub(r"^\*\.", "www.", found[1]) if found else ""


def settles(look: Callable[[], str], wanted: str, pause: Callable[[], None]) -> bool:
    """Whether nginx comes to serve a certificate, and stays with it.

    For a moment after a reload the workers before it answer as well: seen twice, further apart than that, it is there to stay.
    """
    seen = 0
    for _look in range(LOOKS):
        seen = seen + 1 if look() == wanted else 0
        if seen == 2:
            return True
        pause()
    return False


# --- what is served -------------------------------------------------------------------------------
def served(name: str) -> str:
    """The fingerprint of what nginx on this host shows for a name; empty for nothing."""
    server = http.Server("127.0.0.1")
    try:
        with server.connect(server.port) as plain, server.context().wrap_socket(plain, server_hostname=name or None) as secure:
            return fingerprint(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return ""


def run(*argv: str) -> tuple[int, str]:
    """Exit code, and what was printed; errors are in it where there was nothing else."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout or done.stderr


def reload() -> bool:
    """Let nginx read its certificates again, if it runs; whether it did."""
    if run("systemctl", "--quiet", "is-active", "nginx.service")[0]:
        return True
    return run("systemctl", "reload", "nginx.service")[0] == 0


class Certificate:
    """A certificate and its key, on their way from a directory to the link that nginx reads."""

    def __init__(self, tls: Path, name: str, source: Path) -> None:
        self.tls, self.name, self.source = tls, name, source
        self.link = tls / name
        self.chain = source / "fullchain.pem"

    def install(self) -> str:
        """Until when it is valid, if anything had to be done; else empty.

        :raises RefusedError: it is not served, and what was served before is.
        """
        self.judge()
        number = self._fingerprint()
        sni = first_name(self._openssl("-ext", "subjectAltName"))
        new = f"{self.name}-{number}"
        before = self._place(new)
        now, done = served(sni), False
        if before != new or now not in ("", number):
            done = True
            code, said = run("nginx", "-t", "-q")
            if code:
                self._return(before, new, f"nginx refuses its configuration: {said.partition(chr(10))[0]}")
            if not reload():
                self._return(before, new, "nginx could not be reloaded")
            # For a name that nginx does not serve there is nothing to see.
            if now and not settles(lambda: served(sni), number, lambda: time.sleep(PAUSE)):
                self._return(before, new, f"nginx goes on serving another certificate for {sni}")
        for old in self.tls.glob(f"{self.name}-{'?' * 16}"):  # this one and the one before stay
            if old.name not in (new, before):
                shutil.rmtree(old, ignore_errors=True)
        return self._openssl("-enddate").strip().partition("=")[2] if done else ""

    def judge(self) -> None:
        """:raises RefusedError: the files are no certificate with its key, or it has expired."""
        for file in FILES:
            path = self.source / file
            if not path.is_file() or not path.stat().st_size:
                raise RefusedError(f"{path} is missing or empty")
        self._fingerprint()
        code, key = run("openssl", "pkey", "-in", str(self.source / "privkey.pem"), "-pubout")
        if code or key != self._openssl("-pubkey"):
            raise RefusedError("the key is not that of the certificate")
        if run("openssl", "x509", "-in", str(self.chain), "-noout", "-checkend", "0")[0]:
            raise RefusedError("the certificate has expired")

    def _fingerprint(self) -> str:
        """Of the first certificate of the chain, which is the one of the site."""
        first, end, _others = self.chain.read_text(errors="replace").partition(ssl.PEM_FOOTER)
        try:
            return fingerprint(ssl.PEM_cert_to_DER_cert(first[first.index(ssl.PEM_HEADER) :] + end))
        except ValueError as error:
            raise RefusedError(f"{self.chain} is no certificate") from error

    def _openssl(self, *options: str) -> str:
        code, said = run("openssl", "x509", "-in", str(self.chain), "-noout", *options)
        return "" if code else said

    def _place(self, new: str) -> str:
        """Write the files into a directory of their own and let the link name it; what it named before, empty for nothing."""
        before = os.readlink(self.link) if self.link.is_symlink() else ""
        target, temporary = self.tls / new, self.tls / f".new-{self.name}"
        if any(content(self.source / file) != content(target / file) for file in FILES):
            for path in (temporary, target):
                shutil.rmtree(path, ignore_errors=True)
            temporary.mkdir()
            for file in FILES:
                shutil.copyfile(self.source / file, temporary / file)
                statefile.sync_directory(temporary / file)
            os.rename(temporary, target)
            statefile.sync_directory(self.tls)
        if before != new:
            if self.link.is_dir() and not self.link.is_symlink():  # somebody put it there by hand: it is kept
                before = f"{self.name}.before"
                put_aside(self.link, self.tls / before)
            statefile.point(self.link, new)
        return before

    def _return(self, before: str, new: str, why: str) -> NoReturn:
        """Serve the one before again.

        :raises RefusedError: always.
        """
        if before not in ("", new) and (self.tls / before / "fullchain.pem").exists():
            statefile.point(self.link, before)
            shutil.rmtree(self.tls / new, ignore_errors=True)
            reload()  # with a configuration that is broken it cannot; it goes on with what it has
            why = f"{why}. The one before is served again"
        raise RefusedError(why)


def content(path: Path) -> bytes:
    """The bytes of a file; none if it is not there."""
    return path.read_bytes() if path.is_file() else b""


def put_aside(path: Path, target: Path) -> None:
    """Rename a directory; one that has that name already gets a number."""
    if target.exists():
        number = next(number for number in range(1, 10_000) if not target.with_name(f"{target.name}.~{number}~").exists())
        os.rename(target, target.with_name(f"{target.name}.~{number}~"))
    os.rename(path, target)


def share(source: Path, target: Path, group: str) -> None:
    """Put a copy where other edges may fetch it, if another one is there.

    :param group: who may read it.
    """
    if content(source / FILES[0]) == content(target / FILES[0]):
        return
    temporary = target.with_name(f".{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for file in FILES:
        shutil.copyfile(source / file, temporary / file)
        shutil.chown(temporary / file, group=group)
        (temporary / file).chmod(0o640)
    shutil.chown(temporary, group=group)
    temporary.chmod(0o750)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(temporary, target)
