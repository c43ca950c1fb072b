# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import logging

GOOD: dict[str, Any] = {
    "backend": "journald", "host": "a", "server": "a", "server_address": "10.0.0.1", "hosts": ["a", "b"], "redact": [],
    "files": [{"path": "/var/log/x", "service": "x", "stream": "access"}], "max_mb": 1024, "server_max_mb": 4096, "keep_free_mb": 1024, "keep_days": 30,
    "burst_lines": 1, "burst_mb": 1, "burst_seconds": 1, "page_users": {"me": "$6$x$y"}, "page_address": "127.0.0.1", "min_memory_mb": 6000,
    "secrets": {}, "images": ["e:9.5.6", "k:9.5.6"], "memory_mb": 2000, "disk_mb": 20000,
}  # fmt: skip

PASSWORDS = dict.fromkeys(("elastic_password", "kibana_password", "fluentd_password", "kibana_encryption_key"), "x" * 32)
TIER = {"backend": "elasticsearch", "memory_mb": 8000, "secrets": PASSWORDS}


def role_problems(settings: dict[str, Any]) -> list[str]:
    """What is wrong with the settings on a server of this size."""
    return logging.problems(
        {
            "argument_errors": [],
            "cast_problems": [],
            "settings": settings,
            "signs": settings.get("signs", True),
            "memory_mb": settings["memory_mb"],
            "disk_mb": settings["disk_mb"],
        }
    )


def test_what_cannot_be_read_is_not_judged() -> None:
    facts = {"argument_errors": ["a"], "cast_problems": ["b"]}
    assert logging.problems(facts) == ["a", "b"]


def test_good_settings() -> None:
    assert role_problems(GOOD) == []
    assert role_problems({**GOOD, **TIER}) == []
    assert role_problems({**GOOD, "backend": "elasticsearch", "host": "b"}) == []  # the log server runs it
    assert role_problems({**GOOD, "server": "", "server_address": "", "hosts": []}) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"disk_mb": 6000},
            "logging_max_mb + logging_server_max_mb + logging_keep_free_mb: 6144 MB, the disk under /var/log has 6000 MB",
        ),
        (
            {"disk_mb": 2000, "server_max_mb": 0},
            "logging_max_mb + logging_keep_free_mb: 2048 MB, the disk under /var/log has 2000 MB",
        ),
        ({"max_mb": 1}, "logging_max_mb: 1 MB are too few"),
        ({"keep_days": 0}, "logging_keep_days: 0 keeps nothing"),
        ({"host": "b", "signs": False}, "logging_server: a, which signs the certificate of this host, is left out of this run"),
        ({"burst_lines": 0}, "logging_burst_lines: 0 keeps nothing"),
        ({"files": [{"path": "x"}]}, "logging_files[0]: needs path"),
        ({"redact": ["("]}, "logging_redact: '(' is no regular expression"),
        ({"page_users": {"me": "hunter22"}}, "logging_page_users.me: is no hash of a password"),
        ({"page_address": "0.0.0.0"}, "logging_page_address: '0.0.0.0' is not a loopback or private address"),
        ({"server": "c"}, "logging_server: 'c' is not among logging_hosts"),
        ({"server": ""}, "logging_server: several hosts log, and none of them is named that collects"),
        ({"host": "b", "server_address": ""}, "logging_server_address: is not set"),
        (
            {**TIER, "secrets": {**PASSWORDS, "kibana_password": "hunter22"}},
            "logging_elasticsearch_secrets.kibana_password: is not 32",
        ),
        ({**TIER, "images": ["e:9.5.6", "k:8.19.24"]}, "logging_kibana_image: is of version 8.19.24, Elasticsearch of 9.5.6"),
        (
            {**TIER, "memory_mb": 2000},
            "logging_backend: Elasticsearch and Kibana need 6000 MB of memory, this server has 2000 MB",
        ),
    ],
)
def test_bad_settings(changes: dict[str, Any], sentence: str) -> None:
    problems = role_problems({**GOOD, **changes})
    assert len(problems) == 1 and problems[0].startswith(sentence), problems
    assert "hunter22" not in problems[0]
