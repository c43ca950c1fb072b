# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of Docker's answers; the answers are recorded ones, shortened."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import containers

CID = "4f6a0e0c" * 8
IMAGE = "sha256:" + "2" * 64
INSPECTED: dict[str, Any] = {
    "Id": CID,
    "Created": "2026-11-24T05:00:00.123456789Z",
    "Path": "/bin/sh",
    "Args": ["/run/deploy/with-secrets", "./main"],
    "State": {
        "Status": "running", "Running": True, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False, "Pid": 4711,
        "ExitCode": 0, "Error": "", "StartedAt": "2026-11-24T05:00:01.5Z", "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {
            "Status": "healthy", "FailingStreak": 0,
            "Log": [{"Start": "x", "End": "y", "ExitCode": code, "Output": text} for code, text in
                    ((1, "first"), (1, " refused\n"), (0, "x" * 500), (0, ""))],
        },
    },
    "Image": IMAGE,
    "Name": "/kasaneha-backend-green",
    "RestartCount": 1,
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    "Config": {
        "Hostname": "4f6a0e0c0e0c",
        "Env": ["JWT_SECRET=CANARY", "DEPLOY_RELEASE=v2"],
        "Cmd": ["./main"],
        "Image": "registry:5000/backend@sha256:" + "d" * 64,
        "Labels": {
            "com.docker.compose.oneoff": "False", "com.docker.compose.project": "kasaneha-green",
            "com.docker.compose.service": "backend-green", "kasaneha.deploy.app": "kasaneha", "kasaneha.deploy.colour": "green",
            "kasaneha.deploy.release": "v2", "kasaneha.deploy.service": "backend", "kasaneha.deploy.secrets": "CANARY",
        },
    },
}  # fmt: skip


def inspected(name: str = "kasaneha-backend-green", oneoff: str | None = "False", **state: Any) -> dict[str, Any]:
    """One container with another name, state and label."""
    found = copy.deepcopy(INSPECTED)
    found["Name"] = f"/{name}"
    found["State"].update(state)
    found["Config"]["Labels"]["com.docker.compose.oneoff"] = oneoff
    return found


class Docker:
    """Answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(list(argv))
        return self.answers.pop(0)


def observe(*found: dict[str, Any]) -> list[dict[str, Any]]:
    """What is made of these containers."""
    return containers.observe(Docker((0, f"{CID}\n" * len(found), ""), (0, json.dumps(found), "")), "kasaneha")


def test_what_is_known_of_a_container() -> None:
    assert observe(INSPECTED) == [
        {
            "name": "kasaneha-backend-green", "service": "backend", "colour": "green", "release": "v2",
            "image": "registry:5000/backend@sha256:" + "d" * 64, "id": IMAGE, "state": "running", "running": True, "exit_code": 0,
            "started": "2026-11-24T05:00:01.5Z", "restarts": 1, "health": "healthy", "health_log": ["refused", "x" * 300, ""],
        }
    ]  # fmt: skip


def test_the_environment_is_never_told() -> None:
    assert "CANARY" in json.dumps(INSPECTED)
    assert "CANARY" not in json.dumps(observe(INSPECTED))


@pytest.mark.parametrize(
    ("state", "running"),
    [("running", True), ("exited", False), ("restarting", False), ("created", False), ("paused", False), ("dead", False)],
)
def test_only_what_runs_is_running(state: str, running: bool) -> None:
    (found,) = observe(inspected(Status=state, ExitCode=137))
    assert (found["state"], found["running"], found["exit_code"]) == (state, running, 137)


@pytest.mark.parametrize("health", [None, {}, {"Status": "none"}, {"Status": "starting", "Log": None}])
def test_health_that_is_not_there(health: Any) -> None:
    (found,) = observe(inspected(Health=health))
    assert (found["health"], found["health_log"]) == ((health or {}).get("Status", ""), [])


def test_a_container_without_labels_and_count() -> None:
    bare = copy.deepcopy(INSPECTED)
    bare["Config"]["Labels"] = None
    del bare["RestartCount"]
    (found,) = observe(bare)
    assert (found["service"], found["colour"], found["release"], found["restarts"]) == ("", "", "", 0)


@pytest.mark.parametrize(
    ("oneoff", "counts"), [("False", True), ("false", True), (None, True), ("", True), ("True", False), ("true", False)]
)
def test_one_off_containers_are_none_of_a_release(oneoff: str | None, counts: bool) -> None:
    found = observe(inspected("run", oneoff), inspected("up"))
    assert [entry["name"] for entry in found] == (["run", "up"] if counts else ["up"])


def test_containers_come_in_order() -> None:
    found = observe(inspected("c"), inspected("a"), inspected("b"))
    assert [entry["name"] for entry in found] == ["a", "b", "c"]


def test_docker_is_asked_for_the_releases_of_one_application() -> None:
    docker = Docker((0, f"{CID}\n{CID}\n", ""), (0, "[]", ""))
    containers.observe(docker, "kasaneha")
    listed, looked = docker.asked
    assert listed[:3] == ["docker", "ps", "--all"]
    # The second one leaves the databases out.
    assert {"--filter=label=kasaneha.deploy.app=kasaneha", "--filter=label=kasaneha.deploy.colour"} <= set(listed)
    assert looked == ["docker", "inspect", CID, CID]


def test_no_containers_are_not_looked_at() -> None:
    docker = Docker((0, "\n", ""))
    assert containers.observe(docker, "kasaneha") == []
    assert len(docker.asked) == 1


def test_a_container_that_went_meanwhile_is_no_error() -> None:
    docker = Docker((0, f"{CID}\nother\n", ""), (1, json.dumps([INSPECTED]), "Error: No such object: other"))
    assert len(containers.observe(docker, "kasaneha")) == 1
    docker = Docker((0, f"{CID}\n", ""), (1, "[]\n", f"Error: No such object: {CID}"))  # the last one
    assert containers.observe(docker, "kasaneha") == []


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(1, "", "Cannot connect to the Docker daemon\n")], "Cannot connect to the Docker daemon"),
        ([(1, "", "")], "docker ps failed"),
        ([(0, CID, ""), (1, "", "permission denied")], "permission denied"),
        ([(0, CID, ""), (1, "", "")], "docker inspect failed"),
        ([(0, CID, ""), (0, '[{"Id":', "")], "docker inspect failed"),
        ([(0, CID, ""), (1, "[]\n", "Cannot connect to the Docker daemon")], "Cannot connect to the Docker daemon"),
        ([(0, CID, ""), (1, "[]\n", "")], "docker inspect failed"),
    ],
)
def test_docker_that_does_not_answer_is_an_error(answers: list[tuple[int, str, str]], message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        containers.observe(Docker(*answers), "kasaneha")


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ((0, '[{"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}]', ""), {"entrypoint": ["/e"], "command": ["c"]}),
        ((0, '[{"Config": {}}]', ""), {"entrypoint": None, "command": None}),
        ((1, "[]\n", "Error: No such image"), {}),  # removed while its container runs
        ((1, "", "Cannot connect to the Docker daemon"), {}),
    ],
)
def test_what_an_image_says_of_itself(answer: tuple[int, str, str], known: dict[str, Any]) -> None:
    found = [{"name": "a", "id": "sha256:1"}, {"name": "b", "id": "sha256:2"}]
    docker = Docker(answer, (0, '[{"Config": {"Entrypoint": null, "Cmd": ["b"]}}]', ""))
    assert containers.with_images(docker, found) == [{**found[0], **known}, {**found[1], "entrypoint": None, "command": ["b"]}]
    assert docker.asked == [["docker", "image", "inspect", f"sha256:{number}"] for number in (1, 2)]
    assert found[0] == {"name": "a", "id": "sha256:1"}


@pytest.mark.parametrize(
    ("names", "answer", "asked", "problem"),
    [
        ([], None, [], ""),
        (["a", "b"], (0, "a\nb\n", "a warning"), [["docker", "stop", "a", "b"]], ""),
        (["a"], (1, "", "cannot stop\n"), [["docker", "stop", "a"]], "cannot stop"),
    ],
)
def test_stop(names: list[str], answer: Any, asked: list[list[str]], problem: str) -> None:
    docker = Docker(*([answer] if answer else []))
    assert containers.stop(docker, names) == problem
    assert docker.asked == asked


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((0, "sha256:1 registry:5000/web\nsha256:2 <none>\n", ""), [("sha256:1", "registry:5000/web"), ("sha256:2", "<none>")]),
        ((0, "", ""), []),
        ((0, "sha256:1\n\n", ""), []),
        ((1, "sha256:1 web\n", "Cannot connect to the Docker daemon"), []),
    ],
)
def test_images(answer: tuple[int, str, str], found: list[tuple[str, str]]) -> None:
    docker = Docker(answer)
    assert containers.images(docker) == found
    assert "--no-trunc" in docker.asked[0]  # a short ID is none that the record knows


def test_an_image_that_cannot_be_removed_does_not_keep_the_others() -> None:
    docker = Docker((0, "Untagged: web:v1", ""), (1, "", "conflict: container is using it"), (0, "", ""))
    assert containers.remove_images(docker, ["sha256:1", "sha256:2", "sha256:3"]) == ["sha256:1", "sha256:3"]
    assert [argv[:3] for argv in docker.asked] == [["docker", "image", "rm"]] * 3
    assert containers.remove_images(Docker(), []) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((0, "a\nb\nc\n", ""), "b\nc"),
        ((0, "a\n", "b\n"), "a\nb"),  # most programs write to both
        ((1, "", "No such container: x"), "No such container: x"),
        ((0, "", ""), ""),
    ],
)
def test_last_words(answer: tuple[int, str, str], words: str) -> None:
    docker = Docker(answer)
    assert containers.last_words(docker, "x", lines=2) == words
    assert docker.asked == [["docker", "logs", "--tail", "2", "x"]]


def test_by_service() -> None:
    found = [{"service": "web", "colour": "blue"}, {"service": "web", "colour": "green"}, {"service": "api", "colour": "blue"}]
    assert containers.by_service(found, "web", "green") is found[1]
    assert containers.by_service(found, "api", "green") is None
    assert containers.by_service([], "web", "green") is None


def test_all_that_went_between_the_two_commands_are_none():
    answers = [(0, "abc\n", ""), (1, "[]\n", "error: no such object: abc")]
    assert containers.observe(lambda _words: answers.pop(0), "x") == []


def test_docker_that_dies_in_the_middle_is_no_answer():
    state = {"Status": "running", "ExitCode": 0, "StartedAt": "t"}
    one = {"Id": "a", "Name": "/a", "Image": "i", "State": state, "Config": {"Image": "i", "Labels": {}}}
    answers = [(0, "a\nb\n", ""), (1, json.dumps([one]), "Cannot connect to the Docker daemon")]
    with pytest.raises(RuntimeError, match="Cannot connect"):
        containers.observe(lambda _words: answers.pop(0), "x")
