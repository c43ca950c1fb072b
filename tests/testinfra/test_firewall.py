# SPDX-License-Identifier: GPL-3.0-or-later
"""What is open is what the inventory names, seen by a neighbour who tries everything; and nobody is locked out."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from .neighbour import CONTAINERS6, LAB, Neighbour, run
from .playbook import INVENTORY, ROOT, play

SERVER = "molecule-firewall"
ROLE = "molecule/firewall/firewall.yml"
ASKED = {"preflight_roles": ["firewall", "docker"]}  # what the other roles say of their own variables is no matter here
OPEN = {22, 80, 443}  # the inventory: SSH, and what everybody may ask of an edge
CANARY, SPARE = 8099, 9191
# Ports that programs of the server and its containers listen on, and some that nobody does.
PORTS = sorted({*OPEN, CANARY, SPARE, 23, 111, 2375, 5432, 6379, 8000, 8080, 9100, 18080, 18081, 18180, 18181, 24224})
# Answers every datagram, so that an open UDP port can be told from a shut one.
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[1])))
while True:
    s.sendto(*s.recvfrom(9))
"""
CANARY6 = CONTAINERS6.replace("/64", "99")


@pytest.fixture(scope="module")
def neighbour(variables: dict) -> Iterator[Neighbour]:
    """Somebody on the same network."""
    somebody = Neighbour(variables["ansible_host"], "198.51.100.61")
    somebody.start()
    yield somebody
    somebody.stop()


@pytest.fixture(scope="module", autouse=True)
def canary(root: Callable[[str], str], neighbour: Neighbour) -> None:
    """A container published to everybody by mistake, of both families, and programs that listen to everybody."""
    root(f"cat >/root/echo.py <<'END'\n{ECHO}\nEND")
    image = "$(docker inspect --format '{{.Config.Image}}' kasaneha-backend-blue)"
    listen = f"--volume /root/echo.py:/echo.py:ro --entrypoint sh {image} -c 'python3 -m http.server 8000 --bind :: & exec python3 /echo.py 8000'"
    publish = " ".join(
        f"--publish {address}:{CANARY}:8000/{proto}" for address in ("0.0.0.0", "[::]") for proto in ("tcp", "udp")
    )
    root(
        f"docker network create --ipv6 --subnet {CONTAINERS6} canary && docker run --detach --name canary --no-healthcheck --restart always --network canary"
        f" --ip6 {CANARY6} {publish} --user 65534 {listen}"
    )
    listening(root)
    route_back(root, neighbour)


def listening(root: Callable[[str], str]) -> None:
    """Start the programs that listen to everybody."""
    root(f"systemd-run --unit=spare python3 -m http.server {SPARE} --bind :: --directory /usr/share/doc")
    root(f"systemd-run --unit=spare-udp python3 /root/echo.py {SPARE}")


def route_back(root: Callable[[str], str], neighbour: Neighbour) -> None:
    """The server answers the far address through the neighbour."""
    root(f"ip route replace {neighbour.far}/32 via {neighbour.source}")


def inside(root: Callable[[str], str]) -> list[str]:
    """Addresses that are nobody's business outside: of containers, and the loopback ports of this very server."""
    show = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    lines = root(f"docker inspect --format '{show}' kasaneha-backend-blue kasaneha-postgres kasaneha-redis canary").splitlines()
    ports = (8080, 5432, 6379, 8000)
    doors = [f"{address},{port}" for line, port in zip(lines, ports, strict=True) for address in line.split()]
    return [*doors, f"{CANARY6},8000", "127.0.0.1,18080", "127.0.0.1,18081"]


def assert_only_the_inventory_is_open(root: Callable[[str], str], neighbour: Neighbour, also: set[int] = frozenset()) -> None:
    """The same for both families, from next door and from far away; nothing behind the server."""
    wide = [
        f"{address},{port}"
        for address in (neighbour.server, neighbour.server6)
        for port in (*PORTS, f"{CANARY}/udp", f"{SPARE}/udp")
    ]
    expected = {f"{address},{port}" for address in (neighbour.server, neighbour.server6) for port in OPEN | also}
    root(f"ss -Hltn sport = :{SPARE} | grep . && ss -Hlun sport = :{SPARE} | grep .")  # there is something to be kept shut
    # One scan: were it blind, what should be open would be missing too.
    assert neighbour.knock(wide + inside(root)) == expected
    far = neighbour.knock([door for door in wide + inside(root) if door.count(":") == 0], source=neighbour.far)
    assert far == {door for door in expected if ":" not in door}


def healthy(root: Callable[[str], str]) -> None:
    """Wait until everything that should run does."""
    root("for i in $(seq 60); do ! docker ps --format '{{.Status}}' | grep -q -e starting -e unhealthy "
         "&& [ $(docker ps --quiet | wc -l) -ge 5 ] && exit 0; sleep 1; done; docker ps; exit 1")  # fmt: skip


def restart_server() -> None:
    """A reboot, as far as a container can have one."""
    run("docker", "restart", "--timeout", "30", f"{LAB}-{SERVER}")
    for _ in range(60):
        if (
            subprocess.run(
                ["ansible", "all", "-i", str(INVENTORY), "-m", "ping"], cwd=ROOT, capture_output=True, check=False
            ).returncode
            == 0
        ):
            return
        time.sleep(1)
    raise AssertionError("the server did not come back")


def status(root: Callable[[str], str]) -> str:
    """What UFW says of itself."""
    return root("ufw status verbose")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a run said, on one line: long messages are folded."""
    return " ".join(done.stdout.split())


def attempt(seconds: int) -> None:
    """Open a port and die before that is proven, as a laptop does."""
    rules = [
        {"name": name, "port": str(port), "proto": "tcp", "from": ["0.0.0.0/0", "::/0"]}
        for name, port in (("https", 443), ("spare", SPARE))
    ]
    arguments = json.dumps({"state": "tried", "ssh_ports": [22], "rules": rules, "rollback_seconds": seconds})
    command = ["ansible", "all", "-i", str(INVENTORY), "--become", "-m", "kasaneha.deploy.ufw_state", "-a", arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "unconfirmed: true" in done.stdout, done.stdout + done.stderr


def test_without_the_guard_the_neighbour_gets_in(root, neighbour):
    """The negative control: what stays shut below can be open, and the neighbour knows how to find it."""
    published = {f"{address},{port}" for address in (neighbour.server, neighbour.server6) for port in (CANARY, f"{CANARY}/udp")}
    spare = {f"{neighbour.server},{SPARE}", f"{neighbour.server},{SPARE}/udp"}
    root("nft delete table inet container_firewall; ufw --force disable")
    try:
        opened = neighbour.knock([*published, *spare, *inside(root)])
    finally:
        root("systemctl reload container-firewall; ufw --force enable")
    assert published | spare | {f"{CANARY6},8000"} <= opened
    assert "127.0.0.1,18080" in opened and any(door.endswith(",8080") for door in opened)


CHANGES = {
    "nothing": "true",
    "a reload of UFW": "ufw reload",
    "a restart of Docker": "systemctl restart docker",
    "new containers": "docker rm --force kasaneha-frontend-blue && docker compose --project-name kasaneha-blue --file /opt/kasaneha/blue/compose.yml up"
    " --detach --force-recreate 2>&1; docker restart canary",
    "UFW off and on": "ufw --force disable && ufw --force enable",
}


@pytest.mark.parametrize("change", CHANGES)
def test_open_is_what_the_inventory_names_after(change, root, neighbour):
    root(CHANGES[change])
    healthy(root)
    assert_only_the_inventory_is_open(root, neighbour)


def test_the_guard_alone_keeps_containers_shut(root, neighbour):
    root("ufw --force disable")
    try:
        assert neighbour.knock([f"{neighbour.server},{CANARY}", f"{neighbour.server6},{CANARY}", *inside(root)]) == set()
        assert neighbour.knock([f"{neighbour.server},{SPARE}"])  # UFW is off indeed
    finally:
        root("ufw --force enable")


def test_nothing_opens_during_a_reboot_and_an_unproven_change_is_gone_after_it(root, neighbour):
    attempt(600)
    assert f"{SPARE}/tcp" in status(root)
    doors = [f"{neighbour.server},{CANARY}", f"{neighbour.server6},{CANARY}", "127.0.0.1,18080", f"{CANARY6},8000"]
    watcher = neighbour.watch(doors)
    restart_server()
    root("for i in $(seq 60); do systemctl is-active docker && exit 0; sleep 1; done; exit 1")
    route_back(root, neighbour)
    healthy(root)
    assert neighbour.watched(watcher) == set()
    listening(root)
    assert f"{SPARE}/tcp" not in status(root)
    assert_only_the_inventory_is_open(root, neighbour)


def test_a_rule_opens_one_port_to_those_it_names_and_leaves_with_the_list(root, neighbour):
    rules = [
        {"name": "canary", "port": CANARY, "from": [neighbour.source, neighbour.source6], "container": True},
        {"name": "spare", "port": SPARE, "from": "any"},
        {"name": "spare-udp", "port": SPARE, "proto": "udp", "from": [neighbour.source]},
    ]
    done = play(ROLE, "--check", "--diff", firewall_extra_rules=rules)
    assert (
        f"+allow {SPARE}/tcp from anywhere  # kasaneha: spare" in done.stdout
        and f'proto-dst {CANARY} accept comment "canary"' in done.stdout
    )
    assert f"{SPARE}" not in status(root)
    done = play(ROLE, firewall_extra_rules=rules)
    assert done.returncode == 0, done.stdout
    doors = [f"{address},{port}" for address in (neighbour.server, neighbour.server6) for port in (CANARY, SPARE)]
    udp = f"{neighbour.server},{SPARE}/udp"
    assert neighbour.knock([*doors, udp, f"{CANARY6},8000"]) == {*doors, udp}
    near = [udp, *(door for door in doors if ":" not in door)]
    assert neighbour.knock(near, source=neighbour.far) == {f"{neighbour.server},{SPARE}"}
    root("ufw allow 7777/tcp comment mine")  # somebody else's
    done = play(ROLE)
    assert done.returncode == 0 and f"{SPARE}" not in status(root) and "7777/tcp" in status(root)
    assert_only_the_inventory_is_open(root, neighbour)


def test_what_others_changed_behind_its_back_is_put_right(root, neighbour):
    root(
        "sed -i s/^IPV6=yes/IPV6=no/ /etc/default/ufw; ufw reload; ufw default allow routed; iptables -D ufw-user-input -p tcp --dport 443 -j ACCEPT"
    )
    assert not neighbour.knock([f"{neighbour.server},443", f"{neighbour.server6},443"])
    assert "7777/tcp" in status(root)  # somebody else's, of the test before
    done = play("site.yml", "--tags", "firewall_service", firewall_purge_foreign=True)  # a phase alone
    assert done.returncode == 0 and "7777/tcp" not in status(root), done.stdout
    assert_only_the_inventory_is_open(root, neighbour)


def test_the_host_goes_back_by_itself_if_no_new_connection_comes_through(root):
    root("ufw --force disable; cp /etc/ufw/before.rules /root/before.rules")
    # Something that no rule of the inventory can see keeps SSH out as soon as UFW is on.
    root("sed -i 's/^COMMIT/-A ufw-before-input -p tcp --dport 22 -j DROP\\nCOMMIT/' /etc/ufw/before.rules")
    try:
        done = play(ROLE, firewall_rollback_seconds=12)
        assert done.returncode != 0 and "no new connection came through" in said(done) and "UFW is as it was" in said(done)
        assert "Status: inactive" in status(root)
        assert "dport 22 -j DROP" in root("cat /etc/ufw/before.rules") and not root("ls /var/lib/firewall").strip()
    finally:
        root("mv /root/before.rules /etc/ufw/before.rules; ufw --force enable")


@pytest.fixture(scope="module")
def enabled(root, neighbour, variables) -> tuple[subprocess.CompletedProcess[str], int, int]:
    """One run that switches UFW on and replaces the container firewall: what it said, how an open session ended, what came through it."""
    root("ufw --force disable")
    root(
        "nft add table inet firewall_guard; touch /etc/firewall/guard.nft /usr/local/sbin/firewall-guard"
    )  # of an earlier version
    key = [f"-i{variables['ansible_ssh_private_key_file']}", *variables["ansible_ssh_common_args"].split()]
    command = [
        "ssh",
        *key,
        "-oControlPath=none",
        f"debian@{neighbour.server}",
        "for i in $(seq 3000); do echo $i; sleep 0.1; [ -e /tmp/enough ] && exit 0; done",
    ]
    session = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    done = play(ROLE, firewall_container_backend="iptables")
    root("touch /tmp/enough")
    ticks = session.communicate(timeout=30)[0].split()
    root("rm /tmp/enough")
    return done, session.returncode, len(ticks)


def test_enabling_cuts_no_session_and_lets_new_ones_in(root, neighbour, enabled):
    done, ended, ticks = enabled
    assert done.returncode == 0, done.stdout
    assert ended == 0 and ticks > 10
    assert "Status: active" in status(root)
    assert_only_the_inventory_is_open(root, neighbour)


def test_the_guard_for_a_kernel_without_nftables(root, neighbour, enabled):
    assert "firewall" not in root("nft list tables")  # nor that of an earlier version
    assert "guard" not in root("ls /etc/firewall /usr/local/sbin /etc/systemd/system/docker.service.d")
    root("ufw --force disable; iptables -t mangle -D FORWARD -j container-firewall")
    try:
        assert neighbour.knock([f"{neighbour.server},{CANARY}"])  # the negative control
        root("systemctl reload container-firewall")
        assert not neighbour.knock([f"{neighbour.server},{CANARY}", *inside(root)])
    finally:
        root("ufw --force enable")


def test_a_run_that_died_is_undone_in_time_and_finished_by_the_next(root, neighbour, enabled):
    attempt(6)  # which sees that it is on; a look from here might come too late
    root(
        "for i in $(seq 120); do [ -d /var/lib/firewall/unconfirmed ] || [ -d /var/lib/firewall/undone ] || exit 0; sleep 1; done; exit 1"
    )
    assert f"{SPARE}/tcp" not in status(root) and "80/tcp" in status(root) and "Status: active" in status(root)
    attempt(600)
    assert play(ROLE).returncode == 0
    assert f"{SPARE}/tcp" not in status(root) and not root("ls /var/lib/firewall").strip()
    assert "inactive" in root("systemctl is-active firewall-rollback.timer || true")
    # The same run brings the rules of nftables back, and leaves nothing of the other one.
    assert "container-firewall" not in root("iptables-save -t mangle; ip6tables-save -t mangle")
    assert_only_the_inventory_is_open(root, neighbour)


def test_bad_input_is_refused_in_one_message(root):
    """Rules that are wrong in themselves are not compared with those of the host: that takes a run with good ones."""
    rules = [
        {"name": "one", "port": 9100, "from": "any"},
        {"name": "two", "port": 9100, "from": "10.0.0.9"},
        {"name": "three", "port": 99999, "from": "egde", "interface": "eth7"},
    ]
    root("ufw deny 443/tcp; systemctl enable nftables")
    try:
        before = root("ufw status verbose; nft --stateless list ruleset | md5sum; ls /var/lib/firewall")
        foreign = play("playbooks/preflight.yml", **ASKED, firewall_extra_rules=[{"name": "x", "port": 1, "from": "any"}])
        assert root("ufw status verbose; nft --stateless list ruleset | md5sum; ls /var/lib/firewall") == before
    finally:
        root("systemctl disable nftables; ufw --force delete deny 443/tcp")
    wrong = {"firewall_extra_rules": rules, "firewall_ssh_from": ["192.0.2.0/24"], "firewall_ssh_ports": [2222]}
    invalid = play("playbooks/preflight.yml", **ASKED, **wrong)
    for done, sentences in (
        (foreign, (
            "3 problem(s) to solve first; nothing was changed",
            "kasaneha: https: a foreign rule comes first, 'deny 443/tcp from anywhere'",
            "nftables.service: loads rules",
        )),
        (invalid, (
            "6 problem(s) to solve first; nothing was changed",
            "firewall_ssh_ports: nothing answers SSH on port 2222 of this host (it does on 22)",
            "firewall_rules[two]: 9100/tcp from 10.0.0.9 is allowed by firewall_rules[one]",
            "firewall_rules[three].port: 99999 is neither a port",
            "firewall_rules[three].from: 'egde' is no address",
            "firewall_rules[three].interface: this host has no 'eth7'",
            "firewall_ssh_from: you come from 198.51.100.1, which is not among them",
        )),
    ):  # fmt: skip
        for sentence in sentences:
            assert sentence in said(done), said(done)
        assert done.returncode != 0 and " changed=0 " in done.stdout
