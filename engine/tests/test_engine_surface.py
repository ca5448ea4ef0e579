"""The import surface: names, module paths, and what importing does not do."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import dassl

NAMES = {
    "dassl.config": "cfg_default get_cfg_default clean_cfg",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": """DataManager DatasetWrapper build_data_loader build_transform build_dataset
        INTERPOLATION_MODES""",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler",
    "dassl.data.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.transforms.transforms": """build_transform INTERPOLATION_MODES AVAI_CHOICES
        Random2DTranslation InstanceNormalization Cutout GaussianNoise _build_transform_train
        _build_transform_test""",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.datasets.build": "DATASET_REGISTRY build_dataset",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.engine": """TRAINER_REGISTRY TrainerX TrainerXU TrainerBase SimpleTrainer SimpleNet
        build_trainer""",
    "dassl.engine.trainer": """TrainerX TrainerXU TrainerBase SimpleTrainer SimpleNet MetricMeter AverageMeter
        SummaryWriter""",
    "dassl.engine.build": "TRAINER_REGISTRY build_trainer",
    "dassl.evaluation": "build_evaluator EVALUATOR_REGISTRY EvaluatorBase Classification",
    "dassl.evaluation.evaluator": "EvaluatorBase Classification",
    "dassl.metrics": "compute_accuracy compute_distance_matrix cosine_distance euclidean_squared_distance",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.optim.optimizer": "build_optimizer",
    "dassl.optim.lr_scheduler": "ConstantWarmupScheduler LinearWarmupScheduler build_lr_scheduler",
    "dassl.optim.radam": "RAdam",
    "dassl.utils": """AverageMeter MetricMeter Logger setup_logger Registry check_availability check_isfile
        collect_env_info count_num_param download_url get_most_similar_str_to_a_from_b init_network_weights
        listdir_nohidden load_checkpoint load_pretrained_weights mkdir_if_missing open_all_layers
        open_specified_layers read_image read_json resume_from_checkpoint save_checkpoint set_random_seed
        tolist_if_not write_json""",
    "dassl.utils.tools": "mkdir_if_missing check_isfile read_json write_json set_random_seed",
    "dassl.utils.logger": "Logger setup_logger",
    "dassl.utils.meters": "AverageMeter MetricMeter",
    "dassl.utils.registry": "Registry",
    "dassl.utils.torchtools": "load_pretrained_weights count_num_param open_specified_layers",
}


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(loaded, name)] == []


def test_exported_names_exist() -> None:
    for info in pkgutil.walk_packages(dassl.__path__, "dassl."):
        module = importlib.import_module(info.name)
        assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == [], info.name


def test_version_and_location() -> None:
    # A folder "dassl" on the path would be imported as an empty namespace package.
    assert dassl.__version__ == "0.6.3"
    assert dassl.__file__ is not None


IMPORT_SCRIPT = """
import logging, sys
for name in ("gdown", "wilds", "pandas", "sklearn", "scipy", "tabulate", "tensorboard", "six"):
    sys.modules[name] = None
import dassl
assert not {"torch", "torchvision", "numpy", "yacs"} & sys.modules.keys(), "import dassl is not light"
import torch
before = {name: logging.getLogger(name).level for name in ("", "torch", "PIL", "other")}
disabled, handlers = logging.root.manager.disable, list(logging.root.handlers)
import dassl.config, dassl.data, dassl.data.samplers, dassl.engine, dassl.evaluation, dassl.metrics
import dassl.optim, dassl.utils, dassl.data.transforms.transforms, dassl.data.datasets
assert "torchvision" not in sys.modules, "torchvision is imported early"
assert logging.root.manager.disable == disabled == 0
assert logging.root.handlers == handlers
assert before == {name: logging.getLogger(name).level for name in before}
print("ok")
"""


def test_import_is_light_and_without_side_effects() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_SCRIPT], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr
