# shellcheck shell=bash
# Read by the batch files here: sets $python.
# PIPSHPC_LOAD names the module of a stack, as in  PIPSHPC_LOAD=rs-core sbatch jobs/task.sbatch;  it is loaded here, on
# the node. Without, it is the stack that was loaded where the job was submitted, else the environment of the source
# tree. A job without its software ends with exit code 4.
refuse() {
    echo "error: $(hostname): $*" >&2
    exit 4
}

wanted=${PIPSHPC_LOAD:-}
if [ -n "$wanted" ]; then
    set +eu # the scripts and functions of modules are not made for it
    for script in /etc/profile "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" "${MODULESHOME:-/usr/share/modules}/init/bash"; do
        type module >/dev/null 2>&1 && break
        # shellcheck source=/dev/null
        [ ! -r "$script" ] || . "$script"
    done
    type module >/dev/null 2>&1 ||
        refuse "found no command 'module' in this job; install Lmod or Environment Modules on the nodes, or source the" \
            "file that defines it before sbatch, with BASH_ENV naming it"
    [ -z "${PIPSHPC_STACK:-}" ] || module unload "$PIPSHPC_STACK"
    module load "$wanted" ||
        refuse "module $wanted could not be loaded; 'module use PREFIX/modulefiles' before sbatch, or" \
            "'pipshpc stack deploy ${wanted%%/*}' first; 'module avail ${wanted%%/*}' says what there is"
    set -eu
fi
if [ -n "${PIPSHPC_STACK:-}" ]; then
    unset PYTHONPATH PYTHONHOME
    export PYTHONSAFEPATH=1 # not the source tree in the present folder
    python=$PIPSHPC_STACK_PREFIX/bin/python3
    case $wanted in
    */*-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f])
        case $PIPSHPC_STACK_DIGEST in
        "${wanted##*-}"*) ;;
        *) refuse "module $wanted has digest $PIPSHPC_STACK_DIGEST; 'pipshpc stack verify ${wanted%%/*}' says what was changed" ;;
        esac
        ;;
    esac
    [ -x "$python" ] || refuse "$python is not there, though its module is; 'pipshpc stack deploy ${PIPSHPC_STACK%%/*}' makes it again"
else
    # shellcheck source=/dev/null
    if [ -f .venv/bin/activate ]; then . .venv/bin/activate; fi
    python=$(command -v python || command -v python3)
fi
