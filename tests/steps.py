# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the suite: what each runs, what it needs, and which files can change its result. suite.py runs them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LINT = "ansible-lint && yamllint . && ruff check . && ruff format --check . && mypy && git ls-files '*.sh' .ci/run | xargs shellcheck"
PYTEST = "python -m pytest -q --durations=15 --durations-min=5"


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: how it is asked for and what its log is called.
        command: what the shell runs.
        needs: steps that must have ended well before.
        cores: how many of the machine's cores it keeps busy, roughly (a scenario waits a good part of its time); steps run side by
            side as far as there are cores.
        alone: it measures time, so nothing else runs beside it.
        lab: it uses the lab's servers, which one run of the suite at a time may do.
    """

    name: str
    command: str
    needs: tuple[str, ...] = ()
    cores: float = 1.0
    alone: bool = False
    lab: bool = True


def scenario(name: str, *needs: str, cores: float = 0.6, plain: bool = False, prefix: str = "") -> Step:
    """A molecule scenario, on plain Ansible or with Mitogen. Its images are there: the step lab made them."""
    command = f"{prefix}{'LAB_PLAIN=true ' if plain else ''}LAB_KEEP=true ANSIBLE_SKIP_TAGS=lab_images lab/mitogen.sh molecule test -s {name}"
    return Step(name, command, ("lab", *needs), cores)


# inventories/prod as it is shipped, on a throw-away server: its own steps, and testinfra's checks of the server that it made.
CHECKS = f"{PYTEST} --hosts=ansible://all --ansible-inventory=$REHEARSAL_INVENTORY tests/testinfra/test_default.py"
REHEARSE = (
    "LAB_KEEP=true ANSIBLE_SKIP_TAGS=lab_images python lab/rehearse.py inventories/prod"
    f" --after-verify '{CHECKS}' --after-reboot '{CHECKS} -m reboot'"
)

# In the order in which they start: what is waited for comes first, then what keeps whole cores busy, then what takes longest; scenarios, which
# wait a good part of their time, run three side by side. What has no servers is short enough to fill the end, when fewer scenarios are left.
SUITE = (
    Step("lab", "lab/mitogen.sh ansible-playbook lab/images.yml -i inventories/local -e lab_tests=true"),
    Step("ready", "lab/mitogen.sh lab/ready.sh", ("lab",)),
    Step("rehearse", REHEARSE, ("lab",)),
    Step("unit", "python -m pytest -q tests/unit tests/templates", lab=False),
    Step("containers", f'{PYTEST} -n 2 --dist loadfile -m "not long and not clock" tests/lab', ("lab",), cores=1.2),
    scenario("release", "ready"),
    scenario("operations", "ready"),
    scenario("fleet"),
    scenario("firewall", "ready", plain=True),
    scenario("fleet_outages", "fleet"),  # goes on with its servers
    scenario("interrupted", "ready"),
    scenario("edge"),
    scenario("applications"),
    scenario("newcomer"),
    scenario("variants", "ready"),
    scenario("logging", "ready"),
    scenario("backup", "ready"),
    scenario("debian12", plain=True),
    scenario("verify", "ready"),
    Step("collection", "tests/collection.sh", cores=0.8, lab=False),
    Step("lint", LINT, cores=0.8, lab=False),
    Step("clock", f'{PYTEST} -m "not long and clock" tests/lab', ("lab",), alone=True),
)
CLEANUP = Step("cleanup", "lab/mitogen.sh ansible-playbook lab/destroy.yml -i lab/ready")

# `make proof STEP=…`: an hour at most each. A benchmark writes a result of its own, of the others suite.py notes that they passed.
LONG = "export LONG=true; "
# What `new` writes for somebody, rehearsed as it stands.
NEW = (
    "rm -rf .cache/new && mkdir -p .cache/new && (export ANSIBLE_CONFIG=$PWD/ansible.cfg && cd .cache/new && ansible-playbook ../../playbooks/new.yml"
    " -i localhost, -e app_name=shop -e image=registry.example/shop:v1.0.0 -e domain=shop.example -e server=203.0.113.10 -e ssh_user=deploy"
    " -e health=/health -e postgres=true -e redis=true) && LAB_KEEP=true python lab/rehearse.py .cache/new/shop"
)
PROOF = (
    *(
        Step(f"bench-{name}", f"python benchmarks/{name}.py", ("lab",), alone=True)
        for name in ("converge", "deploy", "edge", "backup", "logs", "development")
    ),
    Step("bench-monitoring", "molecule converge -s operations && python benchmarks/monitoring.py", ("lab",), alone=True),
    Step("kills", "python benchmarks/kills.py", ("lab",), alone=True),
    Step("long-collection", "LONG=true tests/collection.sh", alone=True, lab=False),
    Step(
        "long-containers",
        f"{LONG}{PYTEST} -m long --ignore tests/lab/test_dev.py --ignore tests/lab/test_rehearsals.py tests/lab",
        ("lab",),
        alone=True,
    ),
    # The other inventories as they are shipped.
    Step("rehearse-staging", "LAB_KEEP=true python lab/rehearse.py inventories/staging", ("lab",), alone=True),
    Step("rehearse-fleet", "LAB_KEEP=true python lab/rehearse.py inventories/example-fleet", ("lab",), alone=True),
    Step("rehearse-new", NEW, ("lab",), alone=True),
    Step("long-rehearse", f"LAB_KEEP=true {PYTEST} -m long tests/lab/test_rehearsals.py -k 'not data'", ("lab",), alone=True),
    Step("rehearse-data", f"LAB_KEEP=true {PYTEST} -m long tests/lab/test_rehearsals.py -k data", ("lab",), alone=True),
    Step("development", f"{PYTEST} tests/lab/test_dev.py", ("lab",), alone=True),
    scenario("adopt", prefix=LONG),
    scenario("build", prefix=f"DOCKER_CONFIG=$(python tests/lab/developer.py) && export DOCKER_CONFIG && {LONG}"),
    *(
        Step(f"long-{step.name}", LONG + step.command, step.needs, alone=True)
        for step in SUITE
        if step.name
        in (
            "release",
            "interrupted",
            "operations",
            "logging",
            "backup",
            "edge",
            "fleet",
            "fleet_outages",
            "firewall",
            "verify",
            "variants",
        )
    ),
)
ALL = {step.name: step for step in (*SUITE, CLEANUP, *PROOF)}

EVERY = tuple(step.name for step in SUITE)
CODE = ("lint", "unit", "collection")
SCENARIOS = (
    "rehearse",  # none of molecule's, and a whole server like them
    "release",
    "interrupted",
    "fleet",
    "fleet_outages",
    "operations",
    "logging",
    "backup",
    "firewall",
    "verify",
    "edge",
    "debian12",
    "applications",
    "newcomer",
    "variants",
)
READY = (
    "release",
    "interrupted",
    "operations",
    "logging",
    "backup",
    "firewall",
    "verify",
    "variants",
)  # they start from the server that the step ready makes
RELEASE = ("release", "interrupted", "fleet", "fleet_outages", "rehearse", "applications")
# Pattern of a path from the top -> the steps that a change there can touch, besides CODE. The first that matches counts.
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(\.ci/|\.config/|ansible\.cfg|pyproject\.toml|requirements|lab/setup\.sh|lab/mitogen\.sh|tests/(run\.sh|suite\.py|steps\.py|conftest\.py))", EVERY),
    (r"(docs/|changelogs/|CHANGELOG|README|LICENSE|\.gitignore|\.yamllint|[^.]*\.md$|roles/[^/]+/README\.md)", ()),
    (r"(Makefile|galaxy\.yml|meta/|collections/)", ("variants",)),
    (r"benchmarks/", ()),
    (r"tests/(unit|templates)/|tests/(collection\.sh|config\.yml|compare_tests\.py)", ()),
    (r"tests/lab/test_rehearsals\.py|lab/images/standin|inventories/example-fleet/", ()),  # `make proof`
    (r"lab/rehears", ("rehearse",)),
    (r"tests/lab/", ("containers", "clock")),
    (r"tests/testinfra/test_default\.py", ("rehearse",)),
    (r"tests/testinfra/test_refusals\.py", ("verify",)),
    (r"tests/testinfra/test_(monitoring|outages|alerts|operations)\.py|tests/testinfra/receivers\.py", ("operations",)),
    (r"tests/testinfra/test_ready\.py", READY),
    (r"tests/testinfra/releases\.py", ("release", "interrupted")),
    (r"tests/testinfra/test_fleet_parts\.py", ("fleet_outages",)),
    (r"tests/testinfra/(test_)?fleet\.py|molecule/fleet/", ("fleet", "fleet_outages")),
    (r"tests/testinfra/load\.py", ("release", "interrupted", "fleet", "fleet_outages", "applications", "rehearse", "containers")),
    (r"tests/testinfra/test_(adopt|build)\.py", ()),  # `make proof`
    (r"tests/testinfra/(test_edge|edges)\.py", ("edge",)),
    (r"tests/testinfra/(knock|neighbour)\.py", ("firewall",)),
    (r"tests/testinfra/test_(\w+)\.py", ("\\1",)),
    (r"tests/(testinfra|callback)/", SCENARIOS),
    (r"molecule/(adopt|build)/", ()),
    (r"molecule/(\w+)/", ("\\1",)),
    (r"molecule/", SCENARIOS),
    (r"inventories/(dev|example)/", ()),
    (r"(inventories/|site\.yml)", tuple(name for name in SCENARIOS if name not in ("edge", "applications", "newcomer"))),
    (r"lab/(source|efk)", ()),
    (r"lab/demo\.yml", ()),
    (r"lab/images/(pages|miniflux)/", ("applications", "newcomer", "containers")),
    (r"lab/images/(load|acme)/", ("edge", "release", "interrupted", "fleet", "fleet_outages", "applications", "rehearse", "containers", "clock")),
    (r"lab/", EVERY),
    (r"roles/firewall/", ("firewall", "verify", "rehearse", "debian12", "logging")),
    (r"roles/docker/", ("rehearse", "debian12", "fleet", "fleet_outages", "firewall", "newcomer")),
    (r"roles/nginx/", ("rehearse", "edge", "release", "verify", "applications", "debian12", "containers", "clock")),
    (r"roles/certbot/", ("edge", "rehearse", "newcomer")),
    (r"roles/app/", ("rehearse", "variants", "release", "verify", "fleet", "fleet_outages", "debian12", "applications", "newcomer")),
    (r"roles/release/", RELEASE),
    (r"roles/backup/", ("operations", "backup", "release", "rehearse", "applications")),
    (r"roles/logging/", ("logging", "operations", "release", "rehearse", "applications")),
    (r"roles/monitoring/", ("operations", "release", "rehearse", "applications")),
    (r"playbooks/(adopt|tasks/adopt)", ("rehearse",)),
    (r"playbooks/certificates", ("edge", "rehearse")),
    (r"playbooks/(backup|restore|verify_backup)", ("backup", "rehearse", "applications")),
    (r"playbooks/(deploy|rollback|release|freeze|maintenance)", RELEASE),
    (r"playbooks/(new|templates/new/)", ("newcomer",)),
    (r"playbooks/", SCENARIOS),
    (r"plugins/(module_utils/adopt/|module_utils/release/(build|source)\.|\w+/(adopt|development|source)\w*\.)", ("rehearse", "variants")),
    (r"plugins/(module_utils/backup/|\w+/(backup|pg_)\w*\.)", ("backup", "containers", "clock")),
    (r"plugins/(module_utils/logs/|\w+/logs?_?\w*\.)", ("logging", "containers", "clock")),
    (r"plugins/(module_utils/(monitoring/|checks/monitoring)|\w+/(alert|grafana|monitoring|scrape)\w*\.)", ("operations",)),
    (r"plugins/(module_utils/(firewall/|checks/firewall)|\w+/(firewall|ufw|port_scan)\w*\.)", ("firewall", "verify", "rehearse", "debian12", "logging")),
    (r"plugins/(module_utils/(docker/registry|inventory/new)|\w+/(login_|needed_logins|new_(problems|description)|vault_encrypted))", ("newcomer",)),
    (r"plugins/(module_utils/edge/(acme|certificate\w*)|\w+/(acme|cert|issue|hsts|own_certificate)\w*\.)", ("edge", "rehearse")),
    (r"plugins/(module_utils/(release/|edge/state|io/http)|\w+/(blue_green|run_owner|new_record|release)\w*\.)",
     (*RELEASE, "edge", "containers", "clock")),
    (r"plugins/", tuple(name for name in EVERY if name not in ("lab", "ready"))),
)  # fmt: skip


def touched(path: str) -> tuple[str, ...]:
    """The steps that a change of this file can touch; all of them for a file that no rule knows."""
    for pattern, steps in RULES:
        if match := re.match(pattern, path):
            return (*CODE, *(match.expand(step) for step in steps))
    return EVERY


def affected(paths: Iterable[str]) -> list[str]:
    """The steps that a change of these files can touch, in the order in which the suite starts them."""
    names = {name for path in paths for name in touched(path)}
    return [name for name in EVERY if name in names]
