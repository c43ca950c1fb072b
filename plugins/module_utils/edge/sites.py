# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What an edge serves: sites, locations, upstreams. Pure functions: values in, sentences out."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names, spec

# Becomes part of an nginx variable, where a dash would end the name.
VARIABLE = re.compile("[a-z][a-z0-9_]*")
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?")
YEAR = 31536000  # seconds; browsers' preload list takes nothing shorter
MAX_HOST_NAME = 253  # letters
HOST_NAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def site_problems(
    sites: Any, upstreams: Any, colours: Any, limits: Any, options: spec.Options, needed: bool = False
) -> list[str]:
    """Judge ``nginx_sites``: keys and their types, and against the upstreams, colours and limits they name.

    A variable of the wrong type is the argument specification's to report; here it is passed over.

    :param options: what a site may have, of the role's argument specification.
    :param needed: whether the host is there for sites.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    problems: list[str] = []
    if not isinstance(sites, (list, tuple)) or not isinstance(upstreams, Mapping) or not isinstance(limits, Mapping):
        return problems
    if needed and not sites:
        problems.append(
            "nginx_sites: names no site, so this edge would serve nothing."
            " Describe one, e.g. [{names: [www.example.org], upstream: web}],"
            " or take the host out of the group edge."
        )
    colours = [colours] if isinstance(colours, str) else list(colours or [])
    for name, limit in limits.items():
        if not VARIABLE.fullmatch(str(name)):
            problems.append(f"nginx_limits.{name}: is no name for a limit. Use a-z, 0-9 and underscores.")
        if not isinstance(limit, Mapping) or not limit.get("rate") or not limit.get("burst"):
            problems.append(f"nginx_limits.{name}: needs rate and burst, e.g. {{rate: 10r/s, burst: 20}}.")
    seen: dict[str, str] = {}
    for index, site in enumerate(sites):
        if not isinstance(site, Mapping):
            problems.append(f"nginx_sites[{index}]: is not a mapping. Give it names and upstream.")
            continue
        where = f"nginx_sites[{site.get('name', index)}]"
        problems += [f"{where}.{key}: is not set." for key in ("name", "certificate") if not site.get(key)]
        problems += spec.judge(where, site, options, "a site")
        if not VARIABLE.fullmatch(str(site.get("name", "x"))):
            problems.append(f"{where}.name: use a-z, 0-9 and underscores.")
        for key in ("names", "redirect_names"):
            for name in _listed(site, key):
                if isinstance(name, (Mapping, list, tuple)):
                    continue
                wrong = host_name_problem(name)
                if wrong:
                    problems.append(f"{where}.{key}: {name!r} {wrong}")
                if name in seen:
                    problems.append(f"{where}: {name} is already a name of {seen[name]}. A name belongs to one site.")
                seen[name] = where
        if not site.get("upstream"):
            problems.append(
                f"{where}.upstream: is not set. Name one of nginx_upstreams ({', '.join(map(str, upstreams)) or 'none'})."
            )
        else:
            problems += _upstream_problems(f"{where}.upstream", site["upstream"], upstreams, colours)
        problems += [
            f"{where}.cors_origins: {origin!r} is not an origin. Write scheme and name, e.g. https://a.example."
            for origin in _listed(site, "cors_origins")
            if not ORIGIN.fullmatch(str(origin))
        ]
        locations = {number: entry for number, entry in enumerate(_listed(site, "locations")) if isinstance(entry, Mapping)}
        paths = [str(location.get("path")) for location in locations.values()]
        if isinstance(site.get("assets"), str):
            problems += _path_problems(f"{where}.assets", site["assets"])
            paths.append(site["assets"])
        problems += [f"{where}.locations: {path} stands there twice." for path in sorted(set(paths)) if paths.count(path) > 1]
        for number, location in locations.items():
            problems += _location_problems(f"{where}.locations[{number}]", location, upstreams, colours, limits)
        for number, probe in enumerate(_listed(site, "probes")):
            problems += _probe_problems(f"{where}.probes[{number}]", probe)
    return problems


def host_name_problem(name: Any) -> str:
    """What is wrong with a host name, and what to write instead where that can be told; empty if nothing is."""
    text = str(name)
    if HOST_NAME.fullmatch(text) and len(text) <= MAX_HOST_NAME:
        return ""
    bare = re.sub(r"^[a-z]+://|[:/].*$", "", text.lower()).rstrip(".")
    # As IDNA 2008 writes it; Python's own codec knows the older one, in which ß becomes ss.
    labels = unicodedata.normalize("NFC", bare).split(".")
    plain = ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    instead = plain.replace("_", "-")
    if not HOST_NAME.fullmatch(instead) or len(instead) > MAX_HOST_NAME:
        return "is not a host name. Use a-z, 0-9, dashes and dots."
    if not text.isascii():
        wrong = "is not what browsers send"
    elif bare != text.lower().rstrip("."):
        wrong = "is an address"
    elif "_" in text:
        wrong = "holds an underscore, which no host name has"
    elif text.endswith("."):
        wrong = "ends with a dot"
    else:
        wrong = "has capitals"
    return f"{wrong}. Write {instead}."


def _path_problems(where: str, path: str) -> list[str]:
    """What nginx could not read as the beginning of a path, or has already."""
    if not path.startswith("/") or re.search(r"[\s;{}]", path):
        return [f"{where}: must begin with a slash and hold no blank, semicolon or brace."]
    return [f"{where}: / is the site's own; its upstream is the one beside it."] if path == "/" else []


def _probe_problems(where: str, probe: Any) -> list[str]:
    """A path, or a mapping with one."""
    problems = names.unknown_keys(where, probe, ("path", "release_key"), "a probe") if isinstance(probe, Mapping) else []
    path = probe.get("path") if isinstance(probe, Mapping) else probe
    if path is None:
        return [*problems, f"{where}: has no path. Write it as {{path: /api/info, release_key: release}}, or the path alone."]
    if not isinstance(path, str) or not re.fullmatch(r"/\S*", path):
        problems.append(f"{where}: {path!r} is not a path. Begin with a slash.")
    return problems


def network_problems(lists: Mapping[str, Any]) -> list[str]:
    """Find what is neither an address nor a network.

    :param lists: variable -> list of addresses and networks.
    """
    problems = []
    for variable, values in lists.items():
        for value in values if isinstance(values, (list, tuple)) else []:
            try:
                ipaddress.ip_network(str(value))
            except ValueError:
                problems.append(f"{variable}: {value!r} is not an address or a network. Write e.g. 10.0.0.0/8 or 2001:db8::/32.")
    return problems


def hsts_problems(seconds: Any, include_subdomains: Any, preload: Any) -> list[str]:
    """Refuse to ask for browsers' preload list what it would refuse, since leaving it takes months."""
    if preload and not (include_subdomains and isinstance(seconds, int) and seconds >= YEAR):
        return [
            f"nginx_hsts_preload: needs nginx_hsts_include_subdomains: true and nginx_hsts_seconds of {YEAR} or more. Set these first."
        ]
    return []


def by_colour(upstreams: Mapping[str, Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Turn ``nginx_upstreams`` around: colour -> every ``address:port`` of its containers."""
    found: dict[str, list[str]] = {}
    for colours in upstreams.values():
        for colour, addresses in colours.items():
            found.setdefault(colour, []).extend(addresses)
    return found


def _location_problems(
    where: str, location: Mapping[str, Any], upstreams: Mapping[str, Any], colours: list[str], limits: Mapping[str, Any]
) -> list[str]:
    problems = _path_problems(f"{where}.path", str(location["path"])) if location.get("path") else []
    if "return" not in location:
        problems += _upstream_problems(f"{where}.upstream", location.get("upstream"), upstreams, colours)
    if re.search(r"^\s*add_header\s", str(location.get("extra", "")), re.MULTILINE):
        problems.append(
            f"{where}.extra: add_header here would take every other header away. Put it into the site's `extra`, or into nginx_headers."
        )
    problems += network_problems({f"{where}.allow": _listed(location, "allow")})
    problems += [
        f"{where}.limits: {limit} is not one of nginx_limits ({', '.join(limits) or 'none'})." + names.meant(limit, limits)
        for limit in _listed(location, "limits")
        if limit not in limits
    ]
    return problems


def _listed(value: Mapping[str, Any], key: str) -> list[Any]:
    """The elements of a list; of what is none there are none, which is the argument specification's to report."""
    return list(value[key]) if isinstance(value.get(key), (list, tuple)) else []


def _upstream_problems(where: str, name: Any, upstreams: Mapping[str, Any], colours: Iterable[str]) -> list[str]:
    known = ", ".join(upstreams) or "none"
    if name is None:
        return [f"{where}: is not set. Name one of nginx_upstreams ({known})."]
    if not isinstance(name, str) or name not in upstreams:
        return [f"{where}: {name!r} is not one of nginx_upstreams ({known}).{names.meant(name, upstreams)}"]
    return [
        f'nginx_upstreams.{name}.{colour}: names no address. Give each colour its own, e.g. ["127.0.0.1:18080"].'
        for colour in colours
        if not upstreams[name].get(colour)
    ]
