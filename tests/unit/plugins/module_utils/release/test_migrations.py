# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations follow what an image is, not what it is called."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import migrations

V1 = {"release": "v1", "colour": "green", "since": "2026-01-01T00:00:00Z", "services": {}, "migrations": "compatible"}
V2: dict[str, Any] = {
    "release": "v2", "colour": "blue", "since": "2026-02-01T00:00:00Z", "migrations": "compatible",
    "services": {"web": {"reference": "web:v2", "image": "web@sha256:2", "id": "sha256:2"}}, "history": [V1], "bad": {},
}  # fmt: skip
SCHEMA = {**V2, "migrations": "needs_restore"}


def decide(record: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """A decision about one host with this record."""
    return release_decide.decide({"one": {"record": record}}, "one", ["one"], **arguments)


@pytest.mark.parametrize(
    ("arguments", "images", "expected"),
    [
        ({"wanted": "v3", "intent": "deploy"}, {"web": {"id": "sha256:3"}}, True),
        ({"wanted": "v3", "intent": "deploy"}, V2["services"], True),  # a first release of it, whatever it is made of
        ({"wanted": "v2", "intent": "deploy", "force": True}, V2["services"], False),  # once more, and nothing else
        ({"wanted": "v2", "intent": "deploy", "force": True}, {"web": {"id": "sha256:moved"}}, True),
        ({"differs": True}, V2["services"], False),
        ({"differs": True}, {"web": {"id": "sha256:2"}, "cache": {"id": "sha256:new"}}, True),  # a service that is new
        ({"differs": True}, {"web": {"id": "sha256:pinned"}}, True),  # another tag of its own in the inventory
        ({"intent": "rollback"}, {"web": {"id": "sha256:1"}}, False),
    ],
)
def test_an_image_that_is_another_one_migrates(arguments: dict[str, Any], images: dict[str, Any], expected: bool) -> None:
    plan = decide(V2, **arguments)
    assert migrations.migrates(plan, images) is expected


@pytest.mark.parametrize(
    ("record", "arguments", "image", "declared", "expected"),
    [
        (V2, {"wanted": "v3", "intent": "deploy"}, "sha256:3", "needs_restore", "needs_restore"),
        (SCHEMA, {"wanted": "v3", "intent": "deploy"}, "sha256:3", "compatible", "compatible"),
        (SCHEMA, {"wanted": "v2", "intent": "deploy", "force": True}, "sha256:2", "compatible", "needs_restore"),
        # Another image under the name adds to what the first one did to the schema.
        (V2, {"wanted": "v2", "intent": "deploy", "force": True}, "sha256:moved", "needs_restore", "needs_restore"),
        (SCHEMA, {"wanted": "v2", "intent": "deploy", "force": True}, "sha256:moved", "compatible", "needs_restore"),
        (SCHEMA, {"intent": "rollback"}, "sha256:1", "needs_restore", "compatible"),
    ],
)
def test_what_the_record_says_of_a_schema(
    record: dict[str, Any], arguments: dict[str, Any], image: str, declared: str, expected: str
) -> None:
    plan = decide(record, **arguments)
    assert migrations.schema_after(plan, {"web": {"id": image}}, declared) == expected
