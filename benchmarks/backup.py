#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proven backup costs beside the raw tools and the usual scripts: seconds, bytes, memory; and the way back.

Realistic text and jsonb, one server, the same disk for all, all in turn in every round. Ours includes decoding, roles, files and manifest.
"""

from __future__ import annotations

import argparse
import json
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
DATA = """
CREATE TABLE words AS SELECT array_agg(substr(md5(n::text), 1, 2 + n % 9)) AS w FROM generate_series(1, 400) n;
CREATE TABLE notes (id bigint PRIMARY KEY, author int, doc jsonb, body text, at timestamptz);
INSERT INTO notes SELECT n, n % 1000, jsonb_build_object('title', w[1 + n % 400], 'tags', w[1 + n % 50 : 4 + n % 50], 'score', random()),
  (SELECT string_agg(w[1 + floor(random() * 400)::int + 0 * m], ' ') FROM generate_series(1, 70) m), now() - n * interval '1 second'
FROM words, generate_series(1, {rows}) n;
INSERT INTO notes SELECT id + {rows} * k, author + k, doc || jsonb_build_object('copy', random()), body || k, at FROM notes, generate_series(1, 7) k;
CREATE INDEX ON notes (author); CREATE INDEX ON notes (at); ANALYZE;
"""


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


def measure(shop: Shop, out: Path, runs: int) -> dict[str, list[float]]:
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
        seconds, result, memory = ours(shop, "run")
        note("backup", seconds)
        note("backup_dump_alone", shop.manifest(result["set"]["id"])["seconds"]["database"])
        note("backup_memory", memory)
        note("backup_size", result["set"]["bytes"] / 1e6)
        note("design_size", (out / "design.sql.gz").stat().st_size / 1e6)
        note("raw_size", (out / "raw").stat().st_size / 1e6)
        if number < max(1, runs // 2 + 1):
            database("DROP DATABASE IF EXISTS bare WITH (FORCE); CREATE DATABASE bare")
            note("bare_restore", shell(f"docker exec {name} pg_restore -U {USER} -d bare -j 2 /out/raw"))
            database("DROP DATABASE bare WITH (FORCE); CREATE DATABASE bare")
            note("design_restore", shell(f"gunzip -c {out}/design.sql.gz | docker exec -i {name} psql -qU {USER} -d bare"))
            database("DROP DATABASE bare WITH (FORCE)")
            seconds, result, memory = ours(shop, "restore", "--no-safety")
            note("restore", seconds)
            note("restore_memory", memory)
            note("restore_closed", result["closed_seconds"])
    return found


def main() -> None:
    """Measure, print, write benchmarks/results/backup.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--rows", type=int, default=125_000, help="an eighth of the rows; 125000 make some 600 MB")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-backup-") as folder, Lab() as lab:
        out = Path(folder) / "out"
        out.mkdir(mode=0o777)
        out.chmod(0o777)
        shop = Shop(lab, Path(folder), options={"volumes": {str(out): {"bind": "/out"}}}, retention={"keep_last": 2}, min_keep=1)
        shop.sql(f"CREATE DATABASE {DATABASE}; CREATE DATABASE nothing", "postgres")
        shop.write(database="nothing")
        empty = [ours(shop, "run")[0] for _run in range(chosen.runs)]
        bare = [
            shell(f"docker exec {shop.box.name} pg_dump -U {USER} -d nothing -Fc -f /out/empty") for _run in range(chosen.runs)
        ]
        shop.write(database=DATABASE, guard="warn")
        shop.sql(DATA.format(rows=chosen.rows), DATABASE)
        found = measure(shop, out, chosen.runs)
    units = {"memory": "MB", "size": "MB"}
    figures = {name: report.figure(units.get(name.rpartition("_")[2], "s"), values) for name, values in found.items()}
    figures["empty_overhead"] = report.figure("s", [one - other for one, other in zip(empty, bare, strict=True)])
    for name, (one, other) in {
        "backup_to_raw": ("backup", "raw_dump"),
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
