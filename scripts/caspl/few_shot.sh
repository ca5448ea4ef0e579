#!/usr/bin/env bash
# Few-shot classification of a method on a data set, at 1, 2, 4, 8 and 16 images of each of all classes.
#
#   bash scripts/caspl/few_shot.sh DATASET SEED [TRAINER] [KEY VALUE ...]
#   SHOTS="1 4" bash scripts/caspl/few_shot.sh tinysat 1 CasPL_PromptSRC
#
# Arguments and environment as those of base2new.sh; phase 1 is the same, too.
source "$(dirname "$0")/../common.sh"
usage 2 "$@"
reproduce few_shot --show --datasets "$1" --seeds "$2" --methods "${3:-CasPL_PromptSRC}" -- "${@:4}"
