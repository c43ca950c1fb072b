#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proven backup costs beside the raw tools and the usual scripts: seconds, bytes, memory; and the way back.

Prose as chats and journals hold it, in text and jsonb; one server, the same disk for all, all in turn in every round. Ours includes
compression, decoding, counts, roles, files and manifest, and for a restore the check, the comparison and ANALYZE; the raw tools do none of these.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "collections")]
from tests.lab.backups import USER, Shop  # noqa: E402
from tests.lab.boxes import Lab  # noqa: E402

DATABASE = "bench"
TABLES = """
CREATE TABLE messages (id uuid, session uuid, role text, content text, meta jsonb, at timestamptz);
CREATE TABLE entries (id bigint, author int, doc jsonb, at timestamptz);
"""
INDEXES = """
ALTER TABLE messages ADD PRIMARY KEY (id); CREATE INDEX ON messages (session, at);
ALTER TABLE entries ADD PRIMARY KEY (id); CREATE INDEX ON entries (author); CREATE INDEX ON entries (at); VACUUM ANALYZE;
"""
MOODS = ("calm", "tired", "glad", "anxious", "curious", "proud", "lonely")


def prose(least: int = 4_000_000) -> list[str]:
    """Paragraphs that people wrote: those of the documents that are installed on this machine, each of them once."""
    found: dict[str, None] = {}
    for root in ("/usr/share", os.path.dirname(os.__file__)):
        for folder, _folders, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = Path(folder, name)
                if not name.endswith((".txt", ".rst", ".md")) or path.is_symlink():
                    continue
                try:
                    text = path.read_text(encoding="utf-8")
                except (OSError, ValueError):
                    continue
                paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
                found.update(
                    (part, None)
                    for part in paragraphs
                    if 80 < len(part) < 3000 and len(re.findall("[A-Za-z ]", part)) > 0.9 * len(part)
                )
    paragraphs = list(found)
    random.Random(1).shuffle(paragraphs)
    if sum(map(len, paragraphs)) < least:
        raise SystemExit(
            "There is too little text on this machine: install vim-runtime, git or any other package with much documentation."
        )
    return paragraphs


def fill(shop: Shop, megabytes: int) -> None:
    """Chats and journals of so many megabytes, as COPY takes them.

    A paragraph comes again after all others only: farther away than any of the compressors looks back, as if none were repeated.
    """
    dice, paragraphs = random.Random(2), itertools.cycle(prose())
    rows: dict[str, list[str]] = {"messages": [], "entries": []}
    shop.sql(TABLES, DATABASE)

    def uuid() -> str:
        return f"{dice.getrandbits(128):032x}"

    def send(table: str) -> None:
        shop.sql(f"COPY {table} FROM STDIN;\n{''.join(rows[table])}\\.\n", DATABASE)
        rows[table].clear()

    written, number, session = 0, 0, uuid()
    while written < megabytes * 1_000_000:
        number += 1
        at = datetime.datetime.fromtimestamp(1_760_000_000 + 13 * number, datetime.UTC).isoformat()
        text = "\n\n".join(itertools.islice(paragraphs, dice.choice((1, 1, 1, 2, 3, 4, 6))))
        if number % 8 == 0:
            session = uuid()
        if number % 4 == 0:
            doc = {"title": text[:40], "mood": dice.choice(MOODS), "score": dice.random(), "tags": dice.sample(MOODS, 2), "body": text,
                   "words": text.count(" ")}  # fmt: skip
            table, fields = "entries", [str(number), str(dice.randrange(5000)), json.dumps(doc), at]
        else:
            meta = {"model": "gemini-pro", "tokens": {"in": dice.randrange(9000), "out": len(text) // 4}, "latency_ms": dice.randrange(30000),
                    "request": uuid(), "finish": "stop"}  # fmt: skip
            table, fields = "messages", [uuid(), session, dice.choice(("user", "model")), text, json.dumps(meta), at]
        row = "\t".join(field.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t") for field in fields) + "\n"
        rows[table].append(row)
        written += len(row)
        if len(rows[table]) == 20_000:
            send(table)
    for table in rows:
        send(table)
    shop.sql(INDEXES, DATABASE)


def shell(text: str) -> float:
    """Seconds of a command line, which must succeed."""
    began = time.monotonic()
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def ours(shop: Shop, *arguments: str) -> tuple[float, dict[str, Any], float]:
    """Seconds, result and peak memory (MB) of the engine's own process."""
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen(shop.command(*arguments, "--json"), stdout=subprocess.PIPE, text=True)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        peak = max(peak, int(fields.get("VmHWM", "0 kB").split()[0]) / 1024)
        time.sleep(0.02)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{arguments} failed with {process.returncode}")
    return seconds, json.loads(process.stdout.read()), peak


def measure(shop: Shop, out: Path, runs: int, restores: int) -> dict[str, list[float]]:
    """One column for each figure."""
    name = shop.box.name
    found: dict[str, list[float]] = {}

    def note(figure: str, value: float) -> None:
        found.setdefault(figure, []).append(value)
        print(f"{figure}: {value:.2f}", flush=True)

    def database(text: str) -> None:
        shop.sql(text, "postgres")

    for number in range(runs):
        note("raw_dump", shell(f"docker exec {name} pg_dump -U {USER} -d {DATABASE} -Fc -Z0 -f /out/raw; sync -f {out}"))
        note("default_dump", shell(f"docker exec {name} pg_dump -U {USER} -d {DATABASE} -Fc -f /out/default; sync -f {out}"))
        note(
            "design_dump", shell(f"docker exec {name} pg_dump -U {USER} -d {DATABASE} | gzip >{out}/design.sql.gz; sync -f {out}")
        )
        # What a backup must do at least to be small: the same bytes through the same compressor, nothing checked.
        note("compressed_dump", shell(
            f"rm -f {out}/pipe; mkfifo {out}/pipe; zstd -q -3 -T0 -c <{out}/pipe >{out}/compressed & "
            f"docker exec {name} pg_dump -U {USER} -d {DATABASE} -Fc -Z0 --no-sync -f /out/pipe; wait $!; sync -f {out}"
        ))  # fmt: skip
        seconds, result, memory = ours(shop, "run")
        note("backup", seconds)
        note("backup_dump_alone", shop.manifest(result["set"]["id"])["seconds"]["database"])
        note("backup_memory", memory)
        note("backup_size", result["set"]["bytes"] / 1e6)
        note("design_size", (out / "design.sql.gz").stat().st_size / 1e6)
        note("raw_size", (out / "raw").stat().st_size / 1e6)
        if number < max(1, restores):
            database("DROP DATABASE IF EXISTS bare WITH (FORCE); CREATE DATABASE bare")
            # As for the dumps: it is done when the disk has it.
            flush = f"docker exec {name} psql -qU {USER} -d postgres -c CHECKPOINT"
            note("bare_restore", shell(f"docker exec {name} pg_restore -U {USER} -d bare -j 2 /out/raw; {flush}"))
            note("bare_analyse", shell(f"docker exec {name} vacuumdb -U {USER} -d bare --analyze-only -j 2"))
            database("DROP DATABASE bare WITH (FORCE); CREATE DATABASE bare")
            note(
                "design_restore", shell(f"gunzip -c {out}/design.sql.gz | docker exec -i {name} psql -qU {USER} -d bare; {flush}")
            )
            database("DROP DATABASE bare WITH (FORCE)")
            seconds, result, memory = ours(shop, "restore", "--no-safety")
            note("restore", seconds)
            for phase in ("check", "unpack", "restore", "compare", "end"):
                note(f"restore_phase_{phase}", result["phases"][phase])
            note("restore_memory", memory)
            note("restore_closed", result["closed_seconds"])
    # How small the same bytes get at all: 50 MB from within the dump, and what gzip makes of them.
    part = f"tail -c +50000000 {out}/raw | head -c 50000000"
    by_gzip = packed(f"{part} | gzip -6")
    for level in (3, 9, 19):
        note(f"size_at_level_{level}_to_gzip", packed(f"{part} | zstd -q -{level} -T0") / by_gzip)
    return found


def packed(text: str) -> int:
    """How many bytes a command line prints; `head` may end before `tail` has said all."""
    return int(subprocess.run(["bash", "-c", f"{text} | wc -c"], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure, print, write benchmarks/results/backup.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--restores", type=int, default=5, help="in so many of the runs the way back is measured, too")
    options.add_argument("--megabytes", type=int, default=600, help="of text and jsonb")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-backup-") as folder, Lab() as lab:
        out = Path(folder) / "out"
        out.mkdir(mode=0o777)
        out.chmod(0o777)
        shop = Shop(
            lab,
            Path(folder),
            options={"volumes": {str(out): {"bind": "/out"}}, "shm_size": "128m"},
            retention={"keep_last": 2},
            min_keep=1,
        )
        shop.sql(f"CREATE DATABASE {DATABASE}; CREATE DATABASE nothing", "postgres")
        shop.write(database="nothing")
        empty = [ours(shop, "run")[0] for _run in range(chosen.runs)]
        bare = [
            shell(f"docker exec {shop.box.name} pg_dump -U {USER} -d nothing -Fc -f /out/empty") for _run in range(chosen.runs)
        ]
        shop.write(database=DATABASE, guard="warn")
        fill(shop, chosen.megabytes)
        found = measure(shop, out, chosen.runs, chosen.restores)
    units = {"memory": "MB", "size": "MB", "gzip": "ratio"}
    figures = {name: report.figure(units.get(name.rpartition("_")[2], "s"), values) for name, values in found.items()}
    figures["empty_overhead"] = report.figure("s", [one - other for one, other in zip(empty, bare, strict=True)])
    for name, (one, other) in {
        "backup_to_raw": ("backup", "raw_dump"),
        "backup_to_compressed": ("backup", "compressed_dump"),
        "backup_to_default": ("backup", "default_dump"),
        "backup_to_design": ("backup", "design_dump"),
        "size_to_design": ("backup_size", "design_size"),
        "restore_to_bare": ("restore", "bare_restore"),
        "restore_to_design": ("restore", "design_restore"),
    }.items():
        figures[name] = report.figure("ratio", [mine / theirs for mine, theirs in zip(found[one], found[other], strict=True)])
    limits = {
        "backup_to_raw": round(1 / 0.85, 2),
        "backup_to_design": round(1 / 3, 2),
        "size_to_design": 0.5,
        "backup_memory": 64,
        "empty_overhead": 2,
        "restore_to_bare": round(1 / 0.85, 2),
        "restore_closed": 2,
    }
    targets = {name: report.target(limit, figures[name]["median"]) for name, limit in limits.items()}
    report.write("backup", chosen.runs, figures, targets)


if __name__ == "__main__":
    main()
