# SPDX-License-Identifier: GPL-3.0-or-later
"""References, records, and what is wrong with services."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import images

COLOURS = ("blue", "green")
SERVICE: dict[str, Any] = {"image": "registry.test/app/backend", "port": 8080, "publish": {"blue": 1, "green": 2}}
DIGEST = "sha256:" + "d" * 64
ID = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("backend", "backend:v1"),
        ("kasaneha/backend", "kasaneha/backend:v1"),
        ("registry:5000/kasaneha/backend", "registry:5000/kasaneha/backend:v1"),  # a port is no tag
        ("registry:5000/backend:stable", "registry:5000/backend:stable"),
        ("backend:stable", "backend:stable"),
        (f"registry:5000/backend@{DIGEST}", f"registry:5000/backend@{DIGEST}"),
        (f"backend:v0@{DIGEST}", f"backend:v0@{DIGEST}"),
    ],
)
def test_reference(image: str, expected: str) -> None:
    assert images.reference(image, "v1") == expected


@pytest.mark.parametrize(
    ("wanted", "digests", "expected"),
    [
        ("registry:5000/app:v1", [f"registry:5000/app@{DIGEST}"], f"registry:5000/app@{DIGEST}"),
        ("app:v1", [f"app@{DIGEST}"], f"app@{DIGEST}"),
        (f"registry:5000/app@{DIGEST}", [f"registry:5000/app@{DIGEST}"], f"registry:5000/app@{DIGEST}"),
        (f"registry:5000/app:v1@{DIGEST}", [f"registry:5000/app@{DIGEST}"], f"registry:5000/app@{DIGEST}"),
        # Docker leaves the name of its own registry out.
        ("docker.io/library/postgres:15", [f"postgres@{DIGEST}"], f"postgres@{DIGEST}"),
        ("docker.io/kasaneha/app:v1", [f"kasaneha/app@{DIGEST}"], f"kasaneha/app@{DIGEST}"),
        (f"docker.io/library/postgres@{DIGEST}", [f"postgres@{ID}", f"postgres@{DIGEST}"], f"postgres@{DIGEST}"),
        ("docker.io/kasaneha/app:v1", [f"app@{DIGEST}"], ID),
        ("docker.io.test/app:v1", [f"app@{DIGEST}"], ID),
        ("docker-io/app:v1", [f"app@{DIGEST}"], ID),
        ("registry.test/docker.io/app:v1", [f"registry.test/app@{DIGEST}"], ID),
        # Of several digests the one that was asked for, wherever it stands.
        (f"app@{DIGEST}", [f"app@{ID}", f"app@{DIGEST}"], f"app@{DIGEST}"),
        (f"app@{DIGEST}", [f"app@{DIGEST}", f"app@{ID}"], f"app@{DIGEST}"),
        (f"app:v1@{DIGEST}", [f"app@{ID}", f"app@{DIGEST}"], f"app@{DIGEST}"),
        (f"app@{DIGEST}", [f"elsewhere/app@{DIGEST}", f"app@{ID}"], f"app@{ID}"),  # the same image by its other digest
        ("app:v1", [f"app@{ID}", f"app@{DIGEST}"], f"app@{ID}"),
        # The same image under another name is not the one that was asked for.
        ("registry:5000/app:v1", [f"elsewhere/app@{DIGEST}", f"registry:5000/app@{DIGEST}"], f"registry:5000/app@{DIGEST}"),
        ("registry:5000/app:v1", [f"elsewhere/app@{DIGEST}"], ID),
        ("registry:5000/app:v1", [f"registry:5000/app-old@{DIGEST}"], ID),
        ("app:v1", [], ID),
        ("app:v1", None, ID),
    ],
)
def test_record_identity(wanted: str, digests: list[str] | None, expected: str) -> None:
    record = images.image_record({"Id": ID, "RepoDigests": digests}, wanted)
    assert (record["image"], record["id"], record["reference"]) == (expected, ID, wanted)


@pytest.mark.parametrize(
    ("config", "entrypoint", "command"),
    [
        ({"Entrypoint": ["/entry"], "Cmd": ["./main"]}, ["/entry"], ["./main"]),
        ({"Cmd": ["./main"]}, None, ["./main"]),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_record_keeps_what_the_image_runs(config: Any, entrypoint: Any, command: Any) -> None:
    record = images.image_record({"Id": ID, "Config": config}, "app:v1")
    assert (record["entrypoint"], record["command"]) == (entrypoint, command)


@pytest.mark.parametrize(
    ("config", "label", "expected"),
    [
        ({"Labels": {"version": "v1", "other": "x"}}, "version", "v1"),
        ({"Labels": {"version": "v1"}}, "org.opencontainers.image.version", ""),
        ({"Labels": {"version": "v1", "": "odd"}}, "", ""),  # nobody asked
        ({"Labels": None}, "version", ""),
        (None, "version", ""),
    ],
)
def test_record_keeps_what_the_label_says(config: Any, label: str, expected: str) -> None:
    assert images.image_record({"Id": ID, "Config": config}, "app:v1", label)["label"] == expected
    assert images.image_record({"Id": ID, "Config": config}, "app:v1")["label"] == ""


@pytest.mark.parametrize(
    ("service", "image", "expected"),
    [
        ({"release_label": "version"}, {"reference": "b:v1", "label": "v1"}, ""),
        ({"release_label": "version"}, {"reference": "b:v1", "label": "v2"}, "b:v1 has v2 in its label version, not v1."),
        ({"release_label": "version"}, {"reference": "b:v1", "label": "v1.0"}, "b:v1 has v1.0 in its label version, not v1."),
        ({"release_label": "version"}, {"reference": "b:v1", "label": ""}, "b:v1 has nothing in its label version, not v1."),
        ({"release_label": "version"}, {"reference": "b:v1"}, ""),  # read off a container: nobody asked its image
        ({}, {"reference": "b:v1", "label": "v2"}, ""),  # it does not say where to look
        ({"release_label": "version"}, None, ""),  # not known yet
    ],
)
def test_image(service: dict[str, Any], image: dict[str, Any] | None, expected: str) -> None:
    found = images.image_problems({"backend": service, "other": {}}, {"backend": image} if image else {}, "v1")
    sentence = f"app_services.backend: the image {expected}"
    assert [problem[: len(sentence)] for problem in found] == ([sentence] if expected else [])


def test_record_of_nothing_is_an_error() -> None:
    with pytest.raises(KeyError):
        images.image_record({}, "app:v1")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, {"a": "a:v1", "b": "b:fix"}),
        ({"services": {}}, {"a": "a:v1", "b": "b:fix"}),
        ({"services": {"a": {"reference": "a:v1"}}}, {"b": "b:fix"}),
        ({"services": {"a": {"reference": "a:v0"}, "b": {"reference": "b:fix"}}}, {"a": "a:v1"}),
        ({"services": {"a": {"reference": "a:v1"}, "b": {"reference": "b:fix"}, "gone": {"reference": "x"}}}, {}),
    ],
)
def test_unresolved(known: dict[str, Any], expected: dict[str, str]) -> None:
    assert images.unresolved({"a": {"image": "a"}, "b": {"image": "b:fix"}}, known, "v1") == expected


def changed(**keys: Any) -> dict[str, Any]:
    """One service; None takes a key away."""
    return {"backend": {key: value for key, value in {**SERVICE, **keys}.items() if value is not None}}


def test_without_colours_a_service_has_one_port() -> None:
    assert images.published_port({"publish": 8080}, "") == 8080
    assert images.published_port({"publish": {"blue": 1, "green": "2"}}, "green") == 2
    assert images.service_ports({"backend": {"publish": 8080, "publish_also": {6060: 6061}}}) == {
        "app_services.backend.publish": 8080,
        "app_services.backend.publish_also.6060": 6060,
    }


def test_ports_have_names() -> None:
    services = {**changed(), "worker": {"image": "w"}, "broken": 1, "odd": {"publish": [1]}}
    assert images.service_ports(services) == {"app_services.backend.publish.blue": 1, "app_services.backend.publish.green": 2}
    assert images.service_ports([]) == {}


def test_secrets_once_each() -> None:
    services = {
        "a": {"secrets": {"X": "one", "Y": "two"}},
        "b": {"secrets": {"Z": "one"}},
        "c": {},
        "d": 1,
        "e": {"secrets": ["three"]},
        "f": {"secrets": {"A": None, "B": "", "C": 4}},
    }
    assert images.service_secrets(services) == ["one", "two"]
    assert images.service_secrets(None) == []


def test_upstreams() -> None:
    services = {**changed(), "worker": {"image": "w"}}
    assert images.upstreams(services, iter(["10.0.0.1", "10.0.0.2"]), iter(COLOURS)) == {
        "backend": {"blue": ["10.0.0.1:1", "10.0.0.2:1"], "green": ["10.0.0.1:2", "10.0.0.2:2"]}
    }
    assert images.upstreams(changed(), ["fd00::4"], ["blue"]) == {"backend": {"blue": ["[fd00::4]:1"]}}
    assert images.upstreams(changed(publish={"blue": 1}), ["h"], COLOURS) == {"backend": {"blue": ["h:1"], "green": []}}
    assert images.upstreams(services, [], COLOURS) == {"backend": {"blue": [], "green": []}}
    assert images.upstreams([], ["h"], COLOURS) == {}
    assert images.upstreams(services, ["h"], "blue") == {"backend": {"blue": ["h:1"]}}  # one colour, not four letters


# What is written unquoted, how it is read, and what it has become.
UNQUOTED = [
    ("1.10", yaml.safe_load, "1.1 is a number"),
    ("1.10", json.loads, "1.1 is a number"),
    ("1.0e+3", yaml.safe_load, "1000.0 is a number"),
    ("1e3", json.loads, "1000.0 is a number"),
    ("20261129", yaml.safe_load, "20261129 is a number"),
    ("010", yaml.safe_load, "8 is a number"),
    ("0x1f", yaml.safe_load, "31 is a number"),
    ("1:30", yaml.safe_load, "90 is a number"),
    ("2026-01-02", yaml.safe_load, "2026-01-02 is a date"),
    ("2026-01-02 03:04:05", yaml.safe_load, "2026-01-02 03:04:05 is a date"),
    ("on", yaml.safe_load, "True is a truth value"),
    ("[v1]", yaml.safe_load, "['v1'] is no string"),
]


@pytest.mark.parametrize(("written", "reader", "became"), UNQUOTED)
def test_a_release_that_is_no_string_is_refused(written: str, reader: Any, became: str) -> None:
    [problem] = images.release_name_problems(reader(written), "app_release")
    assert problem.startswith(f"app_release: {became}") and "uote it" in problem
    [problem] = images.release_name_problems(reader(written), "release")
    assert problem.startswith("release: ")


@pytest.mark.parametrize("name", ["1.10", "1e3", "010", "2026-01-02", "v1.0.0", "", None])
def test_a_string_is_a_release_and_nothing_is_somebody_else_s_to_report(name: Any) -> None:
    assert images.release_name_problems(name) == []


def test_a_date_stays_what_it_is() -> None:
    assert isinstance(yaml.safe_load("2026-01-02"), datetime.date)  # or the case above proves nothing


@pytest.mark.parametrize(("intent", "variable"), [("site", "app_release"), ("deploy", "app_release"), ("rollback", "release")])
def test_a_release_that_is_no_string_is_never_gone_for(intent: str, variable: str) -> None:
    """As a word it would name another one, even one that is known: 1.10 has become 1.1."""
    record = {"release": "1.2", "colour": "blue", "since": "then", "services": {}, "history": [{"release": "1.1"}], "bad": {}}
    hosts = {"one": {"record": record, "run": {}, "freeze": {}, "containers": [], "edge": {}, "now": 0}}

    def said(wanted: Any) -> list[str]:
        return [
            problem
            for problem in release_decide.decide(hosts, "one", wanted=wanted, intent=intent)["problems"]
            if "Quote it" in problem
        ]

    assert [problem[: len(variable) + 17] for problem in said(1.1)] == [f"{variable}: 1.1 is a number"]
    assert said("1.1") == []
