# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The command on the server, ``<app>-backup``: the engine for people and for systemd's timers."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BAD_INPUT, VERIFY_FAILED, BackupError
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.postgres import put_away
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import configuration

EPILOG = """exit codes: 0 done, 1 unexpected, 2 bad input, 3 another one is at work, 4 the dump failed, 5 a check failed, 6 the set is good but
not copied everywhere, 7 the restore failed and the live data was not touched, 8 the restore failed and everything is as it was before,
9 this host could not make a check, which says nothing of the set"""


def parser(program: str) -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog=program, description=__doc__, epilog=EPILOG)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", default=f"/etc/{program.rpartition('-backup')[0] or program}/backup.json", help="default: %(default)s"
    )
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for another one that is at work")
    identity = argparse.ArgumentParser(add_help=False)
    identity.add_argument(
        "--identity",
        default="",
        metavar="FILE",
        help="age's private key for an encrypted set; - reads it from the standard input",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[common], help="back up, copy elsewhere, prune")
    run.add_argument("--reason", default="", help="why, for the list")
    run.add_argument("--keep", action="store_true", help="retention never removes this set")
    run.add_argument("--max-age", type=float, default=0, metavar="SECONDS", help="do nothing if a verified set is younger")
    run.add_argument("--drill", action="store_true", help="restore it into a throw-away server while it is made")
    commands.add_parser("list", parents=[common], help="show the sets").add_argument(
        "--remote", action="store_true", help="those elsewhere"
    )
    for name, text in (("verify", "compare every byte and decode it"), ("drill", "restore into a throw-away server and compare")):
        added = commands.add_parser(name, parents=[common, identity], help=text)
        added.add_argument("set", nargs="?", default="latest", help="a set, latest" + (" or all" if name == "verify" else ""))
    prune = commands.add_parser("prune", parents=[common], help="remove what retention does not keep")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    restore = commands.add_parser("restore", parents=[common, identity], help="let a set take the place of the live data")
    restore.add_argument("set", nargs="?", default="latest", help="a set, latest, or the path of a .sql or .sql.gz")
    restore.add_argument("--files", default="", metavar="TAR", help="the archive of files that belongs to a .sql.gz")
    restore.add_argument("--undo", action="store_true", help="return to what the last restore replaced")
    restore.add_argument("--foreign", action="store_true", help="take a set of another cluster, as on a new machine")
    restore.add_argument(
        "--allow-empty", action="store_true", help="take one without tables, rows or files, where there are some"
    )
    restore.add_argument("--no-safety", action="store_true", help="do not back up first what is there")
    restore.add_argument("--no-probe", action="store_true", help="do not ask the application whether it works")
    fetch = commands.add_parser("fetch", parents=[common], help="bring a set back from elsewhere")
    fetch.add_argument("set", nargs="?", default="latest")
    fetch.add_argument("--foreign", action="store_true", help="latest is the newest of another cluster, as on a new machine")
    fetch.add_argument("--remote", default="", help="which one; default: the first of the configuration")
    commands.add_parser("recover", parents=[common], help="put right what a killed run left")
    return top


class Bar:
    """One line on a terminal that tells the phase, the bytes and the seconds; nothing anywhere else."""

    def __init__(self, usual: dict[str, int]) -> None:
        self.usual, self.began, self.shown = usual, time.monotonic(), 0.0

    def tell(self, phase: str, done: int) -> None:
        """Called by the engine."""
        now = time.monotonic()
        if done and now - self.shown < 0.1:
            return
        self.shown = now
        of = self.usual.get(phase, 0)
        share = f" {min(99, 100 * done // of):3d} % of the last one's" if of and done else ""
        filled = f"[{'#' * min(20, 20 * done // of):20}]" if of and done else ""
        sys.stderr.write(f"\r\033[K{phase:12} {filled} {done / 1e6:8.1f} MB{share}  {now - self.began:5.1f} s")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave the terminal as it was."""
        sys.stderr.write("\r\033[K")


def act(engine: Engine, chosen: argparse.Namespace) -> dict[str, Any]:
    """Do what was asked for."""
    wait = chosen.wait
    identity = ""
    if getattr(chosen, "identity", ""):
        identity = sys.stdin.read() if chosen.identity == "-" else Path(chosen.identity).read_text()
    if chosen.command == "run":
        return engine.run(chosen.reason, chosen.keep, chosen.max_age, wait, chosen.drill)
    if chosen.command == "verify":
        return engine.verify(chosen.set, identity, wait)
    if chosen.command == "drill":
        return engine.drill(chosen.set, identity, wait)
    if chosen.command == "prune":
        return engine.prune(chosen.dry_run, wait)
    if chosen.command == "restore" and chosen.undo:
        return engine.restore.undo(wait)
    if chosen.command == "restore":
        return engine.restore.run(
            chosen.set,
            identity,
            chosen.foreign,
            not chosen.no_safety,
            not chosen.no_probe,
            chosen.files,
            wait,
            chosen.allow_empty,
        )
    if chosen.command == "fetch":
        return engine.fetch(chosen.set, chosen.remote, wait, chosen.foreign)
    if chosen.command == "recover":
        return engine.recover()
    return engine.remote_info() if chosen.remote else engine.info()


def table(result: dict[str, Any]) -> str:
    """A result for people."""
    lines = []
    sets = result.get("sets") or ([result["set"]] if "set" in result else [])
    for entry in sets:
        marks = ["verified" if entry["verified"] else "NOT VERIFIED", *(["drilled"] if entry["drilled"] else []),
                 *(["encrypted"] if entry["encrypted"] else []), *(["kept"] if entry["keep"] else []),
                 *([f"fetched, of the cluster {entry['cluster']}"] if entry.get("fetched") else []), *entry["offsite"]]  # fmt: skip
        lines.append(
            f"{entry['id']}  {entry['bytes'] / 1e6:9.1f} MB  {entry['rows']:>9} rows  {', '.join(marks)}  {entry['reason']}".rstrip()
        )
        lines += [f"  {text}" for text in [*entry["warnings"], entry["problem"]] if text]
    for name, reasons in result.get("keep", {}).items():
        lines.append(f"keep    {name}  {', '.join(reasons)}")
    lines += [f"remove  {name}" for name in result.get("removed", [])]
    for key in ("copied", "kept", "saved", "seconds", "closed_seconds", "note"):
        if result.get(key):
            lines.append(f"{key}: {result[key]}")
    return "\n".join(lines) or "nothing"


def main(arguments: Sequence[str] | None = None, program: str = "") -> int:
    """Run the command; its exit code."""
    chosen = parser(program or Path(sys.argv[0]).name).parse_args(arguments)
    with put_away():
        return _main(chosen)


def _main(chosen: argparse.Namespace) -> int:
    shown = None
    try:
        engine = Engine(configuration(chosen.config))
        if sys.stderr.isatty() and not chosen.json:
            shown = Bar(engine.sizes())
            engine.context.tell = shown.tell
        result = act(engine, chosen)
    except (BackupError, OSError) as error:
        if shown:
            shown.clear()
        code = error.code if isinstance(error, BackupError) else BAD_INPUT
        if chosen.json:
            sys.stdout.write(json.dumps({"failed": True, "msg": str(error), "code": code}) + "\n")
        sys.stderr.write(f"{chosen.command}: {error}\n")
        return code
    if shown:
        shown.clear()
    # Names in a database without an encoding may be bytes that are no text.
    text = json.dumps(result) if chosen.json else table(result).encode(errors="backslashreplace").decode()
    sys.stdout.write(f"{text}\n")
    for note in engine.notes:
        sys.stderr.write(f"note: {note}\n")
    damaged = chosen.command == "list" and any(entry["problem"] or not entry["verified"] for entry in result["sets"])
    return VERIFY_FAILED if damaged else 0
