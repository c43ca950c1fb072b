# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's own decisions: what runs beside what, which steps a change touches, and that a killed run harms no later one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import steps
import suite
import yaml
from steps import Step

ROOT = Path(__file__).parent.parent.parent
FILES = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def plan(queue: list[Step], cores: float = 2, failing: tuple[str, ...] = ()) -> list[list[str]]:
    """Which steps run side by side, as one after the other ends, the one that started first ahead."""
    waiting, running, done, seen = list(queue), [], set(), []
    while waiting or running:
        while step := suite.next_step(waiting, running, done, cores):
            waiting.remove(step)
            running.append(step)
        seen.append([step.name for step in running])
        if not running:
            return seen
        ended = running.pop(0)
        if ended.name not in failing:
            done.add(ended.name)
    return seen


def test_steps_start_in_order_as_far_as_there_are_cores():
    queue = [Step("a", ""), Step("b", ""), Step("c", "", cores=0.5), Step("d", "")]
    assert plan(queue) == [["a", "b"], ["b", "c"], ["c", "d"], ["d"]]
    assert plan(queue, cores=1) == [["a"], ["b"], ["c"], ["d"]]


def test_what_is_wider_than_the_machine_runs_all_the_same():
    assert plan([Step("wide", "", cores=8)]) == [["wide"]]


def test_a_step_waits_for_what_it_needs_while_others_go_ahead():
    assert plan([Step("images", ""), Step("server", "", ("images",)), Step("lint", "")]) == [
        ["images", "lint"],
        ["lint", "server"],
        ["server"],
    ]
    assert plan([Step("images", ""), Step("server", "", ("images",))], failing=("images",)) == [["images"], []]


def test_what_measures_time_runs_last_and_by_itself():
    assert plan([Step("clock", "", alone=True), Step("a", ""), Step("b", "")]) == [["a", "b"], ["b"], ["clock"]]


def test_needs_are_defined_before_and_asked_for_with_a_step():
    order = list(steps.ALL)
    for step in steps.ALL.values():
        assert all(order.index(need) < order.index(step.name) for need in step.needs)
    assert [step.name for step in suite.with_needs(["release"])] == ["lab", "ready", "release"]
    assert [step.name for step in suite.with_needs(["lint", "unit"])] == ["unit", "lint"]


def test_every_scenario_is_a_step_and_asks_for_the_server_it_starts_from():
    scenarios = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert scenarios <= set(steps.ALL)
    for name in scenarios:
        texts = [file.read_text() for file in (ROOT / "molecule" / name / "inventory").rglob("*.yml")]
        assert ("ready" in steps.ALL[name].needs) == any("lab_ready: true" in text for text in texts), name


def test_a_scenario_that_goes_on_with_the_servers_of_another_names_the_same():
    """The one leaves them, the other begins with what is there and removes it; by itself it makes them."""
    assert "fleet" in steps.ALL["fleet_outages"].needs
    fleet, outages = (
        yaml.safe_load((ROOT / "molecule" / name / "inventory/hosts.yml").read_text()) for name in ("fleet", "fleet_outages")
    )
    assert fleet["all"]["children"]["fleet"] == outages["all"]["children"]["fleet"]
    first, second = (
        yaml.safe_load((ROOT / "molecule" / name / "molecule.yml").read_text())["scenario"]["test_sequence"]
        for name in ("fleet", "fleet_outages")
    )
    assert first[0] == second[-1] == "destroy" and "destroy" not in (*first[1:], *second[:-1])


def test_every_test_that_takes_long_has_a_step_that_runs_it():
    """Those on whole servers; the tests of a scenario are run by the step of its name, with LONG, beside the usual one."""
    checks = ROOT / "tests/testinfra"
    lists = {file.parent.name: file.read_text() for file in (ROOT / "molecule").glob("*/verify.yml")}
    for file in checks.glob("test_*.py"):
        if "mark.long" not in file.read_text():
            continue
        names = [name for name, text in lists.items() if file.name in text] or [file.stem.removeprefix("test_")]
        assert any(
            "export LONG=true" in steps.ALL[step].command
            for name in names
            for step in (name, f"long-{name}")
            if step in steps.ALL
        ), file.name


def test_two_scenarios_at_least_run_on_plain_ansible():
    assert sum("LAB_PLAIN=true" in step.command for step in steps.SUITE) >= 2


def known(path: str) -> bool:
    return any(re.match(pattern, path) for pattern, _ in steps.RULES)


def test_every_tracked_file_has_a_rule_and_an_unknown_one_touches_all():
    assert [path for path in FILES if not known(path)] == []
    assert not known("surprise/file.txt") and steps.affected(["surprise/file.txt"]) == list(steps.EVERY)


def test_rules_name_steps_and_each_is_used():
    for pattern, names in steps.RULES:
        matched = [path for path in FILES if re.match(pattern, path)]
        assert matched or "compare_tests" in pattern, pattern
        for path in matched:
            assert set(steps.touched(path)) <= set(steps.ALL), (path, names)


@pytest.mark.parametrize(
    ("path", "touched", "untouched"),
    [
        ("docs/edge.md", {"lint", "unit", "collection"}, {"edge", "release"}),
        ("roles/nginx/templates/site.conf.j2", {"edge", "release", "rehearse", "unit"}, {"operations"}),
        ("plugins/module_utils/backup/dump.py", {"backup", "containers"}, {"edge", "fleet"}),
        ("plugins/module_utils/io/statefile.py", {"release", "edge", "operations", "firewall"}, {"lab"}),
        ("tests/testinfra/test_fleet.py", {"fleet"}, {"release"}),
        ("molecule/edge/prepare.yml", {"edge"}, {"release"}),
        ("molecule/applications/reader/group_vars/all/app.yml", {"applications"}, {"release"}),
        ("tests/testinfra/test_applications.py", {"applications"}, {"release"}),
        ("lab/images/miniflux/Dockerfile", {"applications", "containers"}, {"release", "ready"}),
        ("playbooks/group_vars/all/fleet.yml", {"applications", "rehearse"}, {"lab"}),
        ("lab/rehearsal/plan.py", {"rehearse", "unit"}, {"ready", "release"}),
        ("inventories/prod/group_vars/all/main.yml", {"rehearse", "debian12"}, {"lab"}),
        ("tests/testinfra/test_default.py", {"rehearse"}, {"release"}),
        ("tests/testinfra/test_refusals.py", {"verify"}, {"release"}),
        ("tests/testinfra/test_variants.py", {"variants"}, {"release"}),
        ("playbooks/templates/new/app.yml.j2", {"newcomer"}, {"applications"}),
        ("plugins/module_utils/inventory/new.py", {"newcomer"}, {"applications"}),
        ("lab/images/server/Dockerfile", set(steps.EVERY), set()),
        ("requirements.txt", set(steps.EVERY), set()),
    ],
)
def test_a_change_touches_what_proves_it(path, touched, untouched):
    names = set(steps.affected([path]))
    assert touched <= names and not untouched & names


def test_the_end_of_a_log_says_what_failed(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "│ \x1b[31mfatal: [server]: FAILED!\x1b[0m =>\n│   msg: no\nfine\n" + "fine\n" * 9 + '  - "E   assert 1 == 2"\nfine\n'
    )
    found = suite.failure(log)
    assert "fatal: [server]: FAILED! =>" in found and "msg: no" in found and "E   assert 1 == 2" in found
    assert found.count("fine") < 8


def run_sh(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["tests/run.sh", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_unknown_step_is_refused_with_the_nearest_one():
    done = run_sh("relase")
    assert done.returncode == 2 and "no step 'relase', did you mean 'release'?" in done.stderr
    done = run_sh("affected", "no-such-commit")
    assert done.returncode == 1 and "knows no 'no-such-commit'" in done.stderr


HOLDER = """
import sys, time, subprocess
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import suite
suite.LOCK = Path(sys.argv[2])
lab = suite.Lab(); lab.take()
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
lab.note([suite.Running(None, child, 0, 0, (0, 0))])
print(child.pid, flush=True)
time.sleep(300)
"""


def hold(lock: Path) -> tuple[subprocess.Popen[str], int]:
    """A run that has the lab and one step under way; the step's process."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(ROOT / "tests"), str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_second_run_says_so_and_waits_and_a_killed_one_is_tidied_up(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    first, step = hold(lock)
    second = subprocess.Popen([sys.executable, "-c", HOLDER, str(ROOT / "tests"), str(lock)], stdout=subprocess.PIPE, text=True)
    assert second.stdout
    assert f"Another run (process {first.pid}, " in second.stdout.readline()
    assert suite.started(step)
    first.kill()
    first.wait()
    assert f"process group {step}" in second.stdout.readline()
    its_own = int(second.stdout.readline())
    assert not alive(step) and alive(its_own)
    second.kill()
    second.wait()
    suite.end(its_own)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_number_of_a_process_that_was_given_again_is_not_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "LOCK", tmp_path / "lock")
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    (tmp_path / "lock").write_text(json.dumps({"groups": {str(other.pid): "1"}}))
    suite.Lab().take()
    time.sleep(0.2)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_scenarios_that_create_servers_at_once_know_each_of_them(tmp_path):
    """Each has a key; one of them follows another server at its address, and those of others stay."""
    known = tmp_path / "known_hosts"
    known.write_text("198.51.100.7 ssh-ed25519 old\n198.51.100.70 ssh-ed25519 other\n")
    writers = [
        subprocess.Popen([ROOT / "lab/know.sh", known, f"198.51.100.{number}", f"ssh-ed25519 key{number}"])
        for number in range(1, 31)
    ]
    assert [writer.wait() for writer in writers] == [0] * 30
    lines = known.read_text().splitlines()
    assert sorted(lines) == sorted(
        ["198.51.100.70 ssh-ed25519 other", *(f"198.51.100.{number} ssh-ed25519 key{number}" for number in range(1, 31))]
    )
    again = subprocess.run(
        [ROOT / "lab/know.sh", known, "198.51.100.30", "ssh-ed25519 key30"], capture_output=True, text=True, check=True
    )
    assert not again.stdout and known.read_text().splitlines() == lines  # the second time changes nothing
