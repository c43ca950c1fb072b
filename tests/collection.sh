#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The collection as its users get it: builds the tarball, compares what is in it, runs ansible-test on it, and installs
# it elsewhere. ansible-test needs a folder ansible_collections/<namespace>/<name> without links: the extracted tarball.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
unset ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_COLLECTIONS_PATH
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export ANSIBLE_LOCAL_TEMP=$tmp/ansible ANSIBLE_NOCOLOR=1

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
die() { say "FAILED: $*" >&2; exit 1; }

# Everything that runs, its documents, its changelog, and the tests that ansible-test knows. No dot file, no cache.
belongs='^(README(\.ja)?\.md|LICENSE|CHANGELOG\.md|meta/.+|playbooks/.+|plugins/.+|roles/.+|tests/config\.yml'
belongs+='|changelogs/(config|changelog)\.yaml|changelogs/fragments/.+|docs/.+|inventories/example/.+'
belongs+='|tests/unit/(conftest\.py|plugins/.+)|tests/(integration|sanity)/.+)$'
dotted='(^|/)(\.|__pycache__)'

build() { # source folder, name -> the tarball's path
  mkdir -p "$tmp/$2"
  ansible-galaxy collection build "$1" --output-path "$tmp/$2" >"$tmp/$2.log" 2>&1 || { cat "$tmp/$2.log" >&2; return 1; }
  ls "$tmp/$2"/kasaneha-deploy-*.tar.gz
}
difference() { # tarball -> what is in it and should not be (>), and what should be and is not (<)
  (cd "$root" && git ls-files --cached --others --exclude-standard --deduplicate) |
    while read -r file; do [ ! -f "$root/$file" ] || printf '%s\n' "$file"; done |
    grep -E "$belongs" | grep -Ev "$dotted" | sort >"$tmp/expected"
  tar -tzf "$1" | grep -v '/$' | grep -Ev '^(MANIFEST|FILES)\.json$' | sort >"$tmp/actual"
  diff "$tmp/expected" "$tmp/actual" | grep '^[<>]' || true
}

# --- the list of files ------------------------------------------------------------------------------
tarball=$(build "$root" build)
found=$(difference "$tarball")
[ -z "$found" ] || die "the tarball's files (> too many, < missing; see build_ignore in galaxy.yml):"$'\n'"$found"
say "tarball: $(wc -l <"$tmp/actual") files, none too many, none missing"

# The same with a file that nobody ignored and one that was forgotten: both must be noticed.
mkdir -p "$tmp/defect/roles" && tar -xzf "$tarball" -C "$tmp/defect" && cp "$root/galaxy.yml" "$tmp/defect"
rm "$tmp/defect/LICENSE" && touch "$tmp/defect/stray.txt"
found=$(difference "$(build "$tmp/defect" defective)")
[ "$found" = $'< LICENSE\n> stray.txt' ] || die "a defective tarball was not noticed: $found"
say "tarball: a stray and a missing file are noticed"

# Its documents lead nowhere outside of it; one of them is missing in the defective one, which must be noticed.
rm "$tmp/defect/docs/inventory.md"
mkdir "$tmp/read" && tar -xzf "$tarball" -C "$tmp/read"
python "$root/tests/unit/documents.py" "$tmp/read" || die "dead links in the tarball's documents"
! python "$root/tests/unit/documents.py" "$tmp/defect" >"$tmp/links.log" || die "a dead link in the tarball was not noticed"
grep -q 'docs/README.md:.*inventory.md' "$tmp/links.log" || { cat "$tmp/links.log" >&2; die "the dead link is not named"; }
say "tarball: every link of its documents leads somewhere, and a dead one is noticed"

# --- ansible-test -----------------------------------------------------------------------------------
python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
deploy=$tmp/ansible_collections/kasaneha/deploy
mkdir -p "$deploy" && tar -xzf "$tarball" -C "$deploy"

# ansible-test makes an environment for each of its tests and downloads a script that puts pip into it. Python brings a pip
# of its own: this file stands where the downloaded script (for pip 24.2, says ansible-core 2.19) would be kept.
# A home folder of its own leaves the user's untouched; pip's settings stay the user's.
home=$root/.cache/ansible-test
mkdir -p "$home/.ansible/test/cache"
printf 'import ensurepip\nensurepip.bootstrap(default_pip=True)\n' >"$home/.ansible/test/cache/get_pip_24_2.py"
[ ! -d "${HOME:-/root}/.config" ] || ln -sfn "${HOME:-/root}/.config" "$home/.config"
ansible_test() { (cd "$deploy" && HOME=$home ansible-test "$@" --python "$python" --color no); }

command -v shellcheck >/dev/null || die "shellcheck is missing, and ansible-test would leave its test out (requirements-dev.txt has it)"
ansible_test sanity || die "ansible-test sanity"
say "ansible-test sanity passed"

# A module without documentation must not pass.
mkdir -p "$deploy/plugins/modules" && printf 'import os\n' >"$deploy/plugins/modules/undocumented.py"
if ansible_test sanity --test validate-modules plugins/modules/undocumented.py >"$tmp/sanity.log" 2>&1; then
  die "ansible-test sanity accepts a module without documentation"
fi
grep -q 'plugins/modules/undocumented.py.*missing-documentation' "$tmp/sanity.log" || { cat "$tmp/sanity.log" >&2; die "ansible-test sanity failed for another reason"; }
rm "$deploy/plugins/modules/undocumented.py"
say "ansible-test sanity notices a module without documentation"

if [ -n "${LONG:-}" ]; then # `make proof`; the step `unit` runs the same tests from the checkout
  ansible_test units || die "ansible-test units"
  say "ansible-test units passed"
fi

# --- installed elsewhere ----------------------------------------------------------------------------
mkdir "$tmp/empty"
cd "$tmp/empty"
site() { ANSIBLE_COLLECTIONS_PATH=$1 ansible-playbook kasaneha.deploy.site --syntax-check -i "$root/inventories/local"; }
if site "$tmp/empty" >"$tmp/site.log" 2>&1; then die "site.yml was found before the collection was installed"; fi
ansible-galaxy collection install "$tarball" --collections-path "$tmp/installed" --offline
site "$tmp/installed" || die "the installed kasaneha.deploy.site"
say "kasaneha.deploy.site is sound when installed"
