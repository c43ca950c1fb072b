# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Take secrets out of a line of a log. Pure: text in, text out.

Two ways, both needed: the values that this server knows to be secret, wherever and however they appear, and what looks
like a secret. What a rule keeps of a line (the name of a password) helps to understand the line. JSON in a line is read as JSON: a
value of a secret name goes whole, a list or a mapping as well, and what was JSON stays JSON.
"""

from __future__ import annotations

import base64
import html
import ipaddress
import json
import math
import re
import string
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[redacted]"
BASE64 = string.ascii_letters + string.digits + "+/-_"
# Names of fields whose value is nobody's business. A count of tokens is none: `tokens` is left alone.
NAMES = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token(?!s)|jwt|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|client[_-]?secret|credentials?|authorization|proxy-authorization|x-api-key|x-goog-api-key|session[_-]?id"
    r"|set-cookie|cookie|csrf[a-z_-]*|otp|sig|signature"
)
# A value in quotes (perhaps escaped once more, as JSON within JSON is), or a word.
QUOTED = r"""(?P<quote>\\*["'])(?:(?!(?P=quote))(?:\\.|[^\\]))*(?:(?P=quote)|$)"""
WORD = r"""[^\s,;&"'<>)\]}\\]+"""
# Rule: words of which one must occur (in lower case; it is cheap to look for them), expression, what takes its place.
Rule = tuple[Sequence[str], "re.Pattern[str]", str]
RULES: tuple[Rule, ...] = (
    (
        ["private key"],
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
        ),
        "[redacted private key]",
    ),
    (["eyj"], re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){0,3}"), "[redacted jwt]"),
    # A header as it stands: everything up to the end of the line, because cookies have spaces between them.
    (
        ["cookie"],
        re.compile(r"""(?im)(?P<name>(?<![\w-])(?:set-)?cookie2?:[ \t]*)(?!\s*["'\\])[^\r\n"']+"""),
        rf"\g<name>{HIDDEN}",
    ),
    # The same of whatever scheme. Parameters of one may be in quotes; a quote that follows no = ends what the header stands in.
    (
        ["authorization"],
        re.compile(
            r"""(?i)(?P<name>(?<![\w-])(?:proxy-)?authorization[ \t]*(?::|=>)[ \t]*)(?!\s|\[redacted|\\*["'])"""
            r"""(?:\[[^\]\r\n]*\]|(?:=[ \t]*"[^"\r\n]*"|[^\r\n"'])+)"""
        ),
        rf"\g<name>{HIDDEN}",
    ),
    (
        ["authorization="],
        re.compile(
            r"""(?i)(?P<name>\bauthorization=)(?!\[redacted|\\*["'])(?:[a-z][\w-]{0,30}[ \t]+(?![\w.-]+=[^=\s]))?"""
            r"""[^\s,;&"'<>)\]}\\]+"""
        ),
        rf"\g<name>{HIDDEN}",
    ),
    (
        ["bearer", "basic", "digest", "negotiate", "ntlm", "apikey"],
        re.compile(
            r"(?i)\b(?P<name>bearer|basic|digest|negotiate|ntlm|apikey)(?P<gap>\s+)(?!\[redacted)[A-Za-z0-9+/._~=,\"-]{8,}"
        ),
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
        # Up to the last @: a password may hold one, or a slash, as it is. A port is no password.
        re.compile(
            r"(?i)(?P<name>\b[a-z][a-z0-9+.-]*://[^\s/:@\"'\[]{0,100}:)(?!\[redacted)(?!\d{1,5}(?:[/?#\s\"']|$))[^\s\"'<>]{1,1024}@"
        ),
        rf"\g<name>{HIDDEN}@",
    ),
    (
        ["code=", "key=", "auth=", "sid=", "session=", "ticket=", "pin="],
        re.compile(r"(?i)(?P<name>(?:[?&]|&amp;)(?:code|key|auth|sid|session|ticket|pin)=)(?!\[redacted)[^\s&\"'#<>\\]+"),
        rf"\g<name>{HIDDEN}",
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
WORDS = sorted({word for words, _expression, _instead in RULES for word in words})
# A name in JSON whose value is secret, whatever it is; and a name at the end of what stands before JSON.
NAME = re.compile(rf"(?i)[\w.-]{{0,40}}?(?:{NAMES}|cookies|secrets|passwords)(?:_?(?:hash|value))?")
NAMED = re.compile(rf"(?i)(?<![a-z])(?:{NAMES}|cookies|secrets|passwords)\\*[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}}\\*[\"']?\Z")
OBJECT = re.compile(r'\{\s*"|\A\s*\[')
OBJECTS = 50  # of one text that are looked at
ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)")


LINE = 16  # characters of a line that is hidden on its own; shorter ones occur elsewhere
ARMOUR = re.compile(r"-----(?:BEGIN|END) [A-Za-z0-9 ]+-----")


def values_of(text: str) -> set[str]:
    """What of a file with a secret is to be hidden: all of it, and where a line of a log may hold a part of it, the parts.

    Those are the lines of a key, and of JSON the values of secret names.
    """
    whole = text.strip()
    try:
        return {whole, *_named(json.loads(whole))}
    except (ValueError, RecursionError):
        lines = [line.strip() for line in whole.splitlines()]
        return {whole, *(line for line in lines if len(line) >= LINE and not ARMOUR.fullmatch(line))}


def _named(value: Any, name: str = "") -> set[str]:
    if isinstance(value, str):
        return values_of(value) if NAME.fullmatch(name) else set()
    if isinstance(value, list):
        return {found for entry in value for found in _named(entry, name)}
    if isinstance(value, dict):
        return {found for key, entry in value.items() for found in _named(entry, key)}
    return set()


class Redactor:
    """What to hide on this server."""

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = (), anonymous: bool = False) -> None:
        """
        :param secrets: values that are secret; those shorter than 8 characters are words that occur everywhere.
        :param patterns: further regular expressions; all that one finds is hidden.
        :param anonymous: shorten the addresses of clients to their network.
        """
        known = {value for value in secrets if len(value) >= 8}
        self.forms = sorted({form for value in known for form in _written(value)}, key=len, reverse=True)
        # Base64 says every byte in the letters around it as well: all of it goes.
        self.cores = sorted({core for value in known for core in _in_base64(value)})
        self.needles = [*self.forms, *self.cores]
        self.patterns = [re.compile(pattern) for pattern in patterns]
        self.anonymous = anonymous

    def redact(self, text: str) -> str:
        """The text without what is secret."""
        # Nearly every line ends here, and many come: what looks for words and values is written to cost little.
        known = "\\" in text or any(map(text.__contains__, self.needles))
        if known or any(map(text.lower().__contains__, WORDS)):
            text = self._read(text, known)
        for pattern in self.patterns:
            text = pattern.sub(HIDDEN, text)
        return ADDRESS.sub(_network, text) if self.anonymous else text

    def _read(self, text: str, known: bool) -> str:
        """Text, and JSON within it.

        :param known: whether a secret of this server may be in it.
        """
        parts: list[str] = []
        done = start = 0
        for _object in range(OBJECTS):
            found = OBJECT.search(text, start)
            if not found:
                break
            try:
                begin = found.end() - 1 if found[0].endswith("[") else found.start()
                value, end = DECODER.raw_decode(text, begin)
                hidden = self._value(value, known)
                raw, before = text[begin:end], text[done:begin]
                separators = (", ", ": ") if '": ' in raw or '", ' in raw else (",", ":")
                shown = raw if hidden == value else json.dumps(hidden, ensure_ascii=raw.isascii(), separators=separators)
            except (ValueError, RecursionError):  # no JSON, or nothing that anybody would read
                start = found.end()
                continue
            parts += [self._plain(before, known), HIDDEN if NAMED.search(before[-80:]) else shown]
            done = start = end
        return "".join([*parts, self._plain(text[done:], known)])

    def _value(self, value: Any, known: bool) -> Any:
        """A value of JSON without what is secret."""
        if isinstance(value, str):
            return self._read(value, known)
        if isinstance(value, list):
            return [self._value(entry, known) for entry in value]
        if isinstance(value, dict):
            return {
                self._known(name) if known else name: HIDDEN
                if NAME.fullmatch(name) and entry is not None and entry != "" and not isinstance(entry, bool)
                else self._value(entry, known)
                for name, entry in value.items()
            }
        return value

    def _plain(self, text: str, known: bool) -> str:
        """Text as it stands."""
        text = self._known(text) if known else text
        lower = text.lower()
        if not any(map(lower.__contains__, WORDS)):
            return text
        for words, expression, instead in RULES:
            if any(word in lower for word in words):
                text = expression.sub(instead, text)
        return text

    def _known(self, text: str) -> str:
        """The secrets of this server, in whatever way they are written."""
        for form in self.forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        for core in self.cores:
            before, found, after = text.partition(core)
            while found:
                text = f"{before.rstrip(BASE64)}{HIDDEN}{after.lstrip(f'{BASE64}=')}"
                before, found, after = text.partition(core)
        return text


def _number(text: str) -> float:
    """A number that can be written as JSON again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping; of one that has a name twice the rest would be lost, so it is read as text."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_number)


def _written(value: str) -> set[str]:
    """How programs write a secret: as it is, in JSON (and that in JSON), in a URL, in HTML, in hexadecimal digits."""
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    quoted |= {form.replace("/", "\\/") for form in quoted} | {json.dumps(form)[1:-1] for form in quoted}
    urls = {quote(value, safe=""), quote(value), quote_plus(value)}
    urls |= {re.sub("%..", lambda found: found[0].lower(), form) for form in urls}
    return {
        value,
        *quoted,
        *urls,
        html.escape(value),
        html.escape(value, quote=False),
        value.encode().hex(),
        value.encode().hex().upper(),
    }


def _in_base64(value: str) -> set[str]:
    """What a secret makes certain of a text in Base64 that has it in the middle, wherever its first byte falls."""
    raw = value.encode("utf-8", "surrogateescape")
    cores = set()
    for offset in range(3):
        first, bits = (offset * 8 + 5) // 6, (offset + len(raw)) * 8
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            cores.add(encode(b"\0" * offset + raw).decode()[first : bits // 6])
    return cores


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
