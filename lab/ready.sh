#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A server that lab/ready describes, provisioned by site.yml and kept as an image and a volume (its /var/lib/docker). Servers of
# inventories that say `lab_ready: true` start from it: their own converge has names and addresses to change, nothing to install.
#
#   lab/ready.sh        makes it, unless it is there
#   lab/ready.sh key    what provisioned it, as a hash: another one as soon as a role, a plugin, a playbook or the lab changes
set -euo pipefail
cd "$(dirname "$0")/.."

key() {
  { find galaxy.yml requirements.txt site.yml roles plugins playbooks inventories/prod inventories/local lab \
      \( -path lab/state -o -path 'lab/rehears*' -o -path lab/images/standin \) -prune -o \( -type f -o -type l \) ! -name '*.md' ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum
    # It has the lab's secrets, so it goes when they go.
    for secret in postgres_password jwt_secret gemini_api_key; do sha256sum <"lab/state/secrets/$secret" 2>/dev/null || echo none; done
  } | sha256sum | cut -c1-16
}
there() { docker image inspect "kasaneha-lab/ready:$1" >/dev/null 2>&1 && docker volume inspect "kasaneha-lab-ready-$1" >/dev/null 2>&1; }
forget() { # the ones of this checkout before this one: nobody can ask for them again
  local tag
  docker image ls --quiet --no-trunc --filter "label=kasaneha.lab.checkout=$PWD" kasaneha-lab/ready | sort -u | xargs -r docker image rm --force >/dev/null
  for tag in $(docker volume ls --quiet --filter "label=kasaneha.lab.checkout=$PWD"); do docker volume rm --force "$tag" >/dev/null; done
}

[ "${1:-}" != key ] || { key; exit; }
! there "$(key)" || { echo "ready: kasaneha-lab/ready:$(key) is there"; exit; }
forget

server=kasaneha-lab-ready
LAB_KEEP=true ansible-playbook lab/destroy.yml -i lab/ready # what a killed run left
ansible-playbook lab/create.yml -i lab/ready --skip-tags lab_images
ansible-playbook site.yml -i lab/ready --check --diff # on a bare server all of it can be planned
ansible-playbook site.yml -i lab/ready
# Each server made from it has host keys of its own; a stop in order is what a reboot begins with.
docker exec "$server" sh -c 'rm -f /etc/ssh/ssh_host_*; rm -rf /tmp/* /var/tmp/*; journalctl --quiet --rotate; sync'
docker stop --time 60 "$server" >/dev/null
key=$(key) # site.yml has made the secrets, if there were none
docker volume create --label "kasaneha.lab.checkout=$PWD" "kasaneha-lab-ready-$key" >/dev/null
# SYS_ADMIN: without it cp leaves the attributes out by which overlay2 knows a replaced directory.
docker run --rm --cap-add SYS_ADMIN --entrypoint cp --volume "$server-docker:/from:ro" --volume "kasaneha-lab-ready-$key:/to" \
  kasaneha-lab/server:trixie -a /from/. /to/
docker commit --change "LABEL kasaneha.lab.checkout=$PWD" "$server" "kasaneha-lab/ready:$key" >/dev/null # last: the image says that all of it is there
LAB_KEEP=true ansible-playbook lab/destroy.yml -i lab/ready
echo "ready: kasaneha-lab/ready:$key"
