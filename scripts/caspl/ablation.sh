#!/usr/bin/env bash
# The ablations of the CasPL paper; then their tables, beside the paper's directions.
#
#   bash scripts/caspl/ablation.sh trainable                          on the shipped tiny benchmark
#   SEEDS="1 2 3" JOBS=2 bash scripts/caspl/ablation.sh all
#   DRY=1 bash scripts/caspl/ablation.sh depth length                 only prints the commands
#   TABLE=ablations bash scripts/caspl/ablation.sh tokens             on the paper's ten data sets
#
# What they vary stands in caspl/protocols/tables/ablations*.yaml: depth, length, trainable, tokens, images, epochs,
# temperature, domain, parts. Runs that several need are made once, below $OUTPUT/ablations; finished runs are skipped,
# broken-off ones resumed. From the environment: TABLE, JOBS, DRY, DATA, OUTPUT, SEEDS, PYTHON.
source "$(dirname "$0")/../common.sh"
usage 1 "$@"
only=()
case " $* " in *" all "*) ;; *) only=(--only "$@") ;; esac
reproduce "${TABLE:-ablations_tiny}" --jobs "${JOBS:-1}" ${DRY:+--dry-run} ${only[@]+"${only[@]}"}
