"""The default configuration, one function a section.

Types matter: yacs refuses a value of another type when files and command lines are merged, so a float
default must be written ``1.0`` and a tuple default must be a tuple.
"""

from __future__ import annotations

from yacs.config import CfgNode

__all__ = ["build_defaults"]


def build_defaults() -> CfgNode:
    """Build a fresh tree of all default values."""
    return CfgNode(
        {
            "VERSION": 1,
            "OUTPUT_DIR": "./output",
            # Folder of an earlier run to continue; OUTPUT_DIR itself is looked at when this is empty.
            "RESUME": "",
            # Negative: no seed is set.
            "SEED": -1,
            "USE_CUDA": True,
            "VERBOSE": True,
            "INPUT": _input(),
            "DATASET": _dataset(),
            "DATALOADER": _dataloader(),
            "MODEL": _model(),
            "OPTIM": _optim(),
            "TRAIN": {
                # Epochs between checkpoints; 0 or less keeps the last one only.
                "CHECKPOINT_FREQ": 0,
                # Batches between log lines; 0 or less prints none.
                "PRINT_FREQ": 10,
                # Which loader sets the length of an epoch: train_x, train_u or smaller_one.
                "COUNT_ITER": "train_x",
            },
            "TEST": {
                "EVALUATOR": "Classification",
                "PER_CLASS_RESULT": False,
                "COMPUTE_CMAT": False,
                "NO_TEST": False,
                "SPLIT": "test",
                # last_step or best_val.
                "FINAL_MODEL": "last_step",
            },
            "TRAINER": {"NAME": ""},
        }
    )


def _input() -> dict[str, object]:
    return {
        # Height, width.
        "SIZE": (224, 224),
        "INTERPOLATION": "bilinear",
        # What decodes and transforms: pil, as published, or tensor, the same within a grey level and faster.
        "BACKEND": "pil",
        "TRANSFORMS": (),
        "NO_TRANSFORM": False,
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "CROP_PADDING": 4,
        "RRCROP_SCALE": (0.08, 1.0),
        "CUTOUT_N": 1,
        "CUTOUT_LEN": 16,
        # GN: Gaussian noise.
        "GN_MEAN": 0.0,
        "GN_STD": 0.15,
        "RANDAUGMENT_N": 2,
        "RANDAUGMENT_M": 10,
        "COLORJITTER_B": 0.4,
        "COLORJITTER_C": 0.4,
        "COLORJITTER_S": 0.4,
        "COLORJITTER_H": 0.1,
        # RGS: random grey scale.
        "RGS_P": 0.2,
        # GB: Gaussian blur.
        "GB_P": 0.5,
        "GB_K": 21,
    }


def _dataset() -> dict[str, object]:
    return {
        "ROOT": "",
        "NAME": "",
        "SOURCE_DOMAINS": (),
        "TARGET_DOMAINS": (),
        "NUM_LABELED": -1,
        "NUM_SHOTS": -1,
        "VAL_PERCENT": 0.1,
        "STL10_FOLD": -1,
        "CIFAR_C_TYPE": "",
        "CIFAR_C_LEVEL": 1,
        "ALL_AS_UNLABELED": False,
    }


def _dataloader() -> dict[str, object]:
    # N_DOMAIN and N_INS serve the domain and class samplers only.
    train = {"SAMPLER": "RandomSampler", "BATCH_SIZE": 32, "N_DOMAIN": 0, "N_INS": 16}
    return {
        "NUM_WORKERS": 4,
        # Order and random numbers of training follow from SEED, epoch and image alone, for any NUM_WORKERS. False, with
        # INPUT.BACKEND pil in one process: from torch's stream, which goes on from image to image, as published.
        "SEEDED": True,
        # How many random views of an image a training item holds.
        "K_TRANSFORMS": 1,
        "RETURN_IMG0": False,
        # With INPUT.BACKEND tensor: bytes of decoded images to keep on disk for each split; 0 keeps none.
        "CACHE_BYTES": 0,
        # Empty: dassl/images in the user's folder of caches.
        "CACHE_DIR": "",
        # Above 0 the training images are kept no larger than this, which changes what crops see.
        "CACHE_SHORT_SIDE": 0,
        "TRAIN_X": dict(train),
        "TRAIN_U": {"SAME_AS_X": True, **train},
        "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
    }


def _model() -> dict[str, object]:
    return {
        "INIT_WEIGHTS": "",
        "BACKBONE": {"NAME": "", "PRETRAINED": True},
        "HEAD": {"NAME": "", "HIDDEN_LAYERS": (), "ACTIVATION": "relu", "BN": True, "DROPOUT": 0.0},
    }


def _optim() -> dict[str, object]:
    return {
        "NAME": "adam",
        "LR": 0.0003,
        "WEIGHT_DECAY": 5e-4,
        "MOMENTUM": 0.9,
        # The published spelling; configuration files contain it.
        "SGD_DAMPNING": 0,
        "SGD_NESTEROV": False,
        "RMSPROP_ALPHA": 0.99,
        "ADAM_BETA1": 0.9,
        "ADAM_BETA2": 0.999,
        # Staged: layers outside NEW_LAYERS learn at LR * BASE_LR_MULT.
        "STAGED_LR": False,
        "NEW_LAYERS": (),
        "BASE_LR_MULT": 0.1,
        "LR_SCHEDULER": "single_step",
        # -1: the decay never comes before MAX_EPOCH.
        "STEPSIZE": (-1,),
        "GAMMA": 0.1,
        "MAX_EPOCH": 10,
        # Above 0 switches the warm-up on.
        "WARMUP_EPOCH": -1,
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,
        "WARMUP_MIN_LR": 1e-5,
        # Whether the schedule after the warm-up counts its epochs from 0 again.
        "WARMUP_RECOUNT": True,
    }
