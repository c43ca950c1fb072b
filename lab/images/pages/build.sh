#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds one release of the site: a page, and files whose names are made of their content, one of which stays the same.
#   build.sh <release> <directory>
set -eu
release=$1 directory=$2
mkdir -p "$directory/assets"

# Writes a file of the given name and content, and says its path.
asset() {
  path="/assets/$1.$(printf '%s' "$3" | sha256sum | cut -c1-8).$2"
  printf '%s' "$3" >"$directory$path"
  echo "$path"
}

style=$(asset style css "body { font: 1rem sans-serif } h1::after { content: ' $release' }")
script=$(asset page js "console.log('pages $release')")
mark=$(asset mark svg '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="3"/></svg>')
cat >"$directory/index.html" <<END
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pages $release</title>
<link rel="stylesheet" href="$style"><script src="$script" defer></script></head>
<body><h1>Pages</h1><img src="$mark" alt=""><p>This is release $release.</p></body></html>
END
