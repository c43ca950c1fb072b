# SPDX-License-Identifier: GPL-3.0-or-later
"""A developer with a machine: a user who is not root, a checkout, sources, and `site.yml -i inventories/dev`."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "lab" / "source"
PORTS = {
    "dev_frontend_port": 24321,
    "dev_backend_port": 28080,
    "dev_pprof_port": 26060,
    "app_postgres_port": 25432,
    "app_redis_port": 26379,
}
# A network may read TLS by an authority of its own; whoever builds there has it among those of the system.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def plugins() -> Path:
    """Docker's configuration with Compose v2 and buildx, out of Debian 13's packages where this machine's Docker has none."""
    folder = ROOT / ".cache" / "docker"
    names = ["docker-compose", "docker-buildx"]
    if not all((folder / "cli-plugins" / name).exists() for name in names):
        (folder / "cli-plugins").mkdir(parents=True, exist_ok=True)
        script = (
            "cd /tmp && apt-get update -qq && apt-get download -qq docker-compose docker-buildx && for package in *.deb; do dpkg-deb -x $package .; done"
            f" && find . -path '*/cli-plugins/*' -type f -exec cp {{}} /out/ ';' && chown {os.getuid()} /out/*"
        )
        command = ["docker", "run", "--rm", "--volume", f"{folder}/cli-plugins:/out", "debian:trixie-slim", "sh", "-c", script]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """As an editor does: another file under the same name."""
    text = path.read_text()
    assert old in text
    owner = path.stat()
    fresh = path.with_suffix(".new")
    fresh.write_text(text.replace(old, new))
    subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", str(fresh)], check=True)
    fresh.rename(path)


class Developer:
    """Everything of the developer's goes with `away`, but for the layers of images that a next one builds upon."""

    def __init__(self, home: Path) -> None:
        self.app = f"kasaneha-dev-{secrets.token_hex(3)}"
        self.home, self.checkout = home, home / "checkout"
        self.frontend, self.backend = home / "frontend", home / "backend"
        self.user = self.app if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            subprocess.run(["useradd", "--no-create-home", "--home-dir", str(home), "--groups", "docker", self.user], check=True)
        shutil.copytree(SOURCES / "frontend", self.frontend)
        shutil.copytree(SOURCES / "backend", self.backend)
        self.checkout.mkdir()
        names = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        packed = subprocess.run(["tar", "c", "--null", "-T", "-"], cwd=ROOT, input=names, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x", "-C", str(self.checkout)], input=packed, check=True)
        shutil.copytree(plugins(), home / ".docker")
        subprocess.run(["chown", "-R", self.user, str(home)], check=True)
        for folder in (home, *home.parents):
            if folder.stat().st_uid == os.getuid() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o111)

    @property
    def variables(self) -> dict[str, Any]:
        """Where the sources are, and what else this machine is not the usual one in."""
        return {
            "app_name": self.app,
            "dev_frontend": str(self.frontend),
            "dev_backend": str(self.backend),
            "dev_backend_command": ["reload"],
            "dev_migrate_command": ["go", "run", "./cmd/api", "migrate", "up"],
            "app_postgres_image": "kasaneha-lab/postgres:15",
            "app_redis_image": "kasaneha-lab/redis:7",
            "app_build_secrets": {"ca": {"file": AUTHORITIES}},
            **PORTS,
        }

    def run(
        self, *command: str, groups: str = "--init-groups", stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout as the developer."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "USER": self.user,
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        python = sys.executable
        if os.getuid() == 0:
            command = ("setpriv", "--reuid", self.user, "--regid", self.user, groups, *command)
            # The environment of these tests may stand where only root comes in: the same Python elsewhere, with the same packages.
            probe = [*command[:6], "sh", "-c", f"{python} -c pass"]  # setpriv itself still has root's way in
            if subprocess.run(probe, capture_output=True, check=False).returncode:
                python = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
                variables["PATH"] = os.pathsep.join(part for part in os.get_exec_path() if not part.startswith(sys.prefix))
                variables["PYTHONPATH"] = next(path for path in sys.path if path.endswith("site-packages"))
        command = tuple(python if word == "PYTHON" else word for word in command)
        return subprocess.run(
            command, cwd=self.checkout, env={**variables, **environment}, capture_output=True, text=True, check=False, timeout=600, input=stdin
        )  # fmt: skip

    def site(
        self, *options: str, groups: str = "--init-groups", env: dict[str, str] | None = None, **changed: Any
    ) -> subprocess.CompletedProcess[str]:
        """`ansible-playbook site.yml -i inventories/dev`."""
        command = [
            "PYTHON",
            "-m",
            "ansible",
            "playbook",
            "site.yml",
            "-i",
            "inventories/dev",
            "-e",
            json.dumps({**self.variables, **changed}),
        ]
        return self.run(*command, *options, groups=groups, **(env or {}))

    def settings(self) -> None:
        """What `site` says on the command line, in the file for a developer's own settings."""
        own = self.checkout / "inventories/dev/group_vars/all/own.yml"
        own.write_text(json.dumps(self.variables))
        subprocess.run(["chown", self.user, str(own)], check=True)

    def make(self, target: str, stdin: str = "", within: int = 600) -> subprocess.CompletedProcess[str]:
        """One of the Makefile's commands; interrupted after so many seconds, as by Ctrl-C."""
        return self.run("timeout", "--signal=INT", str(within), "make", target, f"DEV={self.app}", stdin=stdin)

    def url(self, port: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{PORTS[port]}{path}"

    def page(self) -> str:
        return requests.get(self.url("dev_frontend_port"), timeout=10).text

    def greeting(self) -> str:
        return requests.get(self.url("dev_backend_port", "/api/v1/info"), timeout=10).json()["greeting"]

    def sql(self, statement: str) -> str:
        script = 'exec psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -Atqc "$1"'
        return self.run("docker", "exec", f"{self.app}-postgres", "sh", "-c", script, "sh", statement).stdout.strip()

    def started(self) -> str:
        """When each container began; another line means that one began again."""
        names = [f"{self.app}-{name}" for name in ("postgres", "redis", "backend", "frontend")]
        return self.run("docker", "inspect", "--format", "{{.Name}} {{.Id}} {{.State.StartedAt}}", *names).stdout

    def logs(self, service: str) -> str:
        done = self.run("docker", "logs", "--tail", "50", f"{self.app}-{service}")
        return done.stdout + done.stderr

    def away(self) -> None:
        self.make("dev-reset")
        self.run("docker", "image", "rm", "--force", f"{self.app}-dev/backend:dev", f"{self.app}-dev/frontend:dev")
        if os.getuid() == 0:
            subprocess.run(["userdel", self.user], check=True, capture_output=True)


if __name__ == "__main__":
    print(plugins())
