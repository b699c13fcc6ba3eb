#!/usr/bin/env bash
# Installs what `pipshpc lab up` needs on Debian or Ubuntu, as root: Slurm with PMIx, munge, MariaDB, Open MPI, iproute2,
# Lmod, squashfs; and unpacks Environment Modules, which the tests try beside Lmod, into the cache.
# Nothing is started: the lab runs its own daemons, from its own folder. Safe to run again, and after an interruption.
# usage: install.sh [--check]     --check only says what is missing; exit code 1 where anything is
# PIPSHPC_NO_APT, if not empty: never install system packages
set -euo pipefail

# program, or pattern of a file, and its package
wanted="slurmctld slurmctld
slurmd slurmd
slurmdbd slurmdbd
sbatch slurm-client
sacct slurm-client
/usr/lib/*/slurm*/mpi_pmix*.so slurm-wlm-basic-plugins
/usr/lib/*/slurm*/accounting_storage_mysql.so slurm-wlm-mysql-plugin
/usr/lib/*/libpmix.so.2 libpmix2
munged munge
mpiexec openmpi-bin
mariadbd mariadb-server-core
mariadb-install-db mariadb-server-core
mariadb mariadb-client-core
ip iproute2
/usr/bin/mksquashfs squashfs-tools
/usr/bin/squashfuse squashfuse
unshare util-linux
nsenter util-linux
mount mount"
PATH=$PATH:/usr/sbin:/sbin
# Jobs load their software as a module. Where the other tool is installed, it does; Debian lets none have both.
[ -e /usr/share/modules/init/bash ] || wanted+=$'\n/usr/share/lmod/lmod/init/bash lmod'

# Fill `missing` (what is not there) and `packages` (what has it).
look() {
    local what package
    missing=() packages=()
    while read -r what package; do
        if [[ $what == /* ]]; then compgen -G "$what" >/dev/null && continue; else command -v "$what" >/dev/null && continue; fi
        missing+=("${what##*/}")
        [[ " ${packages[*]-} " == *" $package "* ]] || packages+=("$package")
    done <<<"$wanted"
    [ ${#missing[@]} = 0 ]
}

apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1; }

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Only tests of modulefiles want the other tool: without it they are skipped.
other_tool() {
    [ -z "${PIPSHPC_NO_APT:-}" ] && command -v apt-get >/dev/null || return 0
    "$(dirname "${BASH_SOURCE[0]}")/environment_modules.sh" ||
        echo "setup: without Environment Modules, the tests of modulefiles under it are skipped" >&2
}

if look; then
    [ "${1:-}" = --check ] || other_tool
    exit 0
fi
advice="apt-get install --no-install-recommends ${packages[*]}"
if [ "${1:-}" = --check ]; then
    echo "missing: ${missing[*]}; on Debian: $advice"
    exit 1
fi
[ -z "${PIPSHPC_NO_APT:-}" ] || fail "missing: ${missing[*]}; PIPSHPC_NO_APT forbids to install them: $advice"
command -v apt-get >/dev/null || fail "missing: ${missing[*]}; there is no apt-get here: install them by other means"
[ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}; as root: $advice"

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made=""
trap '[ -z "$made" ] || rm -f "$policy"; rm -f "$log"' EXIT
# The packages would start system-wide daemons; a policy of 101 forbids it, for the time of the installation.
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=1
fi
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
echo "installing ${packages[*]}" >&2
# Lists may be missing, or name versions that are no longer offered; an earlier installation may have been cut short.
apt-cache show "${packages[@]}" >/dev/null 2>&1 || apt update || true
apt install --no-install-recommends "${packages[@]}" || {
    dpkg --configure -a --force-confdef --force-confold </dev/null >>"$log" 2>&1 || true
    apt update || true
    apt install --no-install-recommends "${packages[@]}" || true
}
hash -r
look || {
    tail -n 15 "$log" >&2
    fail "missing still: ${missing[*]}; could not be installed, see above; by hand: apt-get update; $advice"
}
other_tool
