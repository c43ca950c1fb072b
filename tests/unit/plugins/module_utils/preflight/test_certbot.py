# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of an authority, of another host and of one's own."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import certbot

MAIN = {"name": "main", "names": ["a.test"]}
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "certificates": [MAIN], "enabled": True, "email": "me@a.test",
    "directory": "https://acme.test/directory", "eab_kid": "", "eab_hmac_key": "", "receives": False, "issuer": "edge1",
    "issuer_address": "", "introduced": True, "own_certificates": [], "own_keys": [],
}  # fmt: skip
FOUND = {
    "not_after": "20300101000000Z",
    "public_key_fingerprints": {"sha256": "1"},
    "subject_alt_name": ["DNS:a.test"],
    "expired": False,
}
OWN: dict[str, Any] = {
    "enabled": False, "email": "", "own_certificates": [{"item": {"key": "main"}, **FOUND}],
    "own_keys": [{"item": {"key": "main"}, "public_key_fingerprints": {"sha256": "1"}}],
}  # fmt: skip
OTHER_KEY = [{"item": {"key": "main"}, "public_key_fingerprints": {"sha256": "2"}}]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"argument_errors": ["a"], "cast_problems": ["b"], "email": ""}, ["a", "b", "certbot_email: is not set"]),
        ({"receives": True}, ["certbot_issuer_address: is not set, and certificates come from edge1."]),
        ({"receives": True, "issuer_address": "10.0.0.1"}, []),
        (
            {"receives": True, "issuer_address": "10.0.0.1", "introduced": False},
            ["certbot_issuer: edge1, which lets this host fetch"],
        ),
        (OWN, []),
        ({**OWN, "own_keys": OTHER_KEY}, ["certbot_own_certificates.main: certificate and key do not match"]),
        ({**OWN, "own_certificates": [], "own_keys": []}, ["certbot_own_certificates.main: is not set"]),
        ({"own_keys": OTHER_KEY}, []),  # an authority is asked; nobody looks at one's own
    ],
)
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = certbot.problems({**GOOD, **changes})
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected
