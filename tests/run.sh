#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The test suite; without arguments, all of it.
#
#   tests/run.sh [step ...]          these steps, and what they need
#   tests/run.sh affected [commit]   the steps that what changed since then (HEAD) can touch; --list only names them
#   tests/run.sh proof [step ...]    the long proofs
cd "$(dirname "$0")/.." || exit 1
export PATH="$PWD/.venv/bin:$PATH" COLUMNS=160
unset ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_COLLECTIONS_PATH PYTHONPATH PYTHONDONTWRITEBYTECODE
exec python3 tests/suite.py "$@"
