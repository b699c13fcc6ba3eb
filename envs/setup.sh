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
cache=${PIPSHPC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pipshpc}
stamps=$venv/.pipshpc
logs=$PWD/build/setup
python=$venv/bin/python
mkdir -p "$logs"

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 4
}

# Run a command with its output in a log; show the end of the log if it fails.
logged() {
    local log=$logs/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 25 "$log" >&2
    fail "failed: $*" "the whole output is in $log"
}

digest() { sha256sum | cut -c1-16; }
is_fresh() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() { mkdir -p "$stamps" && printf '%s\n' "$2" >"$stamps/$1"; }
took() { say "$1 ($((SECONDS - $2)) s)"; }

# ---------------------------------------------------------------- system

missing_packages() {
    local known package
    known=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        [[ $known == *" installed=$package "* ]] || printf '%s\n' "$package"
    done
}

system_packages() {
    packages=(gcc g++ make)
    [ -n "${PYTHON:-}" ] || packages+=(python3-venv python3-dev)
    [ -n "${MPICC:-}" ] || packages+=(openmpi-bin libopenmpi-dev)
    [ -n "${HDF5_DIR:-}" ] || packages+=(libhdf5-openmpi-dev hdf5-tools)
    [ -z "$dev" ] || packages+=(cdo gdal-bin shellcheck)
}

install_system() {
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 0
    system_packages
    local missing started=$SECONDS
    mapfile -t missing < <(missing_packages "${packages[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || [ -n "${PIPSHPC_NO_APT:-}" ]; then
        advice="sudo apt-get install --no-install-recommends ${missing[*]}"
        return 0
    fi
    say "installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    logged apt-update apt-get -q -o DPkg::Lock::Timeout=600 update
    logged apt-install apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "${missing[@]}"
    hash -r
    took "system packages installed" $started
}

# What to say where something of the system is missing.
how_to_get() {
    [ -z "$advice" ] || printf 'Debian, Ubuntu:  %s\n' "$advice"
    printf 'On a cluster:    module load %s\n' "$1"
    printf 'With conda:      conda install -c conda-forge %s\n' "$2"
}

# Print the multiarch name, such as x86_64-linux-gnu, if the system has one.
multiarch() { gcc -print-multiarch 2>/dev/null || true; }

is_parallel_hdf5() {
    grep -qs '^#define H5_HAVE_PARALLEL 1' "$1"/include/H5pubconf*.h && compgen -G "$1/lib*/libhdf5.so*" >/dev/null
}

find_mpi() {
    mpicc=$(command -v "${MPICC:-mpicc}") || {
        mapfile -t how < <(how_to_get openmpi "openmpi openmpi-mpicc")
        fail "no MPI compiler: ${MPICC:-mpicc} is not on the PATH; pipshpc needs MPI (Open MPI 4 or later, or MPICH 4 or later)" \
            "${how[@]}" "or name it: make setup MPICC=/path/to/mpicc"
    }
    # The launcher has to belong to the same MPI, so it is looked for beside the compiler first.
    mpiexec=$(dirname "$mpicc")/mpiexec
    [ -x "$mpiexec" ] || mpiexec=$(command -v mpiexec || true)
}

find_hdf5() {
    local tried=() folder
    for folder in "${HDF5_DIR:-}" "/usr/lib/$(multiarch)/hdf5/openmpi" "/usr/lib/$(multiarch)/hdf5/mpich"; do
        [ -n "$folder" ] || continue
        tried+=("$folder")
        if is_parallel_hdf5 "$folder"; then
            hdf5=$folder
            return
        fi
        # A folder that was asked for is right or an error, never passed over in silence.
        [ -z "${HDF5_DIR:-}" ] || break
    done
    if [ -z "${HDF5_DIR:-}" ] && command -v h5pcc >/dev/null; then
        folder=$(h5pcc -showconfig 2>/dev/null | sed -n 's/^ *Installation point: *//p')
        tried+=("$folder (from h5pcc)")
        if is_parallel_hdf5 "$folder"; then
            hdf5=$folder
            return
        fi
    fi
    mapfile -t how < <(how_to_get "hdf5 (the one built with MPI)" "'hdf5=*=mpi_openmpi*'")
    fail "no parallel HDF5 (a shared library, and H5_HAVE_PARALLEL in H5pubconf.h); looked in: ${tried[*]}" \
        "${how[@]}" "or name it: make setup HDF5_DIR=/path/to/hdf5"
}

# ---------------------------------------------------------------- Python

# 3.11 or later, able to make environments, with the headers that extensions need.
qualifies() {
    "$1" -I -c '
import ensurepip, pathlib, sys, sysconfig, venv
headers = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(sys.version_info < (3, 11) or not headers.exists())' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        base=$(command -v "$PYTHON") && qualifies "$base" && return
        fail "PYTHON=$PYTHON does not do; wanted: Python 3.11 or later with venv, pip and its C headers"
    fi
    # The system's Python comes first: other users and the compute nodes can read it.
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        base=$(command -v "$candidate") && qualifies "$base" && return
    done
    mapfile -t how < <(how_to_get python/3.11 "'python>=3.11'")
    fail "no Python 3.11 or later with venv, pip and its C headers; found: $(python3 --version 2>&1 || echo none)" \
        "${how[@]}" "or name it: make setup PYTHON=/path/to/python3"
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

# A wheel made on this machine, from the cache or built into it.
local_wheel() { # name lock key environment...
    local name=$1 lock=$2 folder=$cache/wheels/$3 started=$SECONDS
    shift 3
    wheel=$(compgen -G "$folder/$name-*.whl" | head -n 1 || true)
    [ -z "$wheel" ] || return 0
    say "building $name for this MPI and HDF5, once (a minute or two)"
    rm -rf "$folder.new"
    # Without pip's own cache: it does not know which MPI a wheel was built for.
    logged "build-$name" env "$@" "$python" -m pip wheel --no-input --no-cache-dir --no-build-isolation --no-deps \
        --no-binary "$name" --require-hashes -r "$lock" -w "$folder.new"
    mkdir -p "$folder"
    mv "$folder.new/$name"-*.whl "$folder/"
    rm -rf "$folder.new"
    wheel=$(compgen -G "$folder/$name-*.whl" | head -n 1)
    took "$name built, kept in $folder" $started
}

# 0: two ranks of one world; 3: ranks that do not see each other, so mpi4py talks to another MPI.
two_ranks() {
    OMPI_MCA_rmaps_base_oversubscribe=1 timeout 60 "$mpiexec" -n 2 "$python" -c \
        'from mpi4py import MPI; raise SystemExit(0 if MPI.COMM_WORLD.size == 2 else 3)' >"$logs/ranks.log" 2>&1 </dev/null
}

install_mpi() {
    local key mpi started=$SECONDS
    mpi="$mpicc $("$mpicc" -show 2>/dev/null || true) $("$mpiexec" --version 2>/dev/null | head -n 1 || true)"
    key=$({
        cat envs/h5py.lock "$hdf5"/include/H5pubconf*.h
        printf '%s\n%s\n%s\n' "$hdf5" "$mpi" "$("$python" -I -S -VV)"
    } | digest)
    ! is_fresh h5py "$key" || return 0
    if ! "$python" -c 'from mpi4py import MPI' 2>"$logs/mpi4py.log"; then
        say "the published mpi4py does not load this MPI"
        own_mpi4py "$key"
    fi
    local_wheel h5py envs/h5py.lock "$key" CC="$mpicc" HDF5_MPI=ON HDF5_DIR="$hdf5" CFLAGS="-O1 -g0"
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
    advice=""
    # Two `make` at once would install into the same environment.
    if command -v flock >/dev/null; then
        exec 9>"$logs/lock"
        flock -n 9 || { say "waiting for another set-up in this folder" && flock 9; }
    fi
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    install_system
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
