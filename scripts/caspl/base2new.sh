#!/usr/bin/env bash
# Base-to-new generalisation of a method on a data set: boost (phase 1) if need be, adapt on the base classes,
# test on base and on new classes, print base / new / HM.
#
#   bash scripts/caspl/base2new.sh DATASET SEED [TRAINER] [KEY VALUE ...]
#   bash scripts/caspl/base2new.sh tinysat 1
#   DATA=~/data SHOTS=8 bash scripts/caspl/base2new.sh eurosat 2 CasPL_CoOp
#
# DATASET is a file name in configs/datasets without .yaml; TRAINER is CasPL_PromptSRC by default; KEY VALUE pairs go to
# the adapting phase. From the environment: DATA, OUTPUT, SHOTS, CFG, BOOST_CFG, BOOST_SEED, BOOST_OPTIONS, PLUGIN, PYTHON,
# and for runs of one config with several settings LABEL and BOOST_LABEL, which folders and records then call them.
# Finished parts are skipped, broken-off ones resumed.
set -euo pipefail
source "$(dirname "$0")/../common.sh"
usage 2 "$@"
DATASET=$1
SEED=$2
TRAINER=${3:-CasPL_PromptSRC}
OPTIONS=("${@:4}")
[ -f "$REPO/configs/datasets/$DATASET.yaml" ] ||
    fail "unknown data set $DATASET; there are: $(cd "$REPO/configs/datasets" && echo *.yaml | sed 's/\.yaml//g')"
[ "$TRAINER" != CasPL ] || fail "CasPL is phase 1; name a method of phase 2, e.g. CasPL_PromptSRC"
[[ $SEED =~ ^[0-9]+$ ]] || fail "the seed must be a number, not $SEED"

CFG=${CFG:-$(default_cfg "$TRAINER" "$DATASET")}
CFG_FILE=$(cfg_file "$TRAINER" "$CFG")
LABEL=${LABEL:-$(basename "$CFG" .yaml)}
RUN=$DATASET/shots_$SHOTS/$TRAINER/$LABEL/seed$SEED
BASE=$OUTPUT/base2new/train_base/$RUN
NEW=$OUTPUT/base2new/test_new/$RUN
BOOSTING_DIR=$OUTPUT/boosting PHASE1=
case $TRAINER in CasPL_*) boost "$BOOST_SEED" ;; esac
COMMON=(--trainer "$TRAINER" --seed "$SEED" --config-file "$CFG_FILE" DATASET.NUM_SHOTS "$SHOTS"
    TRAINER.CASPL.BOOSTING_DIR "$BOOSTING_DIR" TRAINER.CASPL.BOOSTING_SEED "$BOOST_SEED"
    TRAINER.RECORD.PROTOCOL base2new TRAINER.RECORD.CONFIG "$LABEL" ${OPTIONS[@]+"${OPTIONS[@]}"})

run_once "$BASE" "${COMMON[@]}" DATASET.SUBSAMPLE_CLASSES base
run_once "$NEW" --eval-only --model-dir "$BASE" "${COMMON[@]}" DATASET.SUBSAMPLE_CLASSES new
"$PYTHON" -m caspl.results "$OUTPUT/base2new" --trainer "$TRAINER"
