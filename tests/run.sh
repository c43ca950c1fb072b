#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The test suite, in steps: tests/run.sh [step ...]; without arguments, all of them.
# Steps that need few cores run side by side; the last line counts what passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
mkdir -p .cache/logs
: >.cache/logs/scenarios
export MOLECULE_GLOB='molecule/*/molecule.yml' COLUMNS=160

lint() { ansible-lint && yamllint . && ruff check . && ruff format --check . && mypy && git ls-files '*.sh' .ci/run | xargs shellcheck; }
unit() { python -m pytest -q tests/unit tests/templates; }
collection() { tests/collection.sh; }
lab() { lab/mitogen.sh ansible-playbook lab/images.yml -i inventories/local -e lab_tests=true; }
quick=$([ -n "${LONG:-}" ] || echo "not long") # LONG=true, in `make proof`: what takes long, too
backups() { python -m pytest -q -m "$quick" tests/lab/test_{backup,backup_faults,backup_versions,servers}.py; } # all of tests/lab that has long proofs
images() { python -m pytest -q -m "$quick" -n 2 --dist loadfile tests/lab; }
scenarios() { # all of them, whatever becomes of one; the images are there: the step lab made them
  local code=0 said began
  for scenario in "$@"; do
    said=ok began=$SECONDS
    LAB_KEEP=true ANSIBLE_SKIP_TAGS=lab_images lab/mitogen.sh molecule test -s "$scenario" || { said=FAILED code=1; }
    printf '  %-10s %-6s  %4d s\n' "$scenario" "$said" $((SECONDS - began)) >>.cache/logs/scenarios
  done
  return "$code"
}
molecule() { scenarios default firewall edge debian12; }
releases() { scenarios release fleet operations; } # release and fleet one after the other: only one load at a time is possible
takeover() { scenarios adopt; } # in `make proof`
sources() { # in `make proof`: a developer's machine, and real builds of a site and of a backend
  python -m pytest -q tests/lab/test_dev.py || return 1
  DOCKER_CONFIG=$(python tests/lab/developer.py) scenarios build
}
cleanup() { lab/mitogen.sh ansible-playbook lab/destroy.yml -i molecule/default/inventory; }

passed=0 failed=0 failures=()
finish() { # step, exit code, seconds
  if [ "$2" -eq 0 ]; then passed=$((passed + 1)); printf '%-12s ok      %4d s\n' "$1" "$3"
  else failed=$((failed + 1)); failures+=("$1"); printf '%-12s FAILED  %4d s  (log: .cache/logs/%s.log)\n' "$1" "$3" "$1"; tail -n 60 ".cache/logs/$1.log"; fi
}
run() { # steps that run side by side
  local -A pids=() starts=()
  local step # the caller has one, too
  for step in "$@"; do
    ( "$step" ) >".cache/logs/$step.log" 2>&1 </dev/null & pids[$step]=$!; starts[$step]=$SECONDS
  done
  for step in "$@"; do wait "${pids[$step]}"; finish "$step" $? $((SECONDS - starts[$step])); done
}

if [ $# -gt 0 ]; then
  for step in "$@"; do
    case $step in images | backups | sources | takeover | molecule | releases) run lab ;; esac
    run "$step"
  done
else
  run lint unit lab collection
  run molecule releases
  run images # alone: it measures how long things take
  run cleanup
fi
cat .cache/logs/scenarios # what takes how long: CI has a limit
# Whoever reads only the end of a long log learns what it was.
for step in "${failures[@]}"; do
  printf '\n%s failed at:\n' "$step"
  # molecule frames what Ansible prints, and Ansible quotes what pytest does.
  sed -E 's/(\x1b|\\e)\[[0-9;]*m//g; s/^( |│)*//; s/^- ["'\'']?//' ".cache/logs/$step.log" |
    grep -E -A 4 '^(fatal:|failed:|FAILED |E  |\[ERROR\])|: error:' | cut -c1-400 | tail -n 40
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
