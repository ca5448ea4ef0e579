#!/usr/bin/env bash
# Domain generalisation of a method: adapt on all classes of ImageNet, test on its shifts (V2, Sketch, A, R).
#
#   bash scripts/caspl/domain_generalization.sh SEED [TRAINER] [KEY VALUE ...]
#
# The training is that of cross_dataset.sh; SOURCE, TARGETS and the rest of the environment as there.
source "$(dirname "$0")/../common.sh"
usage 1 "$@"
reproduce domain_generalization --show --datasets "${SOURCE:-imagenet}" --seeds "$1" \
    --methods "${2:-CasPL_PromptSRC}" ${TARGETS:+--targets $TARGETS} -- "${@:3}"
