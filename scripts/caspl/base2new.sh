#!/usr/bin/env bash
# Base-to-new generalisation of a method on a data set: boost (phase 1) if need be, adapt on the base classes,
# test on base and on new classes, print base / new / HM.
#
#   bash scripts/caspl/base2new.sh DATASET SEED [TRAINER] [KEY VALUE ...]
#   bash scripts/caspl/base2new.sh tinysat 1
#   DATA=~/data SHOTS=8 bash scripts/caspl/base2new.sh eurosat 2 CasPL_CoOp
#
# DATASET is a file name in configs/datasets without .yaml, or the path of a .yaml; TRAINER is CasPL_PromptSRC by
# default; KEY VALUE pairs go to the adapting phase. From the environment: DATA, OUTPUT, SHOTS, CFG, BOOST_CFG,
# BOOST_SEED, BOOST_OPTIONS, PLUGIN, PYTHON, and for runs of one config with several settings LABEL and BOOST_LABEL,
# which folders and records then call them. Finished parts are skipped, broken-off ones resumed.
source "$(dirname "$0")/../common.sh"
usage 2 "$@"
reproduce base2new --show --datasets "$1" --seeds "$2" --methods "${3:-CasPL_PromptSRC}" -- "${@:4}"
