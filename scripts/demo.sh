#!/usr/bin/env bash
# The main job on the shipped tiny benchmark, seed 1: zero-shot student and teacher, boosting alone, and two adapting
# methods without and with boosting. Minutes on two cores; nothing is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
export DATA=${DATA:-data} OUTPUT=${OUTPUT:-output/demo}
for trainer in ZeroshotCLIP CasPL_ZeroshotCLIP PromptSRC CasPL_PromptSRC CoOp CasPL_CoOp; do
    echo "== $trainer"
    bash scripts/caspl/base2new.sh tinysat 1 "$trainer"
done
echo "== ZeroshotCLIP, the teacher"
CFG=tiny_teacher bash scripts/caspl/base2new.sh tinysat 1 ZeroshotCLIP
echo
echo "tinysat, 16 shots of the base classes, seed 1:"
source scripts/common.sh
"$PYTHON" -m caspl.results "$OUTPUT/base2new" --dataset TinySat --difference
