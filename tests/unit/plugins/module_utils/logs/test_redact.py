# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets leave a line; everything else stays."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import random
import re
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import Redactor, pattern_problems, values_of

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
    f"Authorization: Token {CANARY}",
    f"authorization: ApiKey {CANARY}",
    f"Proxy-Authorization: Negotiate {CANARY}",
    f'Authorization: Digest username="mio", response="{CANARY}", opaque="x"',
    f"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20261129, SignedHeaders=host, Signature={CANARY}",
    f"headers: map[Authorization:[Token {CANARY}] Accept:[*/*]]",
    f"level=info authorization=Token {CANARY} user=me",
    f"{{'Authorization': 'Token {CANARY}'}}",
    f'{{"cookie":["sid={CANARY}","theme=dark"]}}',
    f'{{"password":{{"value":"{CANARY}"}}}}',
    f'{{"secrets":["{CANARY}"],"cookies":{{"sid":"{CANARY}"}}}}',
    f'{{"request":{{"headers":{{"authorization":["Token {CANARY}"]}}}}}}',
    f'{{"pass\\u0077ord":"{CANARY}"}}',
    f'2026-11-29 INFO sent {{"token":{{"value":"{CANARY}"}},"n":1}} to mio',
    f'token: {{"value": "{CANARY}"}}',
    f"postgres://kasaneha:a/{CANARY}/b@postgres:5432/kasaneha_db",
    f"postgres://kasaneha:{CANARY}@more@postgres:5432/kasaneha_db",
    f"GET /callback?code={CANARY}&state=7 HTTP/1.1",
    f"GET /maps?v=3&key={CANARY}",
    f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{CANARY}\n-----END PGP PRIVATE KEY BLOCK-----",
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
    '{"message":"the token of 7 users","passenger":{"seats":[1,2]},"n":1.10,"x":[null,true,{}]}',
    "https://registry:5000/image@sha256:0123456789abcdef",
    "http://[::1]:8080/a@b and https://kasaneha.app:443/users/a@b.c",
    "exit code=1 and status code: 200",
    "authorization failed",
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


PEM = ["-----BEGIN KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQ", "EFAASCBKcwggSjAgEAAoIBAQC7", "c2hvcnQ=", "-----END KEY-----"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("one line\n", {"one line"}),
        ("  ", {""}),
        ("\r\n".join(PEM), {"\r\n".join(PEM), PEM[1], PEM[2]}),  # a line of a log has one of them; what is short occurs everywhere
        ('{"project": "a-name-that-occurs", "n": 1}', {'{"project": "a-name-that-occurs", "n": 1}'}),
        (
            '{\n "project": "a-name-that-occurs",\n "deep": [{"client_secret": "GOCSPX-1", "private_key": "a\\nMIIEvQIBADANBgkqhkiG9w0BAQ"}]\n}\n',
            {
                '{\n "project": "a-name-that-occurs",\n "deep": [{"client_secret": "GOCSPX-1", "private_key": "a\\nMIIEvQIBADANBgkqhkiG9w0BAQ"}]\n}',
                "GOCSPX-1", "a\nMIIEvQIBADANBgkqhkiG9w0BAQ", "MIIEvQIBADANBgkqhkiG9w0BAQ",
            },
        ),
        ("[" * 5000, {"[" * 5000}),
    ],
)  # fmt: skip
def test_what_is_hidden_of_a_file(text: str, values: set[str]) -> None:
    assert values_of(text) == values


def test_of_a_secret_of_several_lines_each_is_hidden() -> None:
    redactor = Redactor(values_of("\n".join(PEM)))
    assert redactor.redact(f"loaded {PEM[1]}") == "loaded [redacted]"
    assert redactor.redact(json.dumps({"pem": "\n".join(PEM)})) == '{"pem": "[redacted]"}'
    assert redactor.redact(f"loaded {PEM[0]}") == f"loaded {PEM[0]}"


@pytest.mark.parametrize(("line", "shown"), [
    ('{"cookie":["a","b"],"user":"me"}', '{"cookie":"[redacted]","user":"me"}'),
    ('{"a": {"password": {"value": 7}}, "n": 1.5}', '{"a": {"password": "[redacted]"}, "n": 1.5}'),
    ("curl -H 'Authorization: Token abc' https://x.org/", "curl -H 'Authorization: [redacted]' https://x.org/"),
    ("authorization=Token abcdefgh user=me", "authorization=[redacted] user=me"),
    ("authorization=abcdefgh user=me", "authorization=[redacted] user=me"),
    ('said {"otp":123456} twice', 'said {"otp":"[redacted]"} twice'),
])  # fmt: skip
def test_what_was_json_stays_json_and_what_is_around_stays(line: str, shown: str) -> None:
    assert Redactor().redact(line) == shown


# --- properties ---------------------------------------------------------------------------------------------

LETTERS = "abcXYZ019 /+:@?&=%#'\"\\<>{}[],.-_~日é\n"


def word(dice: random.Random, least: int, most: int) -> str:
    return "".join(dice.choice(LETTERS) for _letter in range(dice.randint(least, most)))


def encodings(dice: random.Random, secret: str) -> dict[str, str]:
    """The ways in which a program may write a secret, alone or in the middle of something else."""
    before, after = word(dice, 0, 5), word(dice, 0, 5)
    raw, around = secret.encode(), (before + secret + after).encode()
    return {
        "plain": secret,
        "json": json.dumps(secret)[1:-1],
        "json in utf-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "json with \\/": json.dumps(secret)[1:-1].replace("/", "\\/"),
        "json in json": json.dumps(json.dumps(secret))[1:-1],
        "url": quote(secret, safe=""),
        "path": quote(secret),
        "form": quote_plus(secret),
        "url in small letters": re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        "html": html.escape(secret),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "base64": base64.b64encode(raw).decode(),
        "base64 within": base64.b64encode(around).decode(),
        "base64 for urls within": base64.urlsafe_b64encode(around).decode(),
        "base64 without =": base64.b64encode(around).decode().rstrip("="),
    }


def test_no_known_secret_survives_in_any_encoding() -> None:
    dice = random.Random(1)
    for _round in range(150):
        secret = word(dice, 8, 40).strip()
        if len(secret) < 8:
            continue
        redactor, other = Redactor([secret, word(dice, 8, 40)]), Redactor(["nothing-of-this"])
        for name, form in encodings(dice, secret).items():
            for line in (f"at <{form}> end", f"{form}", json.dumps({"message": f"said {form}", form: [form]}),
                         json.dumps({"m": json.dumps({"x": [form]}, ensure_ascii=False)})):  # fmt: skip
                shown = redactor.redact(line)
                assert "[redacted" in shown, (name, line, shown)
                seen = shown + "".join(strings(line, shown))
                assert form not in seen and secret not in seen, (name, line, shown)
        assert secret in other.redact(f"at <{secret}> end") or "redacted" in other.redact(secret)  # the negative control


def strings(line: str, shown: str) -> list[str]:
    """Every string of a line that was JSON, with what is JSON in it; that it still is, is the point."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, entry in value.items():
                found.append(key)
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)
        elif isinstance(value, str):
            found.append(value)
            with contextlib.suppress(ValueError):
                walk(json.loads(value))

    with contextlib.suppress(ValueError):
        json.loads(line)
        walk(json.loads(shown))
    return found


def value(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(7 if depth else 5)
    if kind < 5:
        return [None, dice.random() < 0.5, dice.randint(-(10**20), 10**20), dice.uniform(-1e9, 1e9), word(dice, 0, 30)][kind]
    if kind == 5:
        return [value(dice, depth - 1) for _entry in range(dice.randrange(4))]
    names = ["password", "x-api-key", "cookie", "Authorization", "message", "level", "max_tokens", "Token", word(dice, 1, 9)]
    return {dice.choice(names): value(dice, depth - 1) for _entry in range(dice.randrange(5))}


def test_valid_json_stays_valid_and_keeps_what_is_no_secret() -> None:
    dice, redactor = random.Random(2), Redactor(["a-known-secret"])
    changed = 0
    for _round in range(3000):
        line = {"message": "said a-known-secret" if dice.random() < 0.1 else word(dice, 0, 30), "data": value(dice, 4)}
        text = json.dumps(line, ensure_ascii=dice.random() < 0.5, separators=dice.choice([(",", ":"), (", ", ": ")]))
        shown = redactor.redact(text)
        changed += shown != text
        compare(line, json.loads(shown))
    assert changed > 300


def compare(before: Any, after: Any, name: str = "") -> None:
    """Values of secret names are gone; the rest is what it was, but for text in which something was hidden."""
    if name.lower() in ("password", "x-api-key", "cookie", "authorization", "token"):
        assert after == "[redacted]" or before is None or isinstance(before, bool) or before == ""
    elif isinstance(before, dict) and isinstance(after, dict):
        assert list(before) == list(after)
        for key in before:
            compare(before[key], after[key], key)
    elif isinstance(before, list) and isinstance(after, list):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            compare(one, other)
    else:
        assert before == after or (isinstance(after, str) and "[redacted" in after)


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
        "a://b:" * 9000,
        '{"a":' * 20000,
        '{"a":' * 400 + "1" + "}" * 400,
        '{"password":' * 5000 + "1" + "}" * 5000,
        "[" * 60000,
        'authorization:="' * 4000,
        "A" * 60000 + base64.b64encode(b"secret-value").decode() + " " + "A" * 60000,
        json.dumps({str(number): '{"a' * 20 for number in range(1000)}),
    ):
        assert "secret-value" not in Redactor(["secret-value"], anonymous=True).redact(line)
    assert time.perf_counter() - began < 5
