# SPDX-License-Identifier: GPL-3.0-or-later
"""A value is judged by what an argument specification says of it, and by nothing else."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import spec

OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True, "description": "Its name, C(a-z)."},
    "port": {"type": "int", "description": "The port, O(of the container)."},
    "cpus": {"type": "float"},
    "hsts": {"type": "bool", "description": "Whether."},
    "kind": {"type": "str", "choices": ["environment", "file"]},
    "names": {"type": "list", "elements": "str"},
    "numbers": {"type": "list", "elements": "int"},
    "anything": {"type": "raw"},
    "either": {"type": "list", "elements": "raw"},
    "environment": {"type": "dict", "description": ["Variables: C({PORT: 8080}).", "More."]},
    "build": {
        "type": "dict",
        "options": {"context": {"type": "path", "required": True}, "args": {"type": "dict"}},
    },
    "locations": {
        "type": "list",
        "elements": "dict",
        "options": {"path": {"type": "str", "required": True, "description": "A path."}, "stream": {"type": "bool"}},
    },
}


def found(value: Any) -> list[str]:
    """What is wrong with a value."""
    return spec.judge("x.web", value, OPTIONS, "a service")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, []),
        (
            {
                "port": 8080, "cpus": 1.5, "hsts": True, "kind": "file", "names": ["a", 1], "numbers": [1], "anything": None,
                "either": ["/", {"path": "/"}], "environment": {}, "build": {"context": "/src"}, "locations": [{"path": "/"}],
            },
            [],
        ),  # fmt: skip
        ({"port": "8080", "cpus": "1.5", "names": ("a",), "numbers": ["1"]}, []),
        ({"cpus": 1}, []),
        ({"prot": 1}, [".prot: is not a key of a service. Did you mean port?"]),
        ({"x": 1}, [".x: is not a key of a service. Known are: anything, build, cpus"]),
        ({1: 1}, [".1: is not a key of a service."]),
        ({"name": None}, [".name: is not set. Its name, a-z."]),
        ({"name": ""}, [".name: is not set. Its name, a-z."]),
        ({"name": 5}, []),
        ({"name": ["a"]}, [".name: is a list and no text."]),
        ({"name": {"a": 1}}, [".name: is a mapping and no text."]),
        ({"name": True}, [".name: True is a truth value and no text. Quote it."]),
        ({"port": None}, [".port: is empty. Give it a value, or leave it out."]),
        ({"port": "eighty"}, [".port: 'eighty' is not a whole number. The port, of the container."]),
        ({"port": 80.5}, [".port: 80.5 is not a whole number."]),
        ({"port": [80]}, [".port: is a list and not a whole number."]),
        ({"port": True}, [".port: True is not a whole number."]),
        ({"port": ""}, [".port: '' is not a whole number."]),
        ({"port": "080"}, [".port: '080' is no number in plain digits. Write 80."]),
        ({"port": 80.0}, [".port: 80.0 is no number in plain digits. Write 80."]),
        ({"cpus": "one"}, [".cpus: 'one' is not a number."]),
        ({"cpus": True}, [".cpus: True is not a number."]),
        ({"cpus": "nan"}, [".cpus: 'nan' is not a number."]),
        ({"cpus": "inf"}, [".cpus: 'inf' is not a number."]),
        ({"cpus": float("inf")}, [".cpus: inf is not a number."]),
        # The specification reads false, and a template reads a text that is not empty.
        ({"hsts": "false"}, [".hsts: 'false' is not true or false. Write true or false without quotes."]),
        ({"hsts": "y"}, [".hsts: 'y' is not true or false."]),
        ({"hsts": 1}, [".hsts: 1 is not true or false."]),
        ({"kind": "env"}, [".kind: is 'env'. Use environment or file."]),
        ({"kind": False}, [".kind: is False. Use environment or file."]),
        # The specification would make a list of letters that nobody meant.
        ({"names": "a.test"}, [".names: is not a list. Write [a.test]."]),
        ({"names": "a, b: c"}, [".names: is not a list."]),
        ({"names": {"a": 1}}, [".names: is not a list."]),
        ({"names": 7}, [".names: is not a list. Write [7]."]),
        ({"names": ["a", None]}, [".names[1]: is empty."]),
        ({"names": ["a", ["b"]]}, [".names[1]: is a list and no text."]),
        ({"numbers": [1, "x"]}, [".numbers[1]: 'x' is not a whole number."]),
        ({"environment": ["A=canary"]}, [".environment: is not a mapping. Variables: {PORT: 8080}. More."]),
        ({"environment": "A=canary"}, [".environment: is not a mapping."]),
        ({"build": "/src"}, [".build: is not a mapping."]),
        ({"build": {}}, [".build.context: is not set."]),
        ({"build": {"contxt": "/src"}}, [".build.contxt: is not a key of build. Did you mean context?", ".build.context: is not set."]),
        ({"build": {"context": "/src", "args": []}}, [".build.args: is not a mapping."]),
        ({"locations": ["/x"]}, [".locations[0]: is not a mapping."]),
        ({"locations": [{"path": "/"}, {"stream": "no"}]}, [".locations[1].path: is not set. A path.", ".locations[1].stream: 'no' is"]),
        ({"locations": [{"path": "/", "pth": 1}]}, [".locations[0].pth: is not a key of a location. Did you mean path?"]),
        ({"locations": {"path": "/"}}, [".locations: is not a list."]),
    ],
)  # fmt: skip
def test_keys(keys: dict[Any, Any], expected: list[str]) -> None:
    problems = found({"name": "web", **keys})
    starts = [f"x.web{start}" for start in expected]
    assert [problem[: len(start)] for problem, start in zip_longest(problems, starts, fillvalue="")] == starts
    assert "canary" not in "".join(problems)


@pytest.mark.parametrize("value", ["web", None, ["web"], 1])
def test_what_is_no_mapping_has_no_keys(value: Any) -> None:
    assert found(value) == ["x.web: is not a mapping. It needs name."]
    assert spec.judge("x.web", value, {"port": {"type": "int"}}, "a service") == ["x.web: is not a mapping."]


def test_what_is_judged_stays_as_it_is() -> None:
    value = {"name": "web", "port": "80", "locations": [{"path": "/"}]}
    before = repr((value, OPTIONS))
    assert found(value) == []
    assert repr((value, OPTIONS)) == before


def test_options_without_those_inside() -> None:
    assert spec.flat(OPTIONS)["locations"] == {"type": "list", "elements": "dict"}
    assert spec.flat(OPTIONS).keys() == OPTIONS.keys() and "options" in OPTIONS["locations"]
