# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What a release is made of: services, image references, the record of what runs. Pure functions."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import bracketed


def reference(image: str, release: str) -> str:
    """Name an image of a release: ``name`` gets the release as tag; a name with a tag or digest stays as it is.

    ``registry:5000/name`` has a port, not a tag: only what follows the last slash counts.
    """
    last = image.rsplit("/", 1)[-1]
    return image if ":" in last or "@" in last else f"{image}:{release}"


def release_name_problems(release: Any, variable: str = "app_release") -> list[str]:
    """Refuse a release that was written without quotes and read as something else: 1.10 has become 1.1, and that is another one.

    :param release: as the variable has it; None and an empty string are for others to judge.
    """
    if release is None or isinstance(release, str):
        return []
    kind = "no string"
    if isinstance(release, bool):
        kind = "a truth value and no string"
    elif isinstance(release, (int, float)):
        kind = "a number and no string"
    elif isinstance(release, datetime.date):
        kind = "a date and no string"
    return [
        f"{variable}: {release} is {kind}, so what was written may have been another release (1.10 is read as 1.1)."
        f' Quote it: {variable}: "…" in a file, -e {variable}=… or -e \'{{"{variable}": "…"}}\' on the command line.'
    ]


def image_record(inspected: Mapping[str, Any], wanted: str, label: str = "") -> dict[str, Any]:
    """Turn ``docker image inspect`` into what the record keeps of an image.

    :param wanted: the reference that was asked for.
    :param label: the label by which the image names its release; empty: it has none.
    :returns: ``reference``, ``image`` (the identity to run: repository digest, or image ID where there is no
        digest), ``id``, the image's own ``entrypoint`` and ``command``, and ``label``, what its label says.
    """
    name, _at, digest = wanted.partition("@")
    # Docker writes digests without the name of its own registry.
    repository = re.sub(r"^docker\.io/(library/)?", "", re.sub(r":[^/:]+$", "", name))
    digests = [entry for entry in inspected.get("RepoDigests") or [] if entry.partition("@")[0] == repository]
    digests = [entry for entry in digests if entry.endswith(f"@{digest}")] or digests if digest else digests
    config = inspected.get("Config") or {}
    return {
        "reference": wanted,
        "image": digests[0] if digests else inspected["Id"],
        "id": inspected["Id"],
        "entrypoint": config.get("Entrypoint"),
        "command": config.get("Cmd"),
        "label": (config.get("Labels") or {}).get(label, "") if label else "",
    }


def image_problems(services: Mapping[str, Mapping[str, Any]], images: Mapping[str, Mapping[str, Any]], release: str) -> list[str]:
    """Images that name another release than the one they are called, or none; judged where a service gives `release_label`."""
    problems = []
    for name, service in services.items():
        label, image = service.get("release_label", ""), images.get(name, {})
        # A record that was rebuilt from containers knows no labels.
        if label and image.get("label", release) != release:
            problems.append(
                f"app_services.{name}: the image {image.get('reference')} has {image.get('label') or 'nothing'} in its label {label}, "
                f"not {release}. Build it with the right label, or take release_label away if it cannot say."
            )
    return problems


def unresolved(services: Mapping[str, Mapping[str, Any]], record: Mapping[str, Any], release: str) -> dict[str, str]:
    """Services whose image the record does not know yet: name -> reference to get."""
    known = record.get("services", {})
    wanted = {name: reference(service["image"], release) for name, service in services.items()}
    return {name: ref for name, ref in wanted.items() if known.get(name, {}).get("reference") != ref}


def service_ports(services: Mapping[str, Any]) -> dict[str, int]:
    """Variable name -> port, for every published port of every colour."""
    if not isinstance(services, Mapping):
        return {}
    ports = {}
    for name, service in services.items():
        published = service.get("publish") if isinstance(service, Mapping) else None
        if isinstance(published, Mapping):
            ports.update({f"app_services.{name}.publish.{colour}": port for colour, port in published.items()})
        elif isinstance(published, (int, str)) and published:
            ports[f"app_services.{name}.publish"] = published
        if isinstance(service, Mapping) and isinstance(service.get("publish_also"), Mapping):
            ports.update({f"app_services.{name}.publish_also.{port}": port for port in service["publish_also"]})
    return ports


def published_port(service: Mapping[str, Any], colour: str) -> int:
    """On which port of the host a service listens; without colours there is one."""
    published = service["publish"]
    return int(published[colour] if isinstance(published, Mapping) else published)


def service_secrets(services: Mapping[str, Any]) -> list[str]:
    """Names of all secrets that the services read, each once."""
    if not isinstance(services, Mapping):
        return []
    return sorted(
        {
            secret
            for service in services.values()
            if isinstance(service, Mapping) and isinstance(service.get("secrets"), Mapping)
            for secret in service["secrets"].values()
            if isinstance(secret, str) and secret
        }
    )


def upstreams(services: Mapping[str, Any], addresses: Iterable[str], colours: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Where an edge finds each service: service -> colour -> ``["address:port", …]``.

    A colour without a port has no address; what is wrong about it is the preflight's to say.
    """
    if not isinstance(services, Mapping):
        return {}
    addresses, colours = list(addresses), [colours] if isinstance(colours, str) else list(colours)
    return {
        name: {
            colour: [
                f"{bracketed(address)}:{service['publish'][colour]}" for address in addresses if colour in service["publish"]
            ]
            for colour in colours
        }
        for name, service in services.items()
        if isinstance(service, Mapping) and isinstance(service.get("publish"), Mapping)
    }
