# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Take secrets out of a line of a log. Pure: text in, text out.

Two ways, both needed: the values that this server knows to be secret, wherever and however they appear, and what looks
like a secret. What a rule keeps of a line (the name of a password) helps to understand the line.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

HIDDEN = "[redacted]"
# Names of fields whose value is nobody's business. A count of tokens is none: `tokens` is left alone.
NAMES = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token(?!s)|jwt|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|client[_-]?secret|credentials?|authorization|proxy-authorization|x-api-key|x-goog-api-key|session[_-]?id"
    r"|cookie|set-cookie|csrf[a-z_-]*|otp|sig|signature"
)
# A value in quotes (perhaps escaped once more, as JSON within JSON is), or a word.
QUOTED = r"""(?P<quote>\\*["'])(?:(?!(?P=quote))(?:\\.|[^\\]))*(?:(?P=quote)|$)"""
WORD = r"""[^\s,;&"'<>)\]}\\]+"""
# Rule: words of which one must occur (in lower case; it is cheap to look for them), expression, what takes its place.
Rule = tuple[Sequence[str], "re.Pattern[str]", str]
RULES: tuple[Rule, ...] = (
    (
        ["private key"],
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "[redacted private key]",
    ),
    (["eyj"], re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){0,3}"), "[redacted jwt]"),
    # A header as it stands: everything up to the end of the line, because cookies have spaces between them.
    (
        ["cookie"],
        re.compile(r"""(?im)(?P<name>(?<![\w-])(?:set-)?cookie2?:[ \t]*)(?!\s*["'\\])[^\r\n"']+"""),
        rf"\g<name>{HIDDEN}",
    ),
    (
        ["bearer", "basic", "digest"],
        re.compile(r"(?i)\b(?P<name>bearer|basic|digest)(?P<gap>\s+)(?!\[redacted)[A-Za-z0-9+/._~=,\"-]{8,}"),
        rf"\g<name>\g<gap>{HIDDEN}",
    ),
    (
        [
            "pass",
            "pwd",
            "secret",
            "token",
            "jwt",
            "key",
            "credential",
            "authorization",
            "session",
            "cookie",
            "csrf",
            "otp",
            "sig",
        ],
        re.compile(
            rf"(?i)(?P<name>(?<![a-z])[\w.-]{{0,40}}?(?:{NAMES})(?:_?(?:hash|value))?\\*[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}})"
            rf"(?!(?:\\*[\"'])?(?:(?:bearer|basic|digest)\s+)?\[redacted|null\b|true\b|false\b|none\b)(?:{QUOTED}|{WORD})"
        ),
        rf"\g<name>\g<quote>{HIDDEN}\g<quote>",  # what was JSON stays JSON
    ),
    (
        ["password", "identified"],
        re.compile(r"(?i)\b(?P<name>(?:password|identified by)\s+)E?'(?:[^']|'')*(?:'|$)"),
        rf"\g<name>{HIDDEN}",
    ),
    (
        ["://"],
        re.compile(r"(?i)(?P<name>\b[a-z][a-z0-9+.-]*://[^\s/:@\"']{0,100}:)(?!\[redacted)[^\s/@\"']+@"),
        rf"\g<name>{HIDDEN}@",
    ),
    (
        [
            "aiza",
            "sk-",
            "sk_",
            "rk_",
            "ghp_",
            "gho_",
            "ghs_",
            "github_pat_",
            "glpat-",
            "akia",
            "asia",
            "xox",
            "ya29.",
            "age-secret-key-",
        ],
        re.compile(
            r"\b(?:AIza[\w-]{30,}|sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{10,}|gh[pos]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
            r"|A[KS]IA[0-9A-Z]{16}|xox[abeprs]-[\w-]{10,}|ya29\.[\w-]{20,}|AGE-SECRET-KEY-1[0-9A-Z]{50,})"
        ),
        "[redacted key]",
    ),
)
ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)")


class Redactor:
    """What to hide on this server."""

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = (), anonymous: bool = False) -> None:
        """
        :param secrets: values that are secret; those shorter than 8 characters are words that occur everywhere.
        :param patterns: further regular expressions; all that one finds is hidden.
        :param anonymous: shorten the addresses of clients to their network.
        """
        forms = {
            form for value in secrets if len(value) >= 8 for form in (value, quote(value, safe=""), quote(value), _in_json(value))
        }
        self.values = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None
        self.patterns = [re.compile(pattern) for pattern in patterns]
        self.anonymous = anonymous

    def redact(self, text: str) -> str:
        """The text without what is secret."""
        if self.values:
            text = self.values.sub(HIDDEN, text)
        lower = text.lower()
        for words, expression, instead in RULES:
            if any(word in lower for word in words):
                text = expression.sub(instead, text)
        for pattern in self.patterns:
            text = pattern.sub(HIDDEN, text)
        return ADDRESS.sub(_network, text) if self.anonymous else text


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _network(found: re.Match[str]) -> str:
    """The network of an address: enough to tell clients apart, too little to name one. Loopback and private ones say nothing."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]  # a time, a version
    if address.is_private or address.is_unspecified:
        return found[0]
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 48}", strict=False).network_address)


def pattern_problems(patterns: Iterable[str], variable: str) -> list[str]:
    """Patterns that are none."""
    problems = []
    for pattern in patterns:
        try:
            if re.compile(pattern).search(""):
                problems.append(
                    f"{variable}: {pattern!r} matches nothing at all as well, so it would hide every line. Make it narrower."
                )
        except (re.error, TypeError) as error:
            problems.append(f"{variable}: {pattern!r} is no regular expression: {error}.")
    return problems
