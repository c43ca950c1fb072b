# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What no packaged exporter tells: containers, the release, the colour that is served, certificates, failed units.

One file, standard library only: the role `monitoring` copies it to a server as it is, a timer runs it, and node_exporter shows
what it writes. The exporters of databases in containers learn from it where those are now, because addresses change.
"""

from __future__ import annotations

import calendar
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

Sample = tuple  # (name, labels, value)
PREFIX = "kasaneha_"
DOCKER = "/var/run/docker.sock"
LABEL = "kasaneha.deploy."


# --- looking ----------------------------------------------------------------------------------------------
class Docker(http.client.HTTPConnection):
    """Docker's own interface, by its socket: a client program for each container would cost a hundred times as much. This file is
    copied alone, so it brings its own."""

    def __init__(self, path: str = DOCKER) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def get(self, path: str) -> Any:
        """One answer.

        :raises OSError: there is none, or none that is good.
        """
        try:
            self.request("GET", path)
            answer = self.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"Docker answers {answer.status} to {path}")
            return json.loads(text)
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"Docker does not answer: {error}") from error


def containers(app: str, path: str = DOCKER) -> list[dict[str, Any]] | None:
    """`docker inspect` of each container of the application, with `Memory`; None when Docker does not answer."""
    found = []
    docker = Docker(path)
    try:
        chosen = quote(json.dumps({"label": [f"{LABEL}app={app}"]}))
        for entry in docker.get(f"/containers/json?all=1&filters={chosen}"):
            try:
                inspected = docker.get(f"/containers/{entry['Id']}/json")
                running = inspected["State"]["Running"]
                stats = docker.get(f"/containers/{entry['Id']}/stats?stream=false&one-shot=true") if running else {}
            except OSError:
                continue  # it went away meanwhile
            found.append({**inspected, "Memory": memory(stats.get("memory_stats", {}))})
    except OSError:
        return None
    finally:
        docker.close()
    return found


def memory(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes in use without what the kernel can drop, and the limit."""
    detail = stats.get("stats", {})
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return max(stats.get("usage", 0) - cache, 0), stats.get("limit", 0)


def read_json(path: str) -> dict[str, Any]:
    """A file with an object; empty when there is none that can be read."""
    try:
        value = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def served(folder: str) -> list[str] | None:
    """The names in the edge's state; None when this host is no edge."""
    if not folder:
        return None
    try:
        return sorted(os.listdir(Path(folder) / "live"))
    except OSError:
        return []


def certificate_dates(folder: str) -> list[tuple[str, str, bool]]:
    """Name, openssl's own words, and whether it is the placeholder, of every certificate of the edge."""
    found = []
    for link in sorted(Path(folder).iterdir()) if folder and Path(folder).is_dir() else []:
        if link.is_symlink() and (link / "fullchain.pem").exists():
            command = ["openssl", "x509", "-noout", "-dates", "-in", str(link / "fullchain.pem")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found.append((link.name, done.stdout, os.readlink(link).startswith("placeholder-")))
    return found


def failed_units() -> str:
    """What systemd says of them, a line for each."""
    command = ["systemctl", "list-units", "--state=failed", "--all", "--plain", "--no-legend", "--no-pager"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


# --- judging: pure ------------------------------------------------------------------------------------------
def container_samples(found: list[dict[str, Any]] | None, record: Mapping[str, Any], app: str) -> list[Sample]:
    """The containers, and which of them should run: the databases, and the colour that the record names."""
    samples: list[Sample] = [("docker_up", {}, float(found is not None))]
    if found is None:
        return samples
    colour = record.get("colour", "")
    missing = {f"{app}-{service}-{colour}": service for service in record.get("services", {}) if colour}
    for entry in found:
        labels, state = entry["Config"]["Labels"] or {}, entry["State"]
        name = entry["Name"].lstrip("/")
        if f"{LABEL}service" not in labels or not name.startswith(f"{app}-"):
            continue  # a one-off: a migration, a drill
        missing.pop(name, None)
        own = labels.get(f"{LABEL}colour", "")
        who = {"container": name, "service": labels[f"{LABEL}service"], **({"colour": own} if own else {})}
        samples.append(("container_expected", who, float(not own or own == colour)))
        samples.append(("container_running", who, float(state["Running"])))
        if state.get("Health"):
            samples.append(("container_healthy", who, float(state["Running"] and state["Health"]["Status"] == "healthy")))
        samples.append(("container_restarts_total", who, float(entry["RestartCount"])))
        samples.append(("container_oom_killed", who, float(state["OOMKilled"])))
        if state["Running"]:
            samples.append(("container_start_timestamp_seconds", who, seconds(state["StartedAt"])))
            samples.append(("container_memory_bytes", who, float(entry["Memory"][0])))
            samples.append(("container_memory_limit_bytes", who, float(entry["Memory"][1])))
    for name, service in missing.items():
        who = {"container": name, "service": service, "colour": colour}
        samples += [("container_expected", who, 1.0), ("container_running", who, 0.0)]
    return samples


def release_samples(record: Mapping[str, Any]) -> list[Sample]:
    """What serves since when, what served before, and what was bad."""
    samples: list[Sample] = []
    if record.get("release"):
        samples.append(("release_info", {"release": record["release"], "colour": record.get("colour", "")}, 1.0))
        history = [(record, "served"), *((entry, "served") for entry in record.get("history", []))]
        bad = [({"release": name, **entry}, "bad") for name, entry in record.get("bad", {}).items()]
        known = set()
        for entry, result in (*history, *bad):
            who = {"release": entry["release"], "colour": entry.get("colour", ""), "result": result}
            if entry.get("since") and tuple(who.values()) not in known:
                known.add(tuple(who.values()))
                samples.append(("deploy_timestamp_seconds", who, seconds(entry["since"])))
    return samples


def edge_samples(names: Iterable[str] | None, colours: Iterable[str]) -> list[Sample]:
    """Whether the edge serves exactly one colour, and whether it keeps users out on purpose."""
    if names is None:
        return []
    chosen = [colour for colour in colours if colour in list(names)]
    return [
        ("edge_serving", {}, float(len(chosen) == 1)),
        ("edge_maintenance", {}, float("maintenance" in list(names))),
        *(("edge_colour", {"colour": colour}, float(colour in chosen)) for colour in colours),
    ]


def certificate_samples(dates: Iterable[tuple[str, str, bool]]) -> list[Sample]:
    """From when to when each certificate is good; one that cannot be read has expired."""
    samples: list[Sample] = []
    for name, text, placeholder in dates:
        who = {"certificate": name}
        samples.append(("cert_placeholder", who, float(placeholder)))
        for ours, theirs in (("not_before", "notBefore"), ("not_after", "notAfter")):
            found = re.search(rf"{theirs}=(.+) GMT", text)
            at = calendar.timegm(time.strptime(found[1], "%b %d %H:%M:%S %Y")) if found else 0
            samples.append((f"cert_{ours}_timestamp_seconds", who, float(at)))
    return samples


def unit_samples(text: str) -> list[Sample]:
    """Failed units by name, and how many."""
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [("failed_units", {}, float(len(names))), *(("failed_unit", {"unit": name}, 1.0) for name in names)]


def seconds(text: str) -> float:
    """A time of Docker's or of the record as seconds since 1970; both are UTC."""
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def text(samples: Iterable[Sample]) -> str:
    """All samples in Prometheus' own form, each metric with its type once."""
    lines: list[str] = []
    typed = ""
    for name, labels, value in sorted(samples, key=lambda sample: (sample[0], sorted(sample[1].items()))):
        full = PREFIX + name
        if name != typed:
            lines.append(f"# TYPE {full} {'counter' if name.endswith('_total') else 'gauge'}")
            typed = name
        pairs = ",".join(f'{key}="{escaped(str(worth))}"' for key, worth in sorted(labels.items()))
        lines.append(f"{full}{{{pairs}}} {value:.15g}" if pairs else f"{full} {value:.15g}")
    return "\n".join(lines) + "\n"


def escaped(worth: str) -> str:
    """A label's value as it stands between quotes."""
    return worth.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def address(found: Iterable[Mapping[str, Any]] | None, name: str, network: str) -> str:
    """Where a container is to be reached from its host; empty when it does not run."""
    for entry in found or []:
        if entry["Name"].lstrip("/") == name and entry["State"]["Running"]:
            networks = entry["NetworkSettings"]["Networks"]
            ordered = sorted(networks, key=lambda key: (key != network, key))
            return next((networks[key]["IPAddress"] for key in ordered if networks[key]["IPAddress"]), "")
    return ""


# --- writing ------------------------------------------------------------------------------------------------
def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Replace a file by one rename, so that nobody ever reads half of it; whether it is another one now."""
    if path.exists() and path.read_text() == content:
        path.touch()  # its age says that this ran
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content)
    temporary.chmod(mode)
    os.replace(temporary, path)
    return True


def main(arguments: list[str]) -> int:
    """Look once, and write it down."""
    config = read_json(arguments[0])
    app = config["app"]
    found = containers(app) if Path(DOCKER).exists() else None if config["docker"] else []
    record = read_json(config["record"])
    samples = [
        *(container_samples(found, record, app) if config["docker"] else []),
        *release_samples(record),
        *edge_samples(served(config["edge"]), config["colours"]),
        *certificate_samples(certificate_dates(config["tls"])),
        *unit_samples(failed_units()),
        ("reboot_required", {}, float(Path("/run/reboot-required").exists())),
    ]
    write(Path(config["output"]), text(samples))
    for exporter in config["follow"]:
        where = address(found, exporter["container"], f"{app}-data")
        # The one before stays while the container is away: the exporter says that it is.
        if where and write(Path(exporter["file"]), exporter["line"].replace("ADDRESS", where) + "\n", 0o600):
            subprocess.run(["systemctl", "restart", "--no-block", exporter["unit"]], check=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
