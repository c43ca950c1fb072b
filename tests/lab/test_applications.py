# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the applications of other people that the lab has, as the role app starts them."""

from __future__ import annotations

import hashlib
import re

from .boxes import HARDENED, TMP, until
from .test_images import postgres

RELEASES = ("v1.0.0", "v1.1.0")
# As the role app starts a service of which the inventory says neither user nor directories.
SERVICE = {"user": "10001:10001", "tmpfs": TMP, **HARDENED}


def config(lab, image: str) -> dict:
    return lab.client.images.get(image).attrs["Config"]


def test_pages_are_another_page_and_other_hashed_files_in_each_release(lab):
    found = {}
    for release in RELEASES:
        site = lab.start(f"kasaneha-lab/pages:{release}", ports={"80/tcp": ("127.0.0.1", None)}, **SERVICE)
        page = until("page", lambda site=site: site.get("/"), box=site).text
        assert f"This is release {release}." in page
        found[release] = {path: site.get(path).content for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)}
        for path, content in found[release].items():
            assert hashlib.sha256(content).hexdigest()[:8] == path.split(".")[1]
        assert site.get("/assets/style.00000000.css").status_code == 404  # the negative control
        asked = config(lab, f"kasaneha-lab/pages:{release}")
        assert not asked["Labels"] and not asked["Volumes"] and asked["User"] == "65534:65534"
    first, second = found.values()
    assert len(first) == len(second) == 3 and len(first.items() & second.items()) == 1


def test_miniflux_is_the_stock_one_and_says_what_the_role_asks(lab):
    network = lab.network()
    postgres(lab, environment={"POSTGRES_DB": "reader"}, network=network, aliases=["db"])
    environment = {
        "DATABASE_URL": "postgres://postgres:of-this-test@db/reader?sslmode=disable",
        "METRICS_COLLECTOR": "1", "METRICS_ALLOWED_NETWORKS": "172.16.0.0/12,192.168.0.0/16",
        "CREATE_ADMIN": "1", "ADMIN_USERNAME": "admin", "ADMIN_PASSWORD": "of-this-test",
    }  # fmt: skip
    options = {"network": network, "environment": environment, **SERVICE}
    image, other = (f"kasaneha-lab/miniflux:{release}" for release in RELEASES)

    early = lab.start(image, **options)
    assert early.ended() == 1 and "schema is not up to date" in early.said()
    migration = lab.start(image, ["miniflux", "-migrate"], **options)
    assert migration.ended() == 0, migration.said()
    reader = lab.start(image, ports={"8080/tcp": ("127.0.0.1", None)}, **options)
    reader.until("health", lambda: reader.get("/healthcheck").ok)
    assert reader.get("/healthcheck").text == "OK"
    assert "\nminiflux_users " in reader.get("/metrics").text
    assert reader.get("/v1/categories").status_code == 401
    assert reader.get("/v1/categories", auth=("admin", "of-this-test")).json()[0]["title"] == "All"
    closed = lab.start(image, ports={"8080/tcp": ("127.0.0.1", None)},
                       **{**options, "environment": {**environment, "METRICS_ALLOWED_NETWORKS": "127.0.0.1/32"}})  # fmt: skip
    closed.until("health", lambda: closed.get("/healthcheck").ok)
    assert closed.get("/metrics").status_code == 404

    # Every file that the package brought is as it came; those that are left out are named, so it was asked.
    named = reader.run("dpkg", "--verify", "miniflux")[1].splitlines()
    assert named and all(line.startswith("missing") and "/usr/share/" in line for line in named), named
    program = "/usr/bin/miniflux"
    sums = [box.run("sha256sum", program)[1] for box in (reader, lab.start(other, ["sleep", "60"], **options))]
    assert sums[0] == sums[1] and program in sums[0]
    for release in RELEASES:
        asked = config(lab, f"kasaneha-lab/miniflux:{release}")
        assert asked["Labels"] == {"org.opencontainers.image.version": release} and asked["User"] == "65534:65534"
    assert lab.client.images.get(image).id != lab.client.images.get(other).id
