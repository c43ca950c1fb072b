# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Gemini: answers at once, offline, token by token, in the time it is given."""

import asyncio
import re
import textwrap
from collections.abc import AsyncIterator

from prometheus_client import Counter

REQUESTS = Counter("gemini_api_requests_total", "Requests to the Gemini API (here: to its stand-in)")


async def answer(text: str, seconds: float) -> AsyncIterator[str]:
    REQUESTS.inc()
    words = len(text.split())
    reply = (
        f"Thank you for your entry of {words} word{'' if words == 1 else 's'}. "
        f"You began with “{textwrap.shorten(text, 60, placeholder='…')}”. What made this moment worth keeping? "
        "(This answer comes from the example application's stand-in for Gemini.)"
    )
    tokens = re.findall(r"\S+\s*", reply)
    for token in tokens:
        await asyncio.sleep(seconds / len(tokens))
        yield token
