# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The record (``release.json``): what serves, what served before, what was bad. Pure functions.

Keys: ``release``, ``colour``, ``since`` (ISO 8601, UTC), ``services`` (name -> image, known by identity), ``migrations``,
``history`` (the same of earlier releases with ``until``, newest first), ``bad`` (release -> ``since``, ``reason``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def known(record: Mapping[str, Any], release: str) -> Mapping[str, Any]:
    """The record's newest entry of a release; empty when it knows none."""
    entries = [record, *record.get("history", [])]
    return next((entry for entry in entries if release and entry.get("release") == release), {})


def rollback_target(record: Mapping[str, Any], named: str = "") -> str:
    """The release to go back to: the one named, else the newest one before this that was not marked bad; empty for none."""
    if named:
        return named
    for entry in record.get("history", []):
        if entry["release"] != record.get("release") and not passed_over(record, entry):
            return str(entry["release"])
    return ""


def passed_over(record: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Why a rollback that names no release does not go to this one of the history; empty: it does."""
    if entry["release"] in record.get("bad", {}):
        return "marked bad"
    return "left by a rollback" if entry.get("rolled_back") else ""  # what was left by going back is not behind us


def found_record(hosts: Mapping[str, Mapping[str, Any]], record_host: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """The record of the host that keeps it, else the newest copy, else what the containers tell.

    :returns: the record (empty: nothing was ever installed), notes, problems.
    """
    main = hosts[record_host]
    copies = [(str(shown["record"].get("since", "")), host) for host, shown in hosts.items() if shown.get("record")]
    if main.get("record"):
        host = max(copies)[1]
        return dict(main["record"]), [], _older_than(hosts[host]["record"], main["record"], host, record_host)
    lost = main.get("record_problem") or f"The record of releases on {record_host} is missing."
    if copies:
        host = max(copies)[1]
        return dict(hosts[host]["record"]), [f"{lost} The copy on {host} takes its place."], []
    containers = [container for shown in hosts.values() for container in shown.get("containers", [])]
    if not containers:
        return {}, [lost] if main.get("record_problem") else [], []
    served = [shown["edge"].get("colour", "") for shown in hosts.values() if shown.get("edge")]
    if served and not any(served) and not main.get("record_problem"):
        return {}, [], []  # leftovers of a first installation that did not come to serve
    record, why = rebuilt_record(containers, served)
    if record:
        return record, [f"{lost} It is rebuilt from what runs: release {record['release']}, colour {record['colour']}."], []
    return (
        {},
        [],
        [f"{lost} It cannot be rebuilt: {why} Start the release that is to serve, or remove its containers to install again."],
    )


def _older_than(copy: Mapping[str, Any], main: Mapping[str, Any], host: str, record_host: str) -> list[str]:
    """Refuse the record of a host that was away when `copy` was written. By the clock alone that would be a guess."""
    passed = [entry.get("since") for entry in main.get("history", [])]
    if str(copy.get("since", "")) <= str(main.get("since", "")) or copy.get("since") in passed:
        return []
    return [
        f"The record of releases on {record_host} is of {main.get('release')}, and the copy on {host} is newer ({copy.get('release')}): "
        f"{record_host} was away. Let {host} keep it (app_record_host: {host}) and run site.yml, which brings {record_host} to it."
    ]


def new_record(
    record: Mapping[str, Any],
    what: Mapping[str, Any],
    services: Mapping[str, Any],
    now: str,
    migrations: str = "none",
    keep: int = 5,
) -> dict[str, Any]:
    """The record after a release: what serves now, and what served before, newest first, one entry a release.

    A release that made it is no longer bad.
    """
    history = [dict(entry) for entry in record.get("history", [])]
    if record.get("release") and record["release"] != what["release"]:
        left = {key: record[key] for key in ("release", "colour", "since", "services", "migrations") if key in record}
        if what.get("back"):  # neither this nor what came between is behind us any more
            left["rolled_back"] = True
            names = [entry["release"] for entry in history]
            for entry in history[: names.index(what["release"]) if what["release"] in names else 0]:
                entry["rolled_back"] = True
        history = [entry for entry in history if entry["release"] not in (record["release"], what["release"])]
        history.insert(0, {**left, "until": now})
    return {
        "release": what["release"],
        "colour": what["colour"],
        "since": now,
        "services": dict(services),
        "migrations": migrations,
        "history": history[:keep],
        "bad": {release: why for release, why in record.get("bad", {}).items() if release != what["release"]},
    }


def marked_bad(record: Mapping[str, Any], release: str, reason: str, now: str) -> dict[str, Any]:
    """The record with a release marked bad; the one that serves is never marked."""
    if not record or release == record.get("release"):
        return dict(record)
    return {**record, "bad": {**record.get("bad", {}), release: {"since": now, "reason": reason}}}


def rebuilt_record(containers: Iterable[Mapping[str, Any]], served: Iterable[str]) -> tuple[dict[str, Any], str]:
    """A lost record, read off what runs; never a guess.

    :param containers: what ``observe`` of the containers tells, of all app hosts.
    :param served: the colours that the edges serve.
    :returns: the record and an empty sentence, or an empty record and why there is none.
    """
    running = [entry for entry in containers if entry["running"]]
    colours = sorted(set(served) - {""}) or sorted({entry["colour"] for entry in running})
    if not running:
        return {}, "no container of the application runs."
    if len(colours) != 1:
        return {}, f"the edges serve {', '.join(colours)}, not one colour."
    serving = [entry for entry in running if entry["colour"] == colours[0]]
    releases = sorted({entry["release"] for entry in serving})
    if len(releases) != 1:
        return {}, f"the containers of {colours[0]} name {', '.join(releases) or 'no release'}, not one release."
    services = {}
    for entry in serving:
        image = {key: entry[key] for key in ("image", "id", "entrypoint", "command") if key in entry}
        if "@" in entry["image"]:  # the name that a release gives it; an ID has none
            image["reference"] = f"{repository(entry['image'])}:{entry['release']}"
        services[entry["service"]] = image
    since = min(str(entry["started"]) for entry in serving)
    return {"release": releases[0], "colour": colours[0], "since": since, "services": services, "history": [], "bad": {}}, ""


def needed_images(record: Mapping[str, Any], keep: int) -> list[str]:
    """IDs of the images that the record's release and `keep` releases before it are made of."""
    entries = [record, *record.get("history", [])[:keep]]
    return sorted({str(image["id"]) for entry in entries for image in entry.get("services", {}).values() if image.get("id")})


def images_to_remove(present: Iterable[tuple[str, str]], repositories: Iterable[str], needed: Iterable[str]) -> list[str]:
    """Images of the services' repositories that no rollback needs.

    :param present: ID and repository of every image on the host.
    :param repositories: the services' images, with or without tag.
    :param needed: IDs that must stay; none at all go without it.
    """
    ours, needed = {repository(name) for name in repositories}, set(needed)
    return sorted({image for image, name in present if repository(name) in ours} - needed) if needed else []


def repository(name: str) -> str:
    """An image's name without tag and digest; a port of the registry is no tag."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
