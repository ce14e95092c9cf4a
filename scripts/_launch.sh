# Sourced by the training scripts: `launch SCRIPT ARGUMENTS...` runs it on one device, or on several.
#
#   GPUS=0,1,2,3    one process a GPU, data parallel
#   NPROC=2         so many processes on the CPU

launch() {
    if [[ -n ${GPUS:-} ]]; then
        "$PYTHON" -m paddle.distributed.launch --gpus "$GPUS" --log_dir .cache/launch "$@"
    elif [[ ${NPROC:-1} != 1 ]]; then
        "$PYTHON" -m paddle.distributed.launch --nproc_per_node "$NPROC" --log_dir .cache/launch "$@"
    else
        "$PYTHON" "$@"
    fi
}
