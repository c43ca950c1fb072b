# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Decisions of a release in two colours. Pure functions: what is known goes in, what to do and why comes out.

The *record* (see release_record.py) is the truth. A *run* (``run.json``) exists while a release is under way: it is the lock and
the journal in one. With its phase ``commit`` the record changes, and that is the point of no return. So whatever a
run leaves behind is put right in one way: every host is made to show what the record says. Before the commit that
undoes the run, after it that finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.options import strategy_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import hosts as release_hosts
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import images
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record

PHASES = ("prepare", "migrate", "start", "switch", "commit")


# --- what is to be done ---------------------------------------------------------------------------
def decide(
    hosts: Mapping[str, Mapping[str, Any]],
    record_host: str,
    app_hosts: Sequence[str] = (),
    wanted: Any = "",
    intent: str = "site",
    colours: Sequence[str] = ("blue", "green"),
    differs: bool = False,
    force: bool = False,
    owner_alive: bool | None = None,
) -> dict[str, Any]:
    """Decide what a run is to do, from what every host shows. Nothing is changed by deciding.

    :param hosts: host -> what ``blue_green_info`` found there.
    :param record_host: the host whose record and lock count.
    :param app_hosts: the hosts that run the application's containers.
    :param wanted: the release that is asked for, as the variable has it; for ``rollback`` empty means the newest good one before this.
    :param intent: ``site`` (the record wins over `wanted`), ``deploy`` or ``rollback``.
    :param differs: whether the containers that serve differ from what the inventory describes.
    :param force: go past a freeze, a bad mark (rollback), a release that was replaced, and release even if nothing differs.
    :param owner_alive: whether the owner of the run that is found lives; None when it ran on another machine.
    :returns: ``action`` (``install``, ``release``, ``reconfigure`` or ``none``), ``release``, ``colour`` and ``services``
        (images that are known by identity) to serve; ``from_release`` and ``from_colour`` that serve now, empty at first;
        ``back``, whether this is a way back; ``migrate``, whether its migrations run whatever its images are (see
        migrations.py); ``configure``, whether more than its Compose file is to be written; ``migrations``, what the record
        knows of the release's own; ``record`` that all this starts from; ``run`` (the verdict on a run that is found);
        ``fences``: the runs that may change hosts now; ``repair``: hosts that do not show what the record says, and why;
        ``lacking``: app hosts among them that must be brought to it, and ``behind``: those of them that have no files of it
        either; ``problems`` that forbid it and ``notes`` for the operator, both lists of sentences.
    """
    main = hosts[record_host]
    record, notes, problems = release_record.found_record(hosts, record_host)
    problems += images.release_name_problems(wanted, "release" if intent == "rollback" else "app_release")
    wanted = str(wanted or "")
    run = run_verdict(main.get("run"), float(main.get("now", 0)), owner_alive)
    if run["state"] == "held":
        problems.append(run["why"])
    elif run["state"] != "none":
        notes.append(run["why"])

    tell = release_hosts.copies_tell(hosts, record_host)
    lacking = [host for host in hosts if host in app_hosts and release_hosts.lacking(hosts[host], record, tell)]
    if intent != "site":
        problems += [
            f"{host} has no Docker yet. Run site.yml, which brings it to what serves, or leave it out: absent_hosts: [{host}]."
            for host in lacking
            if not hosts[host].get("engine", True)
        ]

    now_release, now_colour = record.get("release", ""), record.get("colour", "")
    release = wanted
    if intent == "rollback":
        problems += rollback_problems(record, wanted, main.get("freeze"), force)
        release = release_record.rollback_target(record, wanted)
    elif intent == "deploy":
        bad = record.get("bad", {}).get(wanted)
        if bad:
            notes.append(f"{wanted} failed on {bad.get('since')}; it is tried again.")
        problems += release_problems(record, wanted, main.get("freeze"), force)
    elif now_release:
        if wanted and wanted != now_release:
            notes.append(
                f"app_release is {wanted} in the inventory, and {now_release} was deployed on {record.get('since')}: "
                f"{now_release} stays. To change it: ansible-playbook playbooks/deploy.yml -e app_release={wanted}"
            )
        release = now_release

    if not now_release:
        action = "install"
    elif release != now_release:
        action = "release"
    elif differs or (force and intent == "deploy"):
        action = "reconfigure"
    else:
        action = "none"
    if intent == "site" and action == "reconfigure":
        frozen = frozen_problems(main.get("freeze"), force)
        if frozen:
            notes.append(f"What serves differs from the inventory, and stays as it is. {frozen[0]}")
            action = "none"
    colour = now_colour
    if action != "none":
        colour = next((colour for colour in colours if colour != now_colour), now_colour)
    return {
        "action": action,
        "release": release,
        "colour": colour,
        "from_release": now_release,
        "from_colour": now_colour,
        # Who forces a deploy wants what the registry has now, not what the same name stood for before.
        "services": {} if force and intent == "deploy" else dict(release_record.known(record, release).get("services", {})),
        "configure": action == "install" or differs,
        "back": intent == "rollback",
        "migrate": intent != "rollback" and action in ("install", "release"),
        "migrations": release_record.known(record, release).get("migrations", "none"),
        "record": record,
        "run": run,
        "fences": sorted({str(shown.get("fence", "")) for shown in hosts.values()} - {""}),
        "repair": {host: why for host in hosts if (why := astray(hosts[host], record, host in app_hosts, tell))},
        "lacking": lacking,
        "behind": [host for host in lacking if release_hosts.behind(hosts[host], record, tell)],
        "problems": problems,
        "notes": notes,
    }


def astray(shown: Mapping[str, Any], record: Mapping[str, Any], runs_app: bool, copies_tell: bool = True) -> str:
    """In what a host differs from the record; empty: in nothing. `copies_tell` as for `release_hosts.lacking`."""
    colour, edge, containers = record.get("colour", ""), shown.get("edge") or {}, shown.get("containers", [])
    found = []
    if edge.get("state") and edge.get("colour", "") != colour:
        found.append(f"its edge serves {edge.get('colour') or 'nothing'}, not {colour or 'nothing'}")
    if edge.get("uncommitted"):
        found.append("its edge waits for a commit that did not come")
    for other in sorted({str(entry["colour"]) for entry in containers if entry["running"]} - {colour}):
        found.append(f"containers of {other} run")
    found += release_hosts.lacking(shown, record, copies_tell) if runs_app else []
    copy = release_hosts.missing(shown, record) if copies_tell or not shown.get("record") else ""
    return "; ".join(found + ([copy] if copy and copy not in found else []))


def summary(plan: Mapping[str, Any]) -> list[str]:
    """The plan in lines for the operator."""
    lines = list(plan["notes"])
    lines += [f"{host}: {why}; it is put right." for host, why in plan["repair"].items()]
    release, colour, before = plan["release"], plan["colour"], f"{plan['from_release']} ({plan['from_colour']})"
    if not release:  # none could be found: the problems say why
        return lines
    if plan["action"] == "install":
        lines.append(f"Install {release} as {colour}.")
    elif plan["action"] == "release":
        lines.append(f"Release {release} as {colour}, in place of {before}, which stays for a way back.")
    elif plan["action"] == "reconfigure":
        lines.append(f"What serves differs from the inventory: {release} is started again as {colour}, in place of {before}.")
    if plan["action"] != "none":
        known = {name: image["image"] for name, image in plan["services"].items()}
        lines.append(
            f"Images: {', '.join(f'{name} {image}' for name, image in known.items()) or 'of this release, from app_image_source'}."
        )
        if plan["action"] == "reconfigure":
            lines.append("Its migrations run first if an image turns out to be another one than serves.")
        else:
            lines.append("Its migrations run first, in the new image." if plan["migrate"] else "No migration runs.")
    return lines


def status(
    hosts: Mapping[str, Mapping[str, Any]],
    record_host: str,
    app_hosts: Sequence[str] = (),
    owner_alive: bool | None = None,
    absent: Sequence[str] = (),
) -> list[str]:
    """What serves where, in the lines of one screen. Parameters as for `decide`; `absent` hosts were not asked.

    Without the host of the record, which may be dead, or left out by ``--limit``, what the others show is all that can be said.
    """
    if record_host not in hosts:
        told = [
            f"{record_host or 'No host'} keeps the record, and did not answer or was not asked: what is to serve is not known."
        ]
        return told + [line for host, shown in hosts.items() for line in _shown_lines(host, shown)]
    main = hosts[record_host]
    record, notes, problems = release_record.found_record(hosts, record_host)
    lines = [*notes, *problems]
    coming = {intent: decide(hosts, record_host, app_hosts, record.get("release", ""), intent, owner_alive=owner_alive)
              for intent in ("site", "deploy")}  # fmt: skip
    if record:
        lines.append(f"{record['release']} serves as {record['colour']} since {record['since']}")
        for name, image in record.get("services", {}).items():
            lines.append(f"  {name}: {image['image']} ({image.get('reference', 'its name is lost')})")
    elif not problems:
        lines.append("Nothing was deployed here yet.")
    for host, shown in hosts.items():
        lines += _shown_lines(host, shown)
        wrong = coming["site"]["repair"].get(host)
        if wrong:
            fixing = " or ".join(f"{intent}.yml" for intent, plan in coming.items() if not plan["problems"])
            fixed = f"the next {fixing} fixes it" if fixing else f"no run before this: {coming['site']['problems'][0]}"
            lines.append(f"{host}: NOT AS RECORDED: {wrong} ({fixed})")
    lines += [f"{host}: absent (absent_hosts): no release reaches it, and no request" for host in absent]
    run = run_verdict(main.get("run"), float(main.get("now", 0)), owner_alive)
    lines.append(f"lock: {run['why'] or 'free'}")
    lines += frozen_problems(main.get("freeze"))
    lines += [
        f"bad: {name} since {why.get('since')}: {''.join(str(why.get('reason')).splitlines()[:1])}"
        for name, why in record.get("bad", {}).items()
    ]
    for line in main.get("log", []):
        said = "".join(f": {text}" for text in str(line.get("message", "")).splitlines()[:1])
        lines.append(
            f"{line['until']} {line['action']} {line['from_release'] or '-'} -> {line['to_release']} {line['outcome']}, "
            f"{sum(line['seconds'].values()):.0f} s, {line['who']}{said}"
        )
    return lines


def _shown_lines(host: str, shown: Mapping[str, Any]) -> list[str]:
    """What a host serves and runs."""
    lines, edge = [], shown.get("edge") or {}
    if edge:
        kept = ", closed for maintenance" if edge.get("maintenance") and edge.get("colour") else ""
        lines.append(f"{host}: the edge serves {edge.get('colour') or 'nothing (maintenance)'}{kept}")
    for entry in shown.get("containers", []):
        health = f", {entry['health']}" if entry["running"] and entry["health"] else ""
        lines.append(f"{host}: {entry['name']} {entry['release']} {entry['state']}{health}")
    return lines


def failure_text(result: Mapping[str, Any]) -> str:
    """What a failed task has to say, as one text: of each failed item of a loop, else its own message and what it printed."""
    items = [item for item in result.get("results", []) if isinstance(item, Mapping) and item.get("failed")]
    if items:
        return "; ".join(failure_text(item) for item in items)
    parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr", "stdout") if result.get(key)]
    return (
        "\n".join(part for number, part in enumerate(parts) if part and part not in parts[:number]) or "it failed without a word"
    )


def release_problems(
    record: Mapping[str, Any], wanted: str, freeze: Mapping[str, Any] | None = None, force: bool = False
) -> list[str]:
    """What speaks against deploying a release; sentences with the way out."""
    problems = frozen_problems(freeze, force)
    if not wanted:
        problems.append("app_release: is not set. Name the release to deploy, e.g. -e app_release=v1.1.0.")
    past = [entry for entry in record.get("history", []) if entry.get("release") == wanted]
    if past and wanted != record.get("release") and not force:
        problems.append(
            f"app_release: {wanted} was replaced by {record.get('release')} on {past[0].get('until', 'an earlier day')}. "
            f"To go back use playbooks/rollback.yml -e release={wanted}; to deploy it all the same, -e force=true."
        )
    return problems


def frozen_problems(freeze: Mapping[str, Any] | None, force: bool = False) -> list[str]:
    """Whether somebody asked that nothing be released."""
    if not freeze or force:
        return []
    return [
        f"Releases are frozen since {freeze.get('since')} by {freeze.get('by')}: {freeze.get('message')} "
        "(playbooks/freeze.yml -e freeze=off ends it, -e force=true goes past it once)."
    ]


def rollback_problems(
    record: Mapping[str, Any], named: str = "", freeze: Mapping[str, Any] | None = None, force: bool = False
) -> list[str]:
    """What speaks against going back; sentences with the way out."""
    problems = frozen_problems(freeze, force)
    current, target = record.get("release", ""), release_record.rollback_target(record, named)
    known = [entry["release"] for entry in record.get("history", [])]
    if not current:
        return [*problems, "Nothing was deployed here yet: there is nothing to go back from."]
    if target == current:
        problems.append(f"release: {target} serves already. Known before it are: {', '.join(known) or 'none'}.")
    elif not target or target not in known:
        why = f"{named} is not known here" if named else f"no good one is known from before {current}"
        marks = [release_record.passed_over(record, entry) for entry in record.get("history", [])]
        known = [f"{name} ({mark})" if mark else name for name, mark in zip(known, marks)]
        problems.append(
            f"release: {why}. Known are: {', '.join(known) or 'none'}. "
            f"{'Name one of them with -e release=…; another one' if known else 'Another one'} is deployed with playbooks/deploy.yml -e app_release=…"
        )
    elif not force:
        bad = record.get("bad", {}).get(target)
        if bad:
            problems.append(
                f"release: {target} was marked bad on {bad.get('since')}: {bad.get('reason')} Choose another or use -e force=true."
            )
        newer = [record, *record["history"][: known.index(target)]]
        blocked = [entry for entry in newer if entry.get("migrations") == "needs_restore"]
        blocking = [
            str(entry["release"]) for entry in sorted(blocked, key=lambda entry: str(entry.get("since", "")), reverse=True)
        ]
        if blocking:
            problems.append(
                f"release: {target} cannot run on the schema of {', '.join(blocking)} (app_migrations.rollback: needs_restore). "
                f"Restore the backup that was taken before {blocking[-1]}, or use -e force=true if you know better."
            )
    return problems


# --- lock and journal -----------------------------------------------------------------------------
def run_verdict(run: Mapping[str, Any] | None, now: float, owner_alive: bool | None) -> dict[str, str]:
    """Judge a run that is found.

    :param now: seconds since the epoch, by the server's clock (as ``until`` is).
    :param owner_alive: whether the owner's process lives; None when it ran on another machine.
    :returns: ``state``: ``none``, ``held`` (leave it alone), ``undo`` or ``finish`` (its owner is gone), and ``why``.
    """
    if not run:
        return {"state": "none", "why": ""}
    owner, phase = run.get("owner", {}), run.get("phase", PHASES[0])
    who = f"{owner.get('user')} on {owner.get('host')} (process {owner.get('pid')}), since {run.get('since')}, phase {phase}"
    rest = float(run.get("until", 0)) - now
    if owner_alive or (owner_alive is None and rest > 0):
        ends = "its process is at work" if owner_alive else f"it counts as dead in {int(rest) + 1} s"
        return {"state": "held", "why": f"{run.get('to_release')} is being released by {who}; {ends}."}
    gone = "its process is gone" if owner_alive is False else "it said nothing within its time"
    todo = "finish" if phase in PHASES and PHASES.index(phase) >= PHASES.index("commit") else "undo"
    result = "finished" if todo == "finish" else "undone"
    return {"state": todo, "why": f"The release of {run.get('to_release')} by {who} was cut off ({gone}); it is {result}."}


def way_back(shown: Mapping[str, Any] | None, run_id: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What a run that failed may still do; the host that keeps the record was asked again.

    :param shown: ``run`` and ``record`` as they stand there now; empty: it does not answer.
    :param record: what the run meant to commit; empty: it had not come that far.
    :returns: ``way``: ``undo``, ``finish`` (its commit was written, whatever became of the answer) or ``leave`` (nothing more
        may be changed, not even back), and ``why``.
    """
    if not shown:
        if not record:
            return {"way": "undo", "why": ""}  # nobody else can have committed: who takes over fences every host first
        why = "Whether the new release was recorded is not known, because the host of the record does not answer."
        return {"way": "leave", "why": why}
    if shown.get("run", {}).get("id") != run_id:
        return {"way": "leave", "why": "This run lost its lock: another one took over."}
    written = shown.get("record", {})
    if record and all(written.get(key) == record.get(key) for key in ("release", "colour", "since")):
        return {"way": "finish", "why": "The new release was recorded before that: it stays."}
    return {"way": "undo", "why": ""}


# --- on which hosts, and how ----------------------------------------------------------------------
def scope_problems(
    needed: Sequence[str], play_hosts: Sequence[str], strategy: str, absent: Sequence[str] = (), intent: str = "site"
) -> list[str]:
    """Why a run over these hosts must not release: it is one transaction over all of them, step by step.

    :param needed: the hosts of the groups ``app`` and ``edge``.
    :param play_hosts: those that the run has to do with.
    :param strategy: by which Ansible takes them from task to task.
    :param absent: hosts that the inventory says are not there.
    :param intent: as for `decide`; ``site`` may leave the release out, by naming none of its hosts.
    """
    hosts = [host for host in dict.fromkeys(needed) if host not in absent]
    missing = [host for host in hosts if host not in play_hosts]
    if intent == "site" and len(missing) == len(hosts):
        return []
    problems = []
    if missing:
        other = ", or only other layers of these hosts, with --skip-tags app,nginx" if intent == "site" else ""
        problems.append(
            "--limit: a release is one step on all hosts of the groups app and edge, "
            f"and {', '.join(missing)} would be left out. Run it without --limit{other}."
        )
    return problems + strategy_problems(strategy)
