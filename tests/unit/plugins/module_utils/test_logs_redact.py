# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets leave a line; everything else stays."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils._logs_redact import Redactor, pattern_problems

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLWNhbmFyeQ"
CANARY = "c4n4ry-S3cret!"
SECRET = [
    f"Authorization: Bearer {JWT}",
    f"authorization: bearer {CANARY}-opaque",
    "Proxy-Authorization: Basic YzRuNHJ5LVMzY3JldCE6eA==",
    f"token={JWT}&x=1",
    f"GET /login?password={CANARY}&user=me",
    f"GET /x?api_key={CANARY}",
    f'{{"password":"{CANARY}","user":"me"}}',
    f'{{"message":"{{\\"password\\":\\"{CANARY} with more\\"}}"}}',
    f'{{"Authorization": "Bearer {CANARY}xyz"}}',
    f"{{'client_secret': '{CANARY}'}}",
    f"db_password: {CANARY}",
    f"GEMINI_API_KEY={CANARY}",
    f"JWT_SECRET => {CANARY}",
    f"Cookie: sid={CANARY}; theme=dark",
    f"set-cookie: session={CANARY}; Path=/; HttpOnly",
    f'{{"cookie":"a=1; sid={CANARY}"}}',
    f"postgres://kasaneha:{CANARY}@postgres:5432/kasaneha_db",
    f"redis://:{CANARY}@redis:6379",
    f"ALTER ROLE kasaneha PASSWORD '{CANARY}'",
    f"CREATE USER x WITH password 'it''s {CANARY}'",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
    f"X-Api-Key: {CANARY}",
    f"headers: map[Authorization:[Bearer {CANARY}-opaque]]".replace("!", ""),
]
HARMLESS = [
    "user logged in",
    '{"level":"info","message":"answered","tokens":512,"max_tokens":1024}',
    "passenger: 7 seats; passed: all",
    "the password was wrong",
    "token expired",
    '{"password":null,"cookie":false}',
    "12:34:56 GET /api/v1/sessions 200 0.012 https://kasaneha.app/?q=1",
    "日本語のログ行です",
    "basic auth is on",
    "keys: 5, monkey: banana",
    '{"uri":"/keyboard","session":7}',
    "signal 15 (SIGTERM) received",
]


@pytest.mark.parametrize("line", SECRET)
def test_what_looks_like_a_secret_is_hidden(line: str) -> None:
    shown = Redactor().redact(line)
    assert "c4n4ry" not in shown and "YzRuNHJ5" not in shown and "c2lnbmF0dXJl" not in shown, shown
    assert "redacted" in shown
    assert Redactor().redact(shown) == shown  # once is enough, and twice does no harm


@pytest.mark.parametrize("line", HARMLESS)
def test_the_rest_stays(line: str) -> None:
    assert Redactor().redact(line) == line


def test_what_is_around_a_secret_stays() -> None:
    assert Redactor().redact(f'{{"password":"{CANARY}","user":"me"}}') == '{"password":"[redacted]","user":"me"}'
    assert Redactor().redact(f"GET /x?token={CANARY}&page=2 HTTP/1.1") == "GET /x?token=[redacted]&page=2 HTTP/1.1"


@pytest.mark.parametrize("key", [
    "AIzaSyD-c4n4ry0123456789abcdefghijklmno", "sk-c4n4ry0123456789abcdef", "ghp_c4n4ry0123456789abcdefghijklmnopqrst",
    "AKIAIOSFODNN7EXAMPLE", "xoxb-123456789012-abcdef",
])  # fmt: skip
def test_keys_are_known_by_their_form(key: str) -> None:
    assert key not in Redactor().redact(f"calling with {key} now")


def test_the_secrets_of_this_server_are_hidden_in_every_form() -> None:
    secret = 'a/b+c"d$e日'
    redactor = Redactor([secret, "short"])
    for form in (secret, "a%2Fb%2Bc%22d%24e%E6%97%A5", json.dumps(secret)[1:-1]):
        assert redactor.redact(f"odd place <{form}> short") == "odd place <[redacted]> short"
    assert Redactor().redact(f"<{secret}>") == f"<{secret}>"  # the negative control


def test_patterns_of_ones_own() -> None:
    assert Redactor(patterns=[r"\b\d{4}-\d{4}-\d{4}\b"]).redact("card 1234-5678-9012 x") == "card [redacted] x"
    assert pattern_problems(["[", "x*", "ab+"], "logging_redact") == [
        "logging_redact: '[' is no regular expression: unterminated character set at position 0.",
        "logging_redact: 'x*' matches nothing at all as well, so it would hide every line. Make it narrower.",
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("client 8.8.4.77 asked", "client 8.8.4.0 asked"),
        ('"client":"2a00:1450:4001:810::200e"', '"client":"2a00:1450:4001::"'),
        ("10.0.0.7 and ::1 and 127.0.0.1", "10.0.0.7 and ::1 and 127.0.0.1"),
        ("at 12:34:56 version 1.2.3.4.5", "at 12:34:56 version 1.2.3.4.5"),
    ],
)
def test_addresses_become_networks_if_asked(line: str, shown: str) -> None:
    assert Redactor(anonymous=True).redact(line) == shown
    assert Redactor().redact(line) == line


def test_a_hostile_line_takes_no_long_time() -> None:
    began = time.perf_counter()
    for line in (
        "password" * 8000,
        "a" * 65536,
        "eyJ" + "a." * 30000,
        'token="' + "\\" * 60000,
        "cookie:" * 9000,
        ":" * 65536,
        "://a:" * 9000,
    ):
        Redactor(["secret-value"], anonymous=True).redact(line)
    assert time.perf_counter() - began < 5
