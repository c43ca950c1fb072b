#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The test suite, in steps: tests/run.sh [step ...]; without arguments, all of them.
# Steps that need few cores run side by side; the last line counts what passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
mkdir -p .cache/logs
export MOLECULE_GLOB='molecule/*/molecule.yml' COLUMNS=160
quick=$([ -n "${LONG:-}" ] || echo "not long") # LONG=true, in `make proof`: what takes long, too
# The long ones first, so that none is left alone at the end; release and fleet, which both make a load, never beside each other.
scenarios=(default release operations edge fleet firewall debian12)

lint() { ansible-lint && yamllint . && ruff check . && ruff format --check . && mypy && git ls-files '*.sh' .ci/run | xargs shellcheck; }
unit() { python -m pytest -q tests/unit tests/templates; }
collection() { tests/collection.sh; }
lab() { lab/mitogen.sh ansible-playbook lab/images.yml -i inventories/local -e lab_tests=true; }
images() { python -m pytest -q -m "$quick" -n 2 --dist loadfile tests/lab; }
backups() { python -m pytest -q -m "$quick" tests/lab/test_{backup,backup_faults,backup_versions,servers}.py; } # all of tests/lab that has long proofs
development() { python -m pytest -q tests/lab/test_dev.py; }                                                    # in `make proof`
cleanup() { lab/mitogen.sh ansible-playbook lab/destroy.yml -i molecule/default/inventory; }
scenario() { # the images are there: the step lab made them
  [ "$1" != build ] || { DOCKER_CONFIG=$(python tests/lab/developer.py) && export DOCKER_CONFIG; } || return 1
  LAB_KEEP=true ANSIBLE_SKIP_TAGS=lab_images lab/mitogen.sh molecule test -s "$1"
}

passed=0 failed=0 failures=()
finish() { # step, exit code, seconds
  if [ "$2" -eq 0 ]; then passed=$((passed + 1)); printf '%-12s ok      %4d s\n' "$1" "$3"
  else failed=$((failed + 1)); failures+=("$1"); printf '%-12s FAILED  %4d s  (log: .cache/logs/%s.log)\n' "$1" "$3" "$1"; tail -n 60 ".cache/logs/$1.log"; fi
}
run() { # how many side by side, steps or scenarios
  local room=$1 step pid
  local -A names=() starts=()
  for step in "${@:2}" ''; do # the empty one waits for all
    while [ "${#names[@]}" -ge "$room" ] || { [ -z "$step" ] && [ "${#names[@]}" -gt 0 ]; }; do
      wait -n -p pid
      finish "${names[$pid]}" $? $((SECONDS - starts[$pid]))
      unset "names[$pid]"
    done
    [ -n "$step" ] || return 0
    if [ -d "molecule/$step" ]; then scenario "$step"; else "$step"; fi >".cache/logs/$step.log" 2>&1 </dev/null &
    names[$!]=$step starts[$!]=$SECONDS
  done
}

if [ $# -gt 0 ]; then
  for step in "$@"; do
    case $step in lint | unit | lab | collection | cleanup) ;; *) run 1 lab ;; esac
    if [ "$step" = molecule ]; then run 2 "${scenarios[@]}"; else run 1 "$step"; fi
  done
else
  run 4 lint unit lab collection
  run 2 "${scenarios[@]}"
  run 1 images # alone: it measures how long things take
  run 1 cleanup
fi
# Whoever reads only the end of a long log learns what it was.
for step in "${failures[@]}"; do
  printf '\n%s failed at:\n' "$step"
  # molecule frames what Ansible prints, and Ansible quotes what pytest does.
  sed -E 's/(\x1b|\\e)\[[0-9;]*m//g; s/^( |│)*//; s/^- ["'\'']?//' ".cache/logs/$step.log" |
    grep -E -A 4 '^(fatal:|failed:|FAILED |E  |\[ERROR\])|: error:' | cut -c1-400 | tail -n 40
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
