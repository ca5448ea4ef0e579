#!/usr/bin/env bash
# Cross-dataset transfer of a method: adapt on all classes of a source, test on the ten other data sets.
#
#   bash scripts/caspl/cross_dataset.sh SEED [TRAINER] [KEY VALUE ...]
#   TARGETS="eurosat dtd" bash scripts/caspl/cross_dataset.sh 1 CasPL_CoOp
#
# SOURCE is imagenet, TARGETS are the ten others by default. The rest of the environment as for base2new.sh; boosting
# tokens are the source's.
source "$(dirname "$0")/../common.sh"
usage 1 "$@"
reproduce cross_dataset --show --datasets "${SOURCE:-imagenet}" --seeds "$1" --methods "${2:-CasPL_PromptSRC}" \
    ${TARGETS:+--targets $TARGETS} -- "${@:3}"
