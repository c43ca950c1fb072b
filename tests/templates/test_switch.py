# SPDX-License-Identifier: GPL-3.0-or-later
"""What a switch of colour and maintenance need of the edge: who is let in, what is logged, the page, and the way back."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import traffic
from edge import (
    WITH_API,
    Directive,
    blocks,
    choose,
    http,
    located,
    log_format,
    parse,
    run_rewrites,
    servers,
    site,
    value,
    values,
    walk,
)
from render import render
from role import engine, role_tasks, template

LIVE = "/var/lib/kasaneha/edge/live"
OFFICE = {"nginx_maintenance_exempt": ["10.1.0.0/16", "fd00::/8"], "nginx_limit_exempt": ["10.2.0.0/16"]}

# --- who is let in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "exempt", "colour", "status", "retry_after"),
    [
        (["blue", "open-blue"], "0", "blue", "", ""),
        (["green", "open-green"], "0", "green", "", ""),
        (["green", "open-green"], "1", "green", "", ""),
        (["green", "maintenance"], "0", "", "503", "77"),
        (["green", "maintenance"], "1", "green", "", ""),  # who looks after it sees the site as it is
        (["maintenance"], "0", "", "503", "77"),
        (["maintenance"], "1", "", "503", "77"),  # there is nothing to see
        ([], "0", "", "503", "77"),
    ],
)
def test_who_gets_which_colour(names: list[str], exempt: str, colour: str, status: str, retry_after: str) -> None:
    overrides = {"nginx_maintenance_retry_after": 77}
    block = http(**overrides)
    for server in servers(**overrides):
        variables = {"$maintenance_exempt": exempt}
        assert run_rewrites(server, {f"{LIVE}/{name}" for name in names}, variables, block) == ""
        assert variables["$colour"] == colour
        for location in blocks(server, "location"):
            if values(location, "proxy_pass"):
                assert run_rewrites(location, (), variables) == status
        if status:
            assert value(block, "$retry_after", {"$status": status, **variables}) == retry_after


class Switching:
    """The state behind the link, which is switched after so many questions."""

    def __init__(self, before: str, after: str, questions: int) -> None:
        self.states, self.questions, self.asked = (before, after), questions, 0

    def __contains__(self, path: str) -> bool:
        self.asked += 1
        return path == f"{LIVE}/open-{self.states[self.asked > self.questions]}"


@pytest.mark.parametrize(("before", "after"), [("blue", "green"), ("green", "blue")])
@pytest.mark.parametrize("questions", range(5))
def test_a_request_during_a_switch_gets_one_of_both_colours(before: str, after: str, questions: int) -> None:
    block = http()
    for server in servers(**WITH_API):
        variables = {"$maintenance_exempt": "0"}
        live = Switching(before, after, questions)
        assert run_rewrites(server, live, variables, block) == ""
        # Blue, green, blue again, and no further than the answer.
        asked = [
            number for number, colour in enumerate(("blue", "green", "blue"), 1) if colour == live.states[number > questions]
        ]
        assert live.asked == asked[0]
        assert variables["$colour"] in (before, after)


@pytest.mark.parametrize("names", [["blue", "open-blue"], ["green", "open-green"], ["green"], []])
@pytest.mark.parametrize("exempt", ["0", "1"])
def test_the_rules_of_an_operator_are_reached_whatever_is_served(names: list[str], exempt: str) -> None:
    found = []
    for extra in ({}, {"extra": ""}, {"extra": "set $mine 1;"}, {"extra": "if ($arg_x) { set $mine 1; }\nset $mine 1;"}):
        block = http(nginx_sites=[site(**extra)])
        (server,) = servers(nginx_sites=[site(**extra)])
        variables = {"$maintenance_exempt": exempt}
        run_rewrites(server, {f"{LIVE}/{name}" for name in names}, variables, block)
        assert variables.pop("$mine", "") == ("1" if extra.get("extra") else "")
        assert ("break" in {inner.words[0] for directive in server for inner in directive.inside}) is not bool(extra.get("extra"))
        found.append(variables)
    assert found[0] and all(others == found[0] for others in found)


def test_a_switch_between_two_questions_would_be_noticed() -> None:
    once = parse(f"if (-f {LIVE}/open-blue) {{ set $colour blue; }} if (-f {LIVE}/open-green) {{ set $colour green; }}")
    variables = {"$colour": ""}
    run_rewrites(once, Switching("green", "blue", 1), variables)
    assert variables["$colour"] == ""


@pytest.mark.parametrize(
    ("status", "colour", "seconds"),
    [
        ("429", "", "1"),
        ("429", "blue", "1"),
        ("503", "green", "10"),
        ("503", "", "300"),
        ("502", "blue", ""),
        ("200", "green", ""),
        ("404", "", ""),
    ],
)
def test_when_to_come_again(status: str, colour: str, seconds: str) -> None:
    assert value(http(), "$retry_after", {"$status": status, "$colour": colour}) == seconds


@pytest.mark.parametrize(
    ("overrides", "address", "exempt"),
    [
        ({}, "127.0.0.1", "1"),
        ({}, "::1", "1"),
        ({}, "203.0.113.7", "0"),
        (OFFICE, "10.1.2.3", "1"),
        (OFFICE, "fd00::7", "1"),
        (OFFICE, "10.2.0.1", "0"),  # of the limits only
        (OFFICE, "127.0.0.1", "0"),
        ({"nginx_maintenance_exempt": []}, "127.0.0.1", "0"),
    ],
)
def test_who_is_let_in_during_maintenance(overrides: dict[str, Any], address: str, exempt: str) -> None:
    assert located(http(**overrides), "$maintenance_exempt", address) == exempt


@pytest.mark.parametrize(
    ("overrides", "address", "counted"),
    [
        ({}, "127.0.0.1", ""),  # the probes of a release
        ({}, "::1", ""),
        ({}, "203.0.113.7", "$client_network"),
        (OFFICE, "10.2.3.4", ""),
        (OFFICE, "10.1.0.1", "$client_network"),  # of the maintenance only
        (OFFICE, "127.0.0.1", "$client_network"),
        ({"nginx_limit_exempt": []}, "127.0.0.1", "$client_network"),
    ],
)
def test_whom_a_limit_counts(overrides: dict[str, Any], address: str, counted: str) -> None:
    block = http(**overrides)
    assert choose(block, "$limit_client", located(block, "$limit_exempt", address)) == counted
    # Every limit counts by this, directly or through its own choice of requests.
    keys = [words[0] for words in values(block, "limit_req_zone")]
    assert len(keys) == 2
    for key in keys:
        table = [words for words, _ in (blocks(block, "map", "$request_method:$uri", key) or [[]])[0]]
        assert [words[1] for words in table if words[0] != "default"] == ["$limit_client"] if table else key == "$limit_client"


def test_a_limit_that_counts_everybody_would_be_noticed() -> None:
    broken = parse("geo $limit_exempt { default 0; ::1 1; } map $limit_exempt $limit_client { default $binary_remote_addr; }")
    assert choose(broken, "$limit_client", located(broken, "$limit_exempt", "::1")) == "$binary_remote_addr"


# --- the log --------------------------------------------------------------------------------------------


def test_the_log_of_requests_is_one_json_object() -> None:
    line = log_format(http(), "main")
    found = json.loads(re.sub(r"\$\w+", "1", line))
    assert {"colour", "status", "upstream"} <= set(found)
    # Numbers may stand bare; what may be empty or a list stands in quotes.
    assert [key for key, value in found.items() if not isinstance(value, str)] == ["status", "bytes", "seconds"]


def test_the_watch_reads_what_the_edge_writes() -> None:
    said = {"$colour": "green", "$status": "200", "$upstream_addr": "10.0.0.4:1, 10.0.0.4:2"}
    line = re.sub(r"\$\w+", lambda found: said.get(found[0], "1"), log_format(http(), "main"))
    for blue, green, elsewhere in ((["10.0.0.4:1"], ["10.0.0.4:2"], 0), (["10.0.0.4:2"], ["10.0.0.4:1"], 1)):
        counted = traffic.count_requests(traffic.entries(line.encode()), "green", {"blue": blue, "green": green})
        assert counted == {"requests": 1, "errors": 0, "elsewhere": elsewhere}


def test_every_request_is_logged_and_soon() -> None:
    block = http(**WITH_API)
    assert values(block, "access_log") == [
        ["/var/log/nginx/access.log", "main", "buffer=64k", "flush=1s"]
    ]  # the watch looks each second
    found = servers(**WITH_API)
    assert len(found) == 2
    for server in found:
        logs = [directive.words[1:] for _, directive in walk(server) if directive.words[0] == "access_log"]
        assert logs == [["off"]] == values(blocks(server, "location", "=", "/health")[0], "access_log")  # the edge's own


# --- the page -------------------------------------------------------------------------------------------


def test_the_page_is_there_whatever_is_served() -> None:
    (task,) = [task for file, task in role_tasks("nginx") if file == "configure.yml" and "kasaneha.deploy.files" in task]
    written = [template(engine("nginx"), entry["path"]) for entry in task["kasaneha.deploy.files"]["files"]]
    for server in servers(**WITH_API):
        pages = {
            directive.words[2]: directive.inside
            for directive in server
            if directive.words[1:2] == ["="] and "/_" in directive.words[2]
        }
        assert set(pages) == {"/_unavailable.html", "/_413.html", "/_429.html"}
        for name, page in pages.items():
            internal, (_alias, path) = [directive.words for directive in page]
            assert internal == ["internal"] and path.endswith(f"/pages/{name.removeprefix('/_')}") and path in written


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.said: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if self.tags and data.strip():
            self.said[self.tags[-1]] = data.strip()


@pytest.mark.parametrize("said", ["Back in a moment", "今すぐ戻ります 🌊", "<script>alert(1)</script>", 'a & b "c"'])
def test_the_page_says_what_is_asked_for(said: str) -> None:
    page = Page(render("nginx", "page.html.j2", {"page": {"title": said, "text": f"{said}!"}}))
    assert page.said == {"title": said, "h1": said, "p": f"{said}!"}
    # The policy of the site lets no style or script of its own in, and nothing else is there to come from.
    assert set(page.tags) == {"html", "meta", "title", "h1", "p"}
    assert page.names == {"lang", "charset", "name", "content"}


# --- the way back ---------------------------------------------------------------------------------------


def unit(folder: str) -> configparser.ConfigParser:
    """The service that goes back."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(render("nginx", "revert.service.j2", {"nginx_state_dir": folder}))
    return parsed


def test_the_service_goes_back_only_if_nobody_confirmed_and_before_nginx_starts() -> None:
    found = unit("/var/lib/x/edge")
    assert found["Unit"]["ConditionPathIsSymbolicLink"] == "/var/lib/x/edge/uncommitted"
    assert found["Unit"]["RequiresMountsFor"] == "/var/lib/x/edge"
    assert found["Unit"]["Before"] == "nginx.service"
    assert (found["Service"]["Type"], found["Install"]["WantedBy"]) == ("oneshot", "multi-user.target")
    command = shlex.split(found["Service"]["ExecStart"])
    assert os.path.isabs(command[0])
    assert command[1:] == ["--no-target-directory", "/var/lib/x/edge/uncommitted", "/var/lib/x/edge/live"]


@pytest.mark.parametrize(("flags", "colour"), [(["--no-target-directory"], "blue"), ([], "")])
def test_the_service_does_what_the_engine_does(tmp_path: Path, flags: list[str], colour: str) -> None:
    (tmp_path / "states").mkdir()
    state.switch(tmp_path, "blue")
    state.arm(tmp_path)
    state.switch(tmp_path, "green")
    program, flag, *paths = shlex.split(unit(str(tmp_path))["Service"]["ExecStart"])
    assert [flag] == ["--no-target-directory"]
    subprocess.run([program, *flags, *paths], check=True)  # without the flag the link would land inside the state
    assert state.observe(tmp_path)["colour"] == colour


# --- sites ----------------------------------------------------------------------------------------------


def read_outside_of_servers(block: list[Directive]) -> set[str]:
    """Variables that maps, limits and log formats read."""
    found = set()
    for directive in block:
        if directive.words[0] in ("map", "log_format", "limit_req_zone"):
            words = [*directive.words[1:2], *(word for inner in directive.inside for word in inner.words[1:])]
            found |= set(re.findall(r"\$\w+", " ".join(directive.words[1:] if directive.words[0] == "log_format" else words)))
    return found


def test_what_a_map_or_a_log_reads_of_a_site_is_set_in_every_site() -> None:
    block = http(nginx_sites=[site(), site(name="other", names=["b.test"])])
    assert {"$colour"} <= read_outside_of_servers(block)
    found = [server for server in blocks(block, "server") if values(server, "ssl_certificate")]
    assert len(found) == 2
    for server in found:
        assert {words[0] for words in values(server, "set")} == {"$colour"}


def test_without_a_site_nothing_reads_what_only_a_site_sets() -> None:
    block = http(nginx_sites=[])  # nginx would refuse variables that it does not know
    assert "$colour" not in read_outside_of_servers(block)
    assert [words[0] for words in values(block, "log_format")] == ["main"]
    assert not {"$colour", "$retry_after", "release"} & {word for _, directive in walk(block) for word in directive.words}
