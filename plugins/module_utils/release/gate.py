# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The gate: what a release must show before any user's request reaches it. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import bracketed
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health as release_health

# So often a container may start again before it is given up: it will not get better by waiting.
MAX_RESTARTS = 3


def answer_problem(status: int, body: Any, release_key: str = "", release: str = "") -> str:
    """What is wrong with an answer; empty: it is good.

    :param status: of HTTP; 0: there was none, and `body` says why.
    :param body: the decoded JSON, or text.
    :param release_key: the field that names the release; empty: the application cannot say.
    """
    if not status:
        return str(body)
    return release_health.status_problem(status) or release_health.release_problem(body, release_key, release)


def probes(service: Mapping[str, Any], addresses: Iterable[str]) -> list[Any]:
    """How a backup asks a service whether it works on restored data: its ``health``, at every port that it publishes.

    What is wrong with ``health`` is the preflight's to say.

    :param service: as in ``app_services``.
    :param addresses: where its ports are published.
    :returns: as in ``backup_probes``: URLs where ``health`` is a path, else mappings.
    """
    published, health = service.get("publish") or {}, service.get("health")
    given = health if isinstance(health, Mapping) else {"path": health}
    rest = {key: text for key, text in given.items() if key != "path"}
    ports = list(published.values()) if isinstance(published, Mapping) else [published]
    urls = [f"http://{bracketed(address)}:{port}{given.get('path') or '/'}" for address in addresses for port in ports]
    return [{"url": url, **rest} if rest else url for url in urls]


def container_problem(
    container: Mapping[str, Any] | None, image: str = "", started: str = "", restarts: int = 0
) -> tuple[str, bool]:
    """What is wrong with a container; empty: it is the right one and runs.

    :param image: the ID of the image that must run; empty: any.
    :param started: when it started, if it must not have started again since.
    :param restarts: how often it had been started again before the gate began.
    :returns: the sentence, and whether waiting is of no use.
    """
    if not container:
        return "there is no container", True
    if image and container["id"] != image:
        return f"its container runs {container['id']}, not {image}", True
    again = container["restarts"] - restarts
    if again >= MAX_RESTARTS:
        return (
            f"its container ended and was started again {again} times (exit code {container['exit_code']})",
            True,
        )
    if not container["running"]:
        return f"its container is {container['state']} (exit code {container['exit_code']})", container["state"] == "exited"
    if container["health"] == "unhealthy":
        return "its own health check fails", False
    if started and container["started"] != started:
        return f"its container started again at {container['started']}", False
    return "", False


class Gate:
    """Counts good rounds in a row; a bad answer begins the count again."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.good = 0
        self.history: list[str] = []

    def round(self, problems: Sequence[str]) -> bool:
        """Note one round of answers, one sentence for each service (empty: good); True when the gate is passed."""
        bad = [problem for problem in problems if problem]
        self.good = 0 if bad else self.good + 1
        entry = "; ".join(bad) or "good"
        if self.history[-1:] != [entry]:
            self.history.append(entry)
        return self.good >= self.wanted
