#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs a command with Mitogen: one Python process per server answers all tasks, where Ansible starts one for each of them.
#
#   lab/mitogen.sh ansible-playbook site.yml -i inventories/prod
#
# With LAB_PLAIN=true in the environment it runs the command as it is: so the scenarios on plain Ansible do, all their playbooks.
set -euo pipefail
[ -z "${LAB_PLAIN:-}" ] || exec "$@"
ANSIBLE_STRATEGY_PLUGINS=$(dirname "$(realpath "$0")")/strategy
export ANSIBLE_STRATEGY_PLUGINS ANSIBLE_STRATEGY=mitogen_linear
export ANSIBLE_DEPRECATION_WARNINGS=false # Ansible means to drop such plugins one day, and says so in each run
export ANSIBLE_TIMEOUT=${ANSIBLE_TIMEOUT:-60} # seconds to connect; a machine that tests on all its cores may need more than the usual ten
exec "$@"
