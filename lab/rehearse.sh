#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# An inventory as it is shipped, on throw-away servers: site.yml for the first time, site.yml again, which must change nothing,
# and verify.yml. What stands in for the world outside: lab/rehearsal/standins.yml.
#
#   lab/rehearse.sh inventories/prod        REHEARSAL_KEEP=true leaves the servers there
set -euo pipefail
cd "$(dirname "$0")/.."
inventory=${1:?which inventory? lab/rehearse.sh inventories/prod}
hosts=$(ansible all -i "$inventory" --list-hosts | tail -n +2 | sort)
read -r first <<<"$hosts"
play() { lab/mitogen.sh ansible-playbook -i "$inventory" "$@"; }
with() { play -i "lab/state/$first.yml" -e @lab/rehearsal/standins.yml "$@"; } # of two inventories the last one wins

end() {
  [ -z "${REHEARSAL_KEEP:-}" ] || return 0
  play lab/rehearsal/destroy.yml
}

play lab/create.yml
trap end EXIT
with lab/rehearsal/prepare.yml
with site.yml
again=$(mktemp)
with site.yml | tee "$again"
for host in $hosts; do
  grep -Eq "^$host +: .*changed=0 .*failed=0 " "$again" || { echo "rehearsal: the second run of site.yml changed $host" >&2; exit 1; }
done
with playbooks/verify.yml
