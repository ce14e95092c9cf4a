# Sourced by the training scripts: `launch SCRIPT ARGUMENTS...` runs it on one device, or on several.
#
#   GPUS=0,1,2,3    one process a GPU, data parallel
#   NPROC=2         so many processes on the CPU
#
# A recipe's batch is that of a step, over all devices.

launch() {
    # Behind "--": the launcher takes a script's --train for an abbreviation of its own flags.
    if [[ -n ${GPUS:-} ]]; then
        # Paddle's launcher would start, and its processes end in tracebacks.
        "$PYTHON" -c 'from importlib.metadata import version; version("paddlepaddle-gpu")' 2>/dev/null ||
            fail "GPUS=$GPUS: the Paddle installed here is for the CPU; install the one for GPUs (DEVICE=gpu bash scripts/setup.sh), or leave GPUS out"
        "$PYTHON" -m paddle.distributed.launch --gpus "$GPUS" --log_dir .cache/launch -- "$@"
    elif [[ ${NPROC:-1} != 1 ]]; then
        "$PYTHON" -m paddle.distributed.launch --nproc_per_node "$NPROC" --log_dir .cache/launch -- "$@"
    else
        "$PYTHON" "$@"
    fi
}
