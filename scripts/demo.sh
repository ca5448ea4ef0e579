#!/usr/bin/env bash
# The main job on the shipped tiny benchmark: zero-shot student and teacher, boosting alone, and adapting methods
# without and with boosting. Minutes on two cores; nothing is downloaded.
#
#   make demo                                                 PromptSRC and CoOp, seed 1
#   SEEDS="1 2 3" METHODS=all bash scripts/demo.sh            the paper's seven, three seeds
#   METHODS="MaPLe MPL" OUTPUT=output/mine bash scripts/demo.sh
#
# Every seed has a phase 1 of its own. Finished runs are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export DATA=${DATA:-data} OUTPUT=${OUTPUT:-output/demo}
SEEDS=${SEEDS:-1}
METHODS=${METHODS:-PromptSRC CoOp}
[ "$METHODS" != all ] || METHODS="CoOp CoCoOp VPT IVLP MaPLe PromptSRC MPL"

base2new() {
    echo "== $1, seed $2 ${CFG:+($CFG)}"
    local log=$OUTPUT/logs/$1-${CFG:-tiny}-seed$2.log
    BOOST_SEED=$2 bash scripts/caspl/base2new.sh tinysat "$2" "$1" >"$log" 2>&1 || {
        cat "$log"
        exit 1
    }
}

mkdir -p "$OUTPUT/logs"
(source scripts/common.sh && "$PYTHON" -m caspl.cores) # runs say it in their logs, which nobody sees
first=${SEEDS%% *}
base2new ZeroshotCLIP "$first" # nothing is drawn in a zero-shot run
CFG=tiny_teacher base2new ZeroshotCLIP "$first"
for seed in $SEEDS; do
    base2new CasPL_ZeroshotCLIP "$seed"
    for method in $METHODS; do
        base2new "$method" "$seed"
        base2new "CasPL_$method" "$seed"
    done
done
echo
source scripts/common.sh
"$PYTHON" -m caspl.results "$OUTPUT/base2new" --dataset TinySat --difference
