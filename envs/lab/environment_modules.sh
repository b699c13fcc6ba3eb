#!/usr/bin/env bash
# Environment Modules beside Lmod: their Debian packages conflict, so this one is unpacked into a folder of its own and
# never installed. The command `module` of a shell then comes from FOLDER/init/bash (or sh).
# usage: environment_modules.sh [FOLDER]     $PIPSHPC_CACHE/environment-modules if not given
set -euo pipefail
folder=${1:-${PIPSHPC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pipshpc}/environment-modules}
[ ! -e "$folder/init/bash" ] || exit 0
command -v tclsh >/dev/null || { echo "environment_modules.sh: no tclsh; apt-get install tcl" >&2 && exit 4; }
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -q -o Acquire::Retries=3 download environment-modules >download.log 2>&1 || {
    tail -n 5 download.log >&2
    echo "environment_modules.sh: the package could not be fetched; apt-get update, and try again" >&2
    exit 4
}
dpkg-deb -x environment-modules_*.deb root
rm environment-modules_*.deb download.log
command=$(find root -name modulecmd.tcl -type f | head -n 1)
mkdir init
for shell in bash sh; do
    # shellcheck disable=SC2016  # expanded where it is read
    printf 'eval "$(tclsh %q %s autoinit)"\n' "$folder/$command" "$shell" >"init/$shell"
done
# Another run may have been quicker.
mv -T "$work" "$folder" 2>/dev/null || [ -e "$folder/init/bash" ]
