# Shared by the drivers; source it. Settings come from the environment, with these defaults.
DATA=${DATA:-data}        # folder of the data sets
OUTPUT=${OUTPUT:-output}  # folder of all runs
SHOTS=${SHOTS:-16}        # labelled images a class
PLUGIN=${PLUGIN:-}        # a .py file with a trainer of one's own, see docs/plugin.md
CFG=${CFG:-}              # config of the method, without .yaml, or any file's path; empty: the default below
LABEL=${LABEL:-}          # what folders and records call the run; empty: CFG
BOOST_CFG=${BOOST_CFG:-}  # config of phase 1, likewise
BOOST_LABEL=${BOOST_LABEL:-}  # what folders call the run of phase 1; empty: BOOST_CFG
BOOST_OPTIONS=${BOOST_OPTIONS:-}  # KEY VALUE pairs for phase 1
BOOST_SEED=${BOOST_SEED:-1}  # run of phase 1 that phase 2 builds on, for every adapting seed
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# usage FEWEST "$@": with --help, or with fewer arguments than that, print the head of the script and end.
usage() {
    local fewest=$1 status=2
    shift
    case ${1:-} in
    -h | --help) status=0 ;;
    *) [ $# -lt "$fewest" ] || return 0 ;;
    esac
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit $status
}

fail() {
    echo "error: $*" >&2
    exit 2
}

# The interpreter: $PYTHON, else that of an active virtual environment, else the checkout's, else python3.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        PYTHON=$VIRTUAL_ENV/bin/python
    elif [ -x "$REPO/.venv/bin/python" ]; then
        PYTHON=$REPO/.venv/bin/python
    fi
fi

# default_cfg TRAINER DATASET: name of the method's base-to-new config.
default_cfg() {
    case $1/$2 in
    */tinysat) echo tiny ;;
    CasPL/imagenet) echo vit_b16_c2_ep20_batch128_lr0025_8+8ctx_l12 ;;
    CasPL/*) echo vit_b16_c2_ep20_batch4_8+8ctx_l12 ;;
    ZeroshotCLIP/* | CasPL_ZeroshotCLIP/* | ZeroshotCLIP2/* | CasPL_ZeroshotCLIP2/*) echo vit_b16 ;;
    CoOp/imagenet) echo vit_b16_ep50_ctxv1 ;;
    CoOp/*) echo vit_b16_ctxv1 ;;
    CasPL_CoOp/*) echo vit_b16_ep50 ;;
    CoCoOp/*) echo vit_b16_c4_ep10_batch1_ctxv1 ;;
    CasPL_CoCoOp/*) echo vit_b16_c8_ep10_batch1 ;;
    VPT/* | CasPL_VPT/*) echo vit_b16_c2_ep5_batch4_4 ;;
    IVLP/* | CasPL_IVLP/* | PromptSRC/*) echo vit_b16_c2_ep20_batch4_4+4ctx ;;
    CasPL_PromptSRC/*) echo vit_b16_c2_ep20_batch4_8+8ctx_l12 ;;
    MaPLe/*) echo vit_b16_c2_ep5_batch4_2ctx ;;
    CasPL_MaPLe/*) echo vit_b16_c8_ep5_batch4_8ctx_l12 ;;
    MPL/* | CasPL_MPL/*) echo vit_b4_c1_add2_rm1 ;;
    *) fail "no default config for $1: set CFG to a file name in configs/trainers/${1#CasPL_}, without .yaml, or to the path of one" ;;
    esac
}

# cfg_file TRAINER CFG: its path; CasPL_X without a file of its own takes X's.
cfg_file() {
    local name folder
    case $2 in
    *.yaml)
        [ -f "$2" ] || fail "no config file $2 (CFG)"
        echo "$2"
        return
        ;;
    esac
    for folder in "$1" "${1#CasPL_}"; do
        name=$REPO/configs/trainers/$folder/$2.yaml
        if [ -f "$name" ]; then
            echo "$name"
            return
        fi
    done
    [ -d "$REPO/configs/trainers/${1#CasPL_}" ] ||
        fail "there is no folder configs/trainers/${1#CasPL_}: let CFG be the path of a .yaml for a method of your own"
    fail "no config $2.yaml in configs/trainers/${1#CasPL_}; there are:" \
        "$(ls "$REPO/configs/trainers/${1#CasPL_}" 2>/dev/null | tr '\n' ' ')"
}

# run_once FOLDER [--makes DIR GLOB] train.py-arguments...: skipped if the folder holds a finished run of the same
# arguments (and DIR such a file), resumed if it holds a part of one.
run_once() {
    local folder=$1 command makes=()
    shift
    if [ "$1" = --makes ]; then
        makes=("${@:1:3}")
        shift 3
    fi
    command=$(printf '%q ' "$@")${PHASE1:+"# phase 1: $PHASE1"}
    [ -z "$PLUGIN" ] || command="$command# plugin: $(cksum "$PLUGIN")"
    "$PYTHON" "$REPO/scripts/run_once.py" "$folder" --identity="$command" ${makes[@]+"${makes[@]}"} -- \
        "$REPO/train.py" ${PLUGIN:+--plugin "$PLUGIN"} --root "$DATA" --output-dir "$folder" \
        --dataset-config-file "$REPO/configs/datasets/$DATASET.yaml" "$@"
}

# dataset_name: what the config of $DATASET calls it, and folders of boosting files with it.
dataset_name() {
    sed -n '/^ *NAME:/{s/^ *NAME: *["'\'']\{0,1\}\([^"'\'' #]*\).*/\1/p;q;}' "$REPO/configs/datasets/$DATASET.yaml"
}

# boost SEED: phase 1 on $DATASET, unless that run is finished and its file is there. Sets BOOSTING_DIR, where phase 2
# looks, and PHASE1, what it was made with.
boost() {
    local cfg label file options folder
    read -ra options <<<"$BOOST_OPTIONS"
    cfg=${BOOST_CFG:-$(default_cfg CasPL "$DATASET")}
    file=$(cfg_file CasPL "$cfg")
    label=${BOOST_LABEL:-$cfg}
    folder=$OUTPUT/boosting_runs/$DATASET/CasPL/$label/seed$1
    BOOSTING_DIR=$OUTPUT/boosting/$label
    run_once "$folder" --makes "$BOOSTING_DIR" "$(dataset_name)/*/*/seed$1.safetensors" \
        --trainer CasPL --seed "$1" --config-file "$file" \
        TRAINER.CASPL.BOOSTING_DIR "$BOOSTING_DIR" TRAINER.RECORD.PROTOCOL boosting TRAINER.RECORD.CONFIG "$label" \
        ${options[@]+"${options[@]}"}
    PHASE1="$cfg seed $1 $BOOST_OPTIONS"
}
