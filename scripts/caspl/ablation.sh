#!/usr/bin/env bash
# The ablations of the CasPL paper on the shipped tiny benchmark; then their tables, beside the paper's directions.
#
#   bash scripts/caspl/ablation.sh trainable
#   SEEDS="1 2 3" OUTPUT=output/ablations bash scripts/caspl/ablation.sh all
#   DRY=1 bash scripts/caspl/ablation.sh depth length     only prints the commands
#
#   depth         depth of the boosting x of the adapting tokens
#   length        number of boosting x of adapting tokens
#   trainable     boosting tokens that are frozen, or train on in phase 2
#   tokens        the same number of tokens, cascaded or all adapting
#   images        unlabelled images a class in phase 1
#   epochs        epochs of phase 1
#   temperature   temperature of phase 1
#   domain        unlabelled images from the domain, or from outside
#   parts         neither phase, each alone, both, the teacher
#
# Every seed of SEEDS has a phase 1 of its own. Runs that several ablations need are made once; finished runs are
# skipped, broken-off ones resumed. What a run prints goes to $OUTPUT/logs.
set -euo pipefail
ALL="depth length trainable tokens images epochs temperature domain parts"
OUTPUT=${OUTPUT:-output/ablations} DATA=${DATA:-data}
source "$(dirname "$0")/../common.sh"
usage 1 "$@"
export DATA OUTPUT PYTHON
SEEDS=${SEEDS:-1}
DRY=${DRY:-}
CONFIG=tiny
case " $* " in *" all "*) set -- $ALL ;; esac
for name; do
    case " $ALL " in *" $name "*) ;; *) fail "unknown ablation $name; there are: $ALL all" ;; esac
done

# A change of one setting has a name, e.g. depth1, and no name where it is the setting of tiny.yaml.
# change NAME VALUE SHIPPED
change() {
    [ "$2" = "$3" ] || echo "$1$2"
}

# boosting_options CHANGE, adapting_options CHANGE: its KEY VALUE pairs
boosting_options() {
    case $1 in
    depth*) echo "TRAINER.CASPL.PROMPT_DEPTH_TEXT ${1#depth} TRAINER.CASPL.PROMPT_DEPTH_VISION ${1#depth}" ;;
    length*) echo "TRAINER.CASPL.N_CTX_TEXT ${1#length} TRAINER.CASPL.N_CTX_VISION ${1#length}" ;;
    images*) echo "DATASET.NUM_SHOTS ${1#images}" ;;
    epochs*) echo "OPTIM.MAX_EPOCH ${1#epochs}" ;;
    temperature*) echo "TRAINER.CASPL.TEMPERATURE ${1#temperature}" ;;
    world) echo "TRAINER.CASPL.IMAGES TinyWorld" ;;
    esac
}
adapting_options() {
    case $1 in
    depth*) echo "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT ${1#depth} TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION ${1#depth}" ;;
    length*) echo "TRAINER.PROMPTSRC.N_CTX_TEXT ${1#length} TRAINER.PROMPTSRC.N_CTX_VISION ${1#length}" ;;
    trainable) echo "TRAINER.CASPL.TRAINABLE True" ;;
    esac
}

# run SEED TRAINER [CHANGE OF PHASE 1] [CHANGE OF PHASE 2]: base to new; CONFIG for a config other than tiny.yaml.
# The labels made here are those that caspl/results/ablations/settings.py looks for.
run() {
    local boosting=${3:-} adapting=${4:-} label log options command
    label=$CONFIG${boosting:+_boosting_$boosting}${adapting:+_adapting_$adapting}
    read -ra options <<<"$(adapting_options "$adapting")"
    command=(env CFG="$CONFIG" LABEL="$label" BOOST_SEED="$1" BOOST_CFG=tiny BOOST_LABEL="tiny${boosting:+_$boosting}"
        BOOST_OPTIONS="$(boosting_options "$boosting")"
        bash "$REPO/scripts/caspl/base2new.sh" tinysat "$1" "$2" ${options[@]+"${options[@]}"})
    if [ -n "$DRY" ]; then
        printf '%q ' "${command[@]}"
        echo
        return
    fi
    mkdir -p "$OUTPUT/logs"
    log=$OUTPUT/logs/$2-$label-seed$1.log
    SECONDS=0
    "${command[@]}" >>"$log" 2>&1 || {
        tail -n 20 "$log"
        fail "$2 $label seed $1 ended early; the same command goes on from there (log: $log)"
    }
    echo "$2 $label seed $1: $SECONDS s"
}

# One seed of an ablation each.
ablate_depth() {
    local boosting adapting
    for boosting in 1 2 4 6; do
        for adapting in 1 2 4 6; do
            run "$1" CasPL_PromptSRC "$(change depth $boosting 6)" "$(change depth $adapting 6)"
        done
    done
}
ablate_length() {
    local boosting adapting
    for boosting in 2 4 8; do
        for adapting in 2 4 8; do
            run "$1" CasPL_PromptSRC "$(change length $boosting 8)" "$(change length $adapting 4)"
        done
    done
}
ablate_trainable() {
    run "$1" CasPL_PromptSRC
    run "$1" CasPL_PromptSRC "" trainable
}
ablate_tokens() {
    run "$1" PromptSRC "" length8
    run "$1" CasPL_PromptSRC length4
    run "$1" PromptSRC "" length16
    run "$1" CasPL_PromptSRC "" length8
}
ablate_images() {
    local images
    for images in 1 2 4 8 16 32; do
        run "$1" CasPL_PromptSRC "images$images"
    done
    run "$1" CasPL_PromptSRC
}
ablate_epochs() {
    local epochs
    for epochs in 5 10 20 40; do
        run "$1" CasPL_PromptSRC "$(change epochs $epochs 20)"
    done
}
ablate_temperature() {
    local temperature
    for temperature in 0.5 1 2 4; do
        run "$1" CasPL_PromptSRC "$(change temperature $temperature 1)"
    done
}
ablate_domain() {
    run "$1" PromptSRC
    run "$1" CasPL_PromptSRC world
    run "$1" CasPL_PromptSRC
}
ablate_parts() {
    run "$1" ZeroshotCLIP
    run "$1" CasPL_ZeroshotCLIP
    run "$1" PromptSRC
    run "$1" CasPL_PromptSRC
    CONFIG=tiny_teacher run "$1" ZeroshotCLIP
}

for seed in $SEEDS; do
    for name; do
        "ablate_$name" "$seed"
    done
done
[ -n "$DRY" ] || "$PYTHON" -m caspl.results.ablations "$OUTPUT" "$@"
