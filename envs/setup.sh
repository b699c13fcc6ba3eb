#!/usr/bin/env bash
# Bring this machine to where pipshpc runs: system packages, a Python
# environment with pinned packages, h5py built for MPI, the compiled kernels,
# the static data. Each step leaves a stamp of what it was made from and does
# nothing while that stays the same.
#
#   envs/setup.sh          what running needs
#   envs/setup.sh --dev    and what tests, linters and benchmarks need
#   envs/setup.sh --bench  and the packages that the benchmarks race against
#
# Settings, all optional:
#   PYTHON         Python to use, 3.11 or later
#   VENV           folder of the environment, otherwise .venv
#   MPICC          MPI compiler, otherwise mpicc on the PATH
#   HDF5_DIR       folder of a parallel HDF5 (with include/ and lib/)
#   PIPSHPC_CACHE  folder for built wheels, otherwise ~/.cache/pipshpc
#   PIPSHPC_MARCH  processor to compile for (GCC's -march), otherwise native
#   PIPSHPC_NO_APT not empty: never install system packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dev="" bench=""
[ "${1:-}" = "--dev" ] && dev=1
[ "${1:-}" = "--bench" ] && dev=1 bench=1
venv=${VENV:-$PWD/.venv}
stamps=$venv/.pipshpc
logs=$PWD/build/setup
python=$venv/bin/python
mkdir -p "$logs"

who=setup
# shellcheck source=envs/steps.sh
. envs/steps.sh

is_fresh() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() { mkdir -p "$stamps" && printf '%s\n' "$2" >"$stamps/$1"; }

system_packages() {
    packages=(gcc g++ make)
    [ -n "${PYTHON:-}" ] || packages+=(python3-venv python3-dev)
    [ -n "${MPICC:-}" ] || packages+=(openmpi-bin libopenmpi-dev)
    [ -n "${HDF5_DIR:-}" ] || packages+=(libhdf5-openmpi-dev hdf5-tools)
    [ -z "$dev" ] || packages+=(cdo gdal-bin shellcheck)
}

python_facts() {
    printf '%s, PYTHON=%s, ' "$venv" "${PYTHON:-}"
    "$python" -I -S -c 'import sys; print(sys.version.split()[0])' 2>/dev/null || printf 'does not run\n'
}

make_venv() {
    # What is there may no longer run: the system's Python moves on, folders are moved.
    ! is_fresh python "$(python_facts)" || return 0
    find_python
    say "making the Python environment $venv with $base"
    rm -rf "$stamps"
    logged venv "$base" -m venv --clear "$venv"
    stamp python "$(python_facts)"
}

pip_install() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip install --no-input "$@"
}

# The lock is complete, so nothing is resolved: --no-deps. uv is quicker, pip
# reads the machine's registry settings; so pip gets the second try.
install_lock() {
    if command -v uv >/dev/null &&
        uv pip install --quiet --python "$python" --require-hashes --no-deps -r "$1" 2>/dev/null; then
        return
    fi
    pip_install --require-hashes --no-deps -r "$1"
}

install_packages() {
    local lock=envs/requirements.lock name=requirements key started=$SECONDS
    [ -z "$dev" ] || { lock=envs/requirements-dev.lock && name=requirements-dev; }
    key=$(digest <"$lock")
    ! is_fresh "$name" "$key" || return 0
    say "installing $(grep -c '^[a-z]' "$lock") Python packages from $lock"
    logged "$name" install_lock "$lock"
    stamp "$name" "$key"
    # The developers' lock holds what running needs, in the same versions.
    [ -z "$dev" ] || stamp requirements "$(digest <envs/requirements.lock)"
    took "Python packages installed" $started
}

# A peer that cannot be had is left out of the race; that is no reason to stop.
install_peers() {
    local lock=envs/requirements-bench.lock key started=$SECONDS
    key=$(digest <"$lock")
    ! is_fresh requirements-bench "$key" || return 0
    say "installing $(grep -c '^[a-z]' "$lock") packages to race against from $lock"
    if ! install_lock "$lock" >"$logs/requirements-bench.log" 2>&1 </dev/null; then
        say "warning: they did not install (see $logs/requirements-bench.log); those missing are not measured"
        return 0
    fi
    stamp requirements-bench "$key"
    took "peers installed" $started
}

# ---------------------------------------------------------------- h5py and mpi4py

install_mpi() {
    local key started=$SECONDS
    key=$(build_key)
    ! is_fresh h5py "$key" || return 0
    if ! "$python" -c 'from mpi4py import MPI' 2>"$logs/mpi4py.log"; then
        say "the published mpi4py does not load this MPI"
        own_mpi4py "$key"
    fi
    build_h5py envs/h5py.lock "$key"
    logged h5py pip_install --no-index --no-deps --force-reinstall "$wheel"
    "$python" -c 'import h5py, sys; sys.exit(not h5py.get_config().mpi)' ||
        fail "h5py was built without MPI against $hdf5; see $logs/build-h5py.log"
    local result=0
    two_ranks || result=$?
    if [ $result = 3 ]; then
        say "the ranks of $mpiexec do not see each other through the published mpi4py"
        own_mpi4py "$key"
        result=0
        two_ranks || result=$?
    fi
    # On a login node, starting ranks may be forbidden: not an error of the set-up.
    [ $result = 0 ] || say "warning: '$mpiexec -n 2' did not run here (see $logs/ranks.log); 'pipshpc doctor' tells more"
    stamp h5py "$key"
    took "h5py for MPI ready: HDF5 in $hdf5, $mpicc" $started
}

own_mpi4py() {
    # The exact version and hashes stand in the lock; one entry of it is a lock too.
    sed -n '/^mpi4py==/,/[^\\]$/p' envs/requirements.lock >"$logs/mpi4py.lock"
    local_wheel mpi4py "$logs/mpi4py.lock" "$1" MPICC="$mpicc"
    logged mpi4py-install pip_install --no-index --no-deps --force-reinstall "$wheel"
}

# ---------------------------------------------------------------- the project

build_project() {
    local cc=${CC:-gcc} flags sources started=$SECONDS
    command -v "$cc" >/dev/null || fail "no C compiler: $cc is not on the PATH" "Debian, Ubuntu:  apt-get install gcc"
    # A kernel compiled for one processor stops with "illegal instruction" on an older one.
    flags=$({
        cat setup.py pyproject.toml "$stamps/requirements"
        "$cc" --version
        "$cc" "-march=${PIPSHPC_MARCH:-native}" -Q --help=target 2>/dev/null || true
    } | digest)
    sources=$(find cext pipshpc/products -type f -regex '.*\.\(pyx\|pxd\|pxi\|py\|c\|h\|yaml\)' -print0 |
        sort -z | xargs -0 sha256sum | digest)
    compgen -G 'pipshpc/_*.so' >/dev/null && is_fresh extensions "$flags $sources" && return
    say "building the kernels (PIPSHPC_MARCH=${PIPSHPC_MARCH:-native})"
    if [ "$(cut -d' ' -f1 "$stamps/extensions" 2>/dev/null)" != "$flags" ]; then
        rm -f pipshpc/_*.so
        logged build pip_install --no-build-isolation --no-deps -e .
    else
        logged build "$python" setup.py -q build_ext --inplace
    fi
    stamp extensions "$flags $sources"
    took "kernels built" $started
}

fetch_statics() {
    local key folder started=$SECONDS
    key="$(cat pipshpc/statics.py pipshpc/fetch.py envs/statics.yaml | digest) ${PIPSHPC_STATICS:-$cache}"
    # Who clears the cache gets them again.
    folder=$(cat "$stamps/statics-folder" 2>/dev/null || true)
    is_fresh statics "$key" && [ -n "$(ls "$folder" 2>/dev/null)" ] && return
    say "fetching static data (elevation, land cover, turbidity)"
    "$python" -m pipshpc.statics fetch </dev/null
    "$python" -c 'from pipshpc.statics import folder; print(folder())' >"$stamps/statics-folder"
    stamp statics "$key"
    took "static data ready" $started
}

main() {
    # Two `make` at once would install into the same environment.
    if command -v flock >/dev/null; then
        exec 9>"$logs/lock"
        flock -n 9 || { say "waiting for another set-up in this folder" && flock 9; }
    fi
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    system_packages
    install_system "${packages[@]}"
    find_mpi
    find_hdf5
    make_venv
    install_packages
    install_mpi
    build_project
    fetch_statics
    [ -z "$bench" ] || install_peers
    if [ "$SECONDS" -gt 1 ]; then say "done in $SECONDS s"; fi
}
main
