#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the site: src/ -> dist/. Stands in for `astro build` and keeps its habits.

PUBLIC_API_URL and RELEASE are taken from the environment *now* and inlined; what the server's environment
says later changes nothing. Scripts and styles are named by their content, so no two releases share one.
"""

import hashlib
import json
import os
import shutil
import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
ASSETS = ("style.css", "app.js")
PAGES = {"index.html": "index.html", "about.html": "about/index.html", "404.html": "404.html"}


def build(source: Path, target: Path, release: str, api_url: str) -> list[str]:
    shutil.rmtree(target, ignore_errors=True)
    values = {"PUBLIC_RELEASE": release, "PUBLIC_API_URL": api_url.rstrip("/")}
    written: list[str] = []

    def write(name: str, text: str) -> None:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(name)

    links = {}
    for name in ASSETS:
        text = (source / name).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"import.meta.env.{key}", json.dumps(value))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        stem, _, ending = name.rpartition(".")
        links[f"{{{{ {name} }}}}"] = f"/_astro/{stem}.{digest}.{ending}"
        write(links[f"{{{{ {name} }}}}"].lstrip("/"), text)
    for name, place in PAGES.items():
        text = (source / name).read_text(encoding="utf-8")
        for mark, value in {**links, "{{ release }}": escape(release)}.items():
            text = text.replace(mark, value)
        write(place, text)
    write("favicon.svg", (source / "favicon.svg").read_text(encoding="utf-8"))
    return written


if __name__ == "__main__":
    made = build(
        HERE / "src",
        HERE / "dist",
        os.environ.get("RELEASE") or "dev",
        os.environ.get("PUBLIC_API_URL") or "/api/v1",
    )
    sys.stdout.writelines(f"dist/{name}\n" for name in made)
