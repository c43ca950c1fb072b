# SPDX-License-Identifier: GPL-3.0-or-later
"""The example application's site keeps the contract of lab/app/README.md, in real containers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from .boxes import HARDENED, TMP, Box, Lab, until


class Page(HTMLParser):
    """What a strict Content-Security-Policy would stop, and which files the page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stopped: list[str] = []
        self.files: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.stopped += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.stopped.append(tag)
        self.files += [given[name] for name in ("src", "href") if tag in ("script", "link", "img") and name in given]


def site(lab: Lab, image: str = "frontend") -> Box:
    return lab.start(image, ports={"80/tcp": ("127.0.0.1", None)}, tmpfs=TMP, **HARDENED)


def test_the_site(lab):
    app = site(lab)
    home = until("the page", lambda: app.get("/"))
    assert home.ok and home.headers["X-Release"] == "v1.0.0" and home.headers["Cache-Control"] == "no-cache"
    for path, status in (("/", 200), ("/about", 200), ("/about/", 200), ("/nowhere", 404)):
        answer = app.get(path, allow_redirects=False)
        page = Page(answer.text)
        assert answer.status_code == status and answer.headers["X-Release"] == "v1.0.0"
        assert page.stopped == [] and page.files
        for file in page.files:
            assert file.startswith("/") and app.get(file).ok
    assert Page('<p onclick="x()" style="a:b"></p><script>1</script>').stopped == ["onclick", "style", "script"]

    [script] = [file for file in Page(home.text).files if file.endswith(".js")]
    assert re.fullmatch(r"/_astro/app\.[0-9a-f]{8}\.js", script)
    got = app.get(script)
    assert "immutable" in got.headers["Cache-Control"] and 'const API = "/api/v1";' in got.text
    assert "import.meta.env.PUBLIC_API_URL" not in got.text
    missing = app.get("/_astro/app.00000000.js")
    assert missing.status_code == 404 and "Cache-Control" not in missing.headers

    app.passes_its_own_check()
    assert app.run("id", "-u") == (0, "101")
    assert app.resident() <= 15
    request = json.loads([line for line in app.said().splitlines() if "/nowhere" in line][0])
    assert request["path"] == "/nowhere" and request["status"] == 404
    app.stop(timeout=10)
    assert app.ended(20) == 0


def test_each_release_of_the_site_has_other_file_names_and_its_own_api(lab):
    api = "https://api.example.org/api/v1"
    tag = lab.build("frontend", RELEASE="v9.9.9", PUBLIC_API_URL=api)
    old, new = site(lab), site(lab, tag)
    before = {file for file in Page(until("v1", lambda: old.get("/")).text).files if "_astro" in file}
    after = {file for file in Page(until("v9", lambda: new.get("/")).text).files if "_astro" in file}
    assert len(before) == len(after) == 2 and not before & after
    [script] = [file for file in after if file.endswith(".js")]
    assert f'const API = "{api}";' in new.get(script).text
    assert lab.client.images.get(tag).labels["org.opencontainers.image.version"] == "v9.9.9"
