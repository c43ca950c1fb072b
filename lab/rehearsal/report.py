# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal: text for a terminal, and one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

COLOURS = ("#3b82c4", "#2f9e6e", "#b7791f", "#8b5fbf")
RED = "#d64545"
WIDTH = 960
DIFFERS = (
    "The servers are containers of this machine: its kernel, its clock, its processors and its disks, not those of the real ones.",
    "Nobody outside the machine asked the site: routes, DNS and firewalls of the provider were not met.",
    "Secrets were random, so whatever checks them outside (an API of another company) was not asked with the real ones.",
    "The database held what the first release made, unless DATA named a set: migrations and restores of real data take longer.",
)
STYLE = Path(__file__).with_name("report.css").read_text()


def by_second(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Requests by the second in which they began: how many each release answered, how many failed, the slowest of the quick kinds in ms."""
    if not requests:
        return []
    origin = requests[0]["start"]
    seconds: dict[int, dict[str, Any]] = {}
    for entry in requests:
        second = int(entry["start"] - origin)
        if second < 0:
            continue
        one = seconds.setdefault(second, {"second": second, "answered": Counter(), "failed": 0, "slowest": 0.0})
        if entry["error"]:
            one["failed"] += 1
        else:
            one["answered"][entry["release"] or entry["colour"] or "answered"] += 1
        if entry["kind"] not in ("slow", "sse"):
            one["slowest"] = max(one["slowest"], entry["ms"])
    return [{**one, "answered": dict(one["answered"])} for _, one in sorted(seconds.items())]


def count_told(told: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many messages of each kind the recorder got."""
    return dict(sorted(Counter(str(one["kind"]) for one in told).items()))


def duration(seconds: float) -> str:
    """`4 min 07 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def sums(result: Mapping[str, Any]) -> Counter[str]:
    """How many checks of verify.yml passed, failed and were skipped, in the last run of it."""
    last: list[tuple[str, str]] = next((step["checks"] for step in reversed(result["steps"]) if step["checks"]), [])
    return Counter(word for word, _ in last)


def text(result: Mapping[str, Any]) -> str:
    """The report for a terminal."""
    load, counted = result["load"], sums(result)
    lines = [
        f"Rehearsal of {result['inventory']}, {result['date']}: {'FAILED' if result['reason'] else 'ok'}",
        *([f"  {result['reason']}"] if result["reason"] else []),
        f"  {duration(result['seconds_after_images'])} after the images were there; commit {result['commit']}",
        "",
        *(
            f"  {step['began']:6.0f}  {step['seconds']:6.0f} s  {step['result']:8}  {step['name']}{'. ' + step['note'] if step['note'] else ''}"
            for step in result["steps"]
        ),
        "",
    ]
    if load:
        lines.append(f"  {load['total']} requests, {load['failed']} failed; p99 {load['p99_ms']} ms, slowest {load['max_ms']} ms")
    lines.append(f"  checks of the last verify.yml: {counted['ok']} passed, {counted['FAIL']} failed, {counted['skip']} skipped")
    lines += [
        "",
        "Real:",
        *(f"  {one}" for one in result["real"]),
        "",
        "Stood in:",
        *(f"  {what}: {instead}" for what, instead in result["instead"]),
    ]
    lines += [
        "",
        "Told to the recorder that stood in: "
        + (", ".join(f"{count} {kind}" for kind, count in result["told"].items()) or "nothing"),
    ]
    lines += ["", "What a real run meets beside this:", *(f"  {one}" for one in DIFFERS)]
    return "\n".join(lines)


def bar(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    """A rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}" rx="2" fill="{fill}"><title>{escape(title)}</title></rect>'


def label(x: float, y: float, said: str, anchor: str = "start") -> str:
    """A word of a drawing."""
    return f'<text class="soft" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def card(figure: str, what: str) -> str:
    """A figure."""
    return f'<div class="card"><b>{escape(figure)}</b><span class="soft">{escape(what)}</span></div>'


def timeline(steps: Sequence[Mapping[str, Any]]) -> str:
    """When each step began and how long it took."""
    total = max([step["began"] + step["seconds"] for step in steps] or [1]) or 1
    left, row, parts = 250, 26, []
    scale = (WIDTH - left - 70) / total
    every = next(step for step in (30, 60, 120, 300, 600, 3600) if total / step <= 12 or step == 3600)
    height = row * len(steps) + 26
    for second in range(0, int(total) + 1, every):
        x = left + second * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 22}" stroke="var(--line)"/>'
            + label(x, height - 6, f"{second // 60}:{second % 60:02}", "middle")
        )
    for number, step in enumerate(steps):
        y = number * row + 4
        fill = {"ok": "var(--bar)", "failed": RED}.get(step["result"], "var(--line)")
        x, width = left + step["began"] * scale, step["seconds"] * scale
        parts.append(
            f'<text x="{left - 10}" y="{y + 13}" text-anchor="end">{escape(step["name"])}</text>'
            + bar(x, y, width, 17, fill, f"{step['name']}: {step['note']}")
        )
        said = f"{step['seconds']:.0f} s" if step["result"] != "left out" else "left out"
        parts.append(f'<text class="soft" x="{x + max(width, 1) + 6:.1f}" y="{y + 13}">{said}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline">{"".join(parts)}</svg>'


def traffic(seconds: Sequence[Mapping[str, Any]], events: Sequence[Sequence[Any]]) -> str:
    """Requests of each second by the release that answered, and how long the slowest took."""
    if not seconds:
        return '<p class="soft">No load was sent.</p>'
    releases = list(dict.fromkeys(name for one in seconds for name in one["answered"]))
    colour = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(releases)}
    last = max(one["second"] for one in seconds) + 1
    most = max(sum(one["answered"].values()) + one["failed"] for one in seconds)
    slow = max(10 ** math.ceil(math.log10(max(one["slowest"] for one in seconds) or 1)), 10)
    left, top, height = 46, 22, 170
    scale = (WIDTH - left - 60) / last
    parts = []
    for name, began, end in events:
        x = left + began * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{top}" width="{(end - began) * scale:.1f}" height="{height}" fill="var(--line)" opacity=".55"/>'
            + label(x, 14, str(name))
        )
    points = []
    for one in seconds:
        x, y = left + one["second"] * scale, float(top + height)
        for name, count in [*one["answered"].items(), ("failed", one["failed"])]:
            if count:
                h = count / most * height
                y -= h
                parts.append(
                    bar(
                        x + 0.4,
                        y,
                        max(scale - 0.8, 0.8),
                        h,
                        RED if name == "failed" else colour[name],
                        f"{one['second']} s: {count} {name}",
                    )
                )
        points.append(f"{x + scale / 2:.1f},{top + height - math.log10(max(one['slowest'], 1)) / math.log10(slow) * height:.1f}")
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="var(--ink)" stroke-width="1.3" opacity=".75"/>')
    parts.append(label(left - 6, top + 10, f"{most}/s", "end") + label(left - 6, top + height, "0", "end"))
    parts.append(
        f'<text class="soft" x="{WIDTH - 54}" y="{top + 10}">{slow:g} ms</text><text class="soft" x="{WIDTH - 54}" y="{top + height}">1 ms</text>'
    )
    for second in range(0, last + 1, max(10, last // 10 // 10 * 10)):
        parts.append(
            f'<text class="soft" x="{left + second * scale:.1f}" y="{top + height + 18}" text-anchor="middle">{second} s</text>'
        )
    legend = "".join(f'<i style="background:{shade}"></i>{escape(name)}' for name, shade in colour.items())
    return (
        f'<svg viewBox="0 0 {WIDTH} {top + height + 26}" role="img" aria-label="requests">{"".join(parts)}</svg>'
        f'<p class="legend soft">answered by{legend}<i style="background:{RED}"></i>failed &nbsp; line: the slowest of each second (logarithmic)</p>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + f"</tr>{body}</table>"


def html(result: Mapping[str, Any]) -> str:
    """The page."""
    load, counted = result["load"], sums(result)
    good, releases = not result["reason"], " → ".join(filter(None, result["releases"]))
    cards = [
        (duration(result["seconds_after_images"]), "after the images were there"),
        (str(len(result["hosts"])), "server(s) made and removed"),
    ]
    if load:
        cards += [(f"{load['failed']} of {load['total']}", "requests failed"), (f"{load['p99_ms']} ms", "p99 under load")]
    cards.append((f"{counted['ok']} of {counted['ok'] + counted['FAIL']}", f"checks passed, {counted['skip']} skipped"))
    verifies = [step for step in result["steps"] if step["checks"]]
    marks = {"ok": ("good", "passed"), "FAIL": ("bad", "failed"), "skip": ("soft", "skipped")}
    lists = "".join(
        f"<details><summary>{escape(step['name'])}: {escape(step['note'])}</summary><table>"
        + "".join(
            f'<tr><td class="{marks[word][0]}">{marks[word][1]}</td><td>{escape(what)}</td></tr>' for word, what in step["checks"]
        )
        + "</table></details>"
        for step in verifies
    )
    kinds = (
        table(
            ("kind of request", "sent", "failed"),
            ((kind, str(one["total"]), str(one["failed"])) for kind, one in load.get("kinds", {}).items()),
        )
        if load
        else ""
    )
    told = ", ".join(f"{count} × {kind}" for kind, count in result["told"].items()) or "nothing"
    sections = [
        ("Timeline", timeline(result["steps"])),
        ("Release and rollback under load", traffic(result["requests"], result["events"]) + kinds),
        (
            "Steps",
            table(
                ("step", "seconds", "result", ""),
                ((step["name"], f"{step['seconds']:.0f}", step["result"], step["note"]) for step in result["steps"]),
            ),
        ),
        ("Checks", lists or '<p class="soft">verify.yml was not reached.</p>'),
        (
            "What stood in",
            table(("the inventory names", "in its place"), result["instead"])
            + f'<p class="soft">The recorder of webhooks, heartbeats and mail was told: {escape(told)}. Nothing of this left the machine.</p>',
        ),
        ("What was real", "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in result["real"]) + "</ul>"),
        ("Servers", table(("host", "groups"), ((host, ", ".join(groups)) for host, groups in result["hosts"].items()))),
        ("What a real run meets beside this", "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in DIFFERS) + "</ul>"),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Rehearsal of {escape(result['inventory'])}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Rehearsal of {escape(result['inventory'])}</h1>"
        f'<p><span class="verdict" style="background:{"var(--good)" if good else RED}">{"passed" if good else "failed"}</span>'
        f'<span class="soft">{escape(result["date"])}, commit {escape(result["commit"])}, releases {escape(releases)}</span></p>'
        + (f'<p class="why">{escape(result["reason"])}</p>' if result["reason"] else "")
        + f'<div class="cards">{"".join(card(figure, what) for figure, what in cards)}</div>'
        + "".join(f"<section><h2>{name}</h2>{body}</section>" for name, body in sections)
        + "</main></body></html>\n"
    )  # fmt: skip


def write(place: Path, result: Mapping[str, Any]) -> tuple[Path, str]:
    """Write report.html, report.txt and report.json; the page's path and the text."""
    place.mkdir(parents=True, exist_ok=True)
    said = text(result)
    (place / "report.html").write_text(html(result))
    (place / "report.txt").write_text(said + "\n")
    (place / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    return place / "report.html", said
