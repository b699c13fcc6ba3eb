#!/usr/bin/env bash
# Installs what `pipshpc lab up` needs on Debian or Ubuntu, as root: Slurm, munge, MariaDB, Open MPI, iproute2.
# Nothing is started: the lab runs its own daemons, from its own folder.
# usage: install.sh [--check]     --check only names the missing programs; exit code 1 where there are any
set -euo pipefail

# program:package
wanted="slurmctld:slurmctld slurmd:slurmd slurmdbd:slurmdbd sbatch:slurm-client sacct:slurm-client munged:munge
mpiexec:openmpi-bin mariadbd:mariadb-server-core mariadb-install-db:mariadb-server-core mariadb:mariadb-client-core
ip:iproute2 unshare:util-linux nsenter:util-linux"
PATH=$PATH:/usr/sbin:/sbin

programs=() packages=()
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null && continue
    programs+=("${pair%%:*}")
    case " ${packages[*]-} " in *" ${pair##*:} "*) ;; *) packages+=("${pair##*:}") ;; esac
done
[ ${#programs[@]} -gt 0 ] || exit 0
if [ "${1:-}" = --check ]; then
    echo "missing: ${programs[*]}; on Debian: apt-get install --no-install-recommends ${packages[*]}"
    exit 1
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${programs[*]}; wanted: the packages ${packages[*]} (installing them takes root and apt-get)" >&2
    exit 1
fi
# The packages would start system-wide daemons; a policy of 101 forbids it, for the time of the installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing ${packages[*]}" >&2
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null; }
