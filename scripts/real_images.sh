#!/usr/bin/env bash
# Pictures that this project has not drawn, end to end with the tiny CLIPs: make a folder of them, boost, adapt, test
# base to new. The tiny CLIPs were taught nothing like them, and classes bear names of words that the tiny CLIPs know,
# which have nothing to do with the pictures: what is shown is that everything holds, not how good it is.
#
#   bash scripts/real_images.sh digits [SEED] [KEY VALUE ...]   handwritten digits of scikit-learn
#   bash scripts/real_images.sh emoji [SEED] [KEY VALUE ...]    train on Twitter's emoji, test also on Google's
#   EMOJI_ARCHIVES=~/packages bash scripts/real_images.sh emoji
#
# KEY VALUE pairs go to the adapting phase. From the environment: METHODS (default: PromptSRC), DATA, OUTPUT, SHOTS,
# BOOST_OPTIONS, PYTHON. EMOJI_ARCHIVES is the folder where `npm pack` has put emoji-datasource-twitter and -google;
# without it npm gets them (136 MB). Finished runs are skipped.
set -euo pipefail
OUTPUT=${OUTPUT:-output/real_images} DATA=${DATA:-data} SHOTS=${SHOTS:-16} BOOST_OPTIONS=${BOOST_OPTIONS:-}
source "$(dirname "$0")/common.sh"
usage 1 "$@"
SOURCE=$1
SEED=${2:-1}
METHODS=${METHODS:-PromptSRC}
TRAINERS="ZeroshotCLIP CasPL_ZeroshotCLIP"
for method in $METHODS; do TRAINERS+=" $method CasPL_$method"; done
IMAGES=$DATA/real_images
ARCHIVES=${EMOJI_ARCHIVES:-$IMAGES}
OUTPUT=$OUTPUT/$SOURCE
NAMES="DATASET.FOLDER.CLASSNAMES names.json"
export SHOTS PYTHON OUTPUT CFG=tiny LABEL= BOOST_CFG=tiny BOOST_LABEL= BOOST_SEED=$SEED
export BOOST_OPTIONS="$NAMES $BOOST_OPTIONS"

case $SOURCE in
digits) DATA=$IMAGES/digits && "$PYTHON" "$REPO/scripts/real_images.py" digits "$DATA" ;;
emoji)
    DATA=$IMAGES/emoji_twitter
    for vendor in twitter google; do
        "$PYTHON" "$REPO/scripts/real_images.py" emoji "$IMAGES/emoji_$vendor" --vendor $vendor --archives "$ARCHIVES"
    done
    ;;
*) fail "unknown images $SOURCE; there are: digits emoji" ;;
esac
export DATA

# quiet NAME COMMAND...: what it prints goes to a log, which is shown if it fails
quiet() {
    local log=$OUTPUT/logs/$1.log
    echo "== $SOURCE, seed $SEED: $1"
    ("${@:2}") >"$log" 2>&1 || {
        cat "$log"
        exit 1
    }
}

# shifted TRAINER KEY VALUE...: the run that base2new.sh has trained, tested on Google's pictures of the same test emoji
shifted() {
    local run=folder/shots_$SHOTS/$1/$CFG/seed$SEED classes folder words
    for classes in base new; do
        folder=$OUTPUT/google/$classes/$run
        words=(--eval-only --model-dir "$OUTPUT/base2new/train_base/$run" --trainer "$1" --seed "$SEED"
            --config-file "$REPO/configs/trainers/${1#CasPL_}/$CFG.yaml" DATASET.NUM_SHOTS "$SHOTS"
            DATASET.SUBSAMPLE_CLASSES $classes TRAINER.CASPL.BOOSTING_DIR "$OUTPUT/boosting/$BOOST_CFG"
            TRAINER.CASPL.BOOSTING_SEED "$SEED" TRAINER.RECORD.CONFIG "$CFG" "${@:2}")
        "$PYTHON" "$REPO/scripts/run_once.py" "$folder" --identity="${words[*]}" -- "$REPO/train.py" --root "$DATA" \
            --output-dir "$folder" --dataset-config-file "$REPO/configs/datasets/folder.yaml" "${words[@]}" || return
    done
}

mkdir -p "$OUTPUT/logs"
for trainer in $TRAINERS; do
    quiet "$trainer" bash "$REPO/scripts/caspl/base2new.sh" folder "$SEED" "$trainer" $NAMES "${@:3}"
done
"$PYTHON" -m caspl.results "$OUTPUT/base2new" --difference
if [ "$SOURCE" = emoji ]; then
    DATA=$IMAGES/emoji_google
    for trainer in $TRAINERS; do
        quiet "$trainer, tested on google" shifted "$trainer" $NAMES "${@:3}"
    done
    "$PYTHON" -m caspl.results "$OUTPUT/google" --difference
fi
