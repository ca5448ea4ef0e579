#!/usr/bin/env bash
# What must be known of a GPU, in some minutes: do trainers compute there what they do on a CPU, in every precision; is a
# step as one CUDA graph the step; and how long does it take.
#
#   bash benchmarks/device.sh [--out FILE] [--rows NAME ...] [--steps 20] [--mode fp16] [--no-tests] [--peer PATH]
#
# Needs no network: torch, and of other packages yacs, open_clip_torch, ftfy, safetensors, tqdm; the tests need pytest and
# are left out where it is missing. Without a GPU it ends after a dry run on the CPU.
source "$(dirname "$0")/../scripts/common.sh"
case ${1:-} in -h | --help) usage 1 --help ;; esac
cd "$REPO"
export PYTHONPATH=$REPO:$REPO/engine/src${PYTHONPATH:+:$PYTHONPATH}
exec "$PYTHON" benchmarks/device.py "$@"
