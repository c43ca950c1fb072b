#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes sure this machine has what the lab and the tests need: Docker, a Python environment, a few
# packages. Installs only what is missing and is safe to run twice.
#
#   lab/setup.sh        what `make demo` needs
#   lab/setup.sh dev    what `make test` needs as well
#   lab/setup.sh own    what servers of one's own and `make dev` need: Python alone, on Linux and macOS
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p .cache
exec 9>.cache/setup.lock
! command -v flock >/dev/null || flock 9 # two commands started side by side wait for each other

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

# --- packages ---------------------------------------------------------------------------------
missing=()
if [ "${1:-}" != own ]; then
  docker info >/dev/null 2>&1 || command -v dockerd >/dev/null || missing+=(docker.io)
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  command -v ssh >/dev/null || missing+=(openssh-client)
  command -v curl >/dev/null || missing+=(curl)
  command -v openssl >/dev/null || missing+=(openssl)
  # Base images are pulled where a registry answers; mmdebstrap makes them from signed packages where none does.
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
fi
# What backups are made with; their tests run on this machine.
if [ "${1:-}" = dev ]; then
  for program in zstd age rclone; do command -v "$program" >/dev/null || missing+=("$program"); done
fi

if [ "$(id -u)" -eq 0 ]; then as_root=(env); elif sudo -n true 2>/dev/null; then as_root=(sudo); else as_root=(); fi

if [ ${#missing[@]} -gt 0 ]; then
  [ ${#as_root[@]} -gt 0 ] || die "missing here: ${missing[*]}. Run 'apt-get install ${missing[*]}' as root, or run this as root."
  command -v apt-get >/dev/null || die "missing here: ${missing[*]}. This machine has no apt-get: install them its own way."
  say "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  # Debian 13 splits Docker's client off; --no-install-recommends would leave it out.
  [[ " ${missing[*]} " == *" docker.io "* ]] && apt-cache show docker-cli >/dev/null 2>&1 && missing+=(docker-cli)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >.cache/apt.log 2>&1 ||
    { tail -20 .cache/apt.log >&2; die "apt-get could not install ${missing[*]} (see .cache/apt.log)"; }
fi

# The programs that judge alerts, without the daemons that their packages would start.
tools=.cache/prometheus
if [ "${1:-}" = dev ] && [ ! -x "$tools/usr/bin/promtool" ] && command -v apt-get >/dev/null; then
  say "setup: promtool and amtool in $tools"
  mkdir -p "$tools"
  if (cd "$tools" && { [ ${#as_root[@]} -eq 0 ] || "${as_root[@]}" apt-get update -qq; } &&
    apt-get download -qq prometheus prometheus-alertmanager >/dev/null 2>&1 &&
    { ! apt-cache show promtool >/dev/null 2>&1 || apt-get download -qq promtool >/dev/null 2>&1; }); then
    for package in "$tools"/*.deb; do dpkg-deb --extract "$package" "$tools"; done
    find "$tools" ! -type d ! -path '*/bin/promtool' ! -path '*/bin/amtool' -delete # the rest is 200 MB
  else
    say "setup: they cannot be had here; the tests that need them are skipped"
  fi
fi

# --- Docker Engine ------------------------------------------------------------------------------
if [ "${1:-}" != own ] && ! docker info >/dev/null 2>&1; then
  [ ${#as_root[@]} -gt 0 ] || die "Docker does not answer and this user may not start it. Start Docker and add yourself to the group 'docker', or run this as root."
  say "setup: starting Docker"
  if [ -d /run/systemd/system ]; then
    "${as_root[@]}" systemctl start docker
  else
    # Without systemd the packaged init script fails (it wants to mount cgroups): start the daemon itself.
    "${as_root[@]}" sh -c 'setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &' 9>&-
  fi
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null 2>&1 || die "Docker did not start within 30 s; its log: $( [ -d /run/systemd/system ] && echo "journalctl -u docker" || echo /var/log/dockerd.log )"
fi

# --- Python environment -------------------------------------------------------------------------
file=requirements.txt
[ "${1:-}" = dev ] && file=requirements-dev.txt
stamp=.cache/venv-$(cat requirements.txt "$file" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16)
if [ ! -e "$stamp" ] || [ ! -x .venv/bin/ansible-playbook ]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is $(python3 -V); 3.11 or newer is needed."
  say "setup: Python environment in .venv ($file)"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r "$file"
  touch "$stamp"
fi
say "setup: ready in $root"
