"""Helpers shared by trainers, data sets and scripts."""

from .checkpoint import load_checkpoint, resume_from_checkpoint, save_checkpoint
from .download import download_url
from .logger import Logger, setup_logger, speak_of_errors_alone
from .meters import AverageMeter, MetricMeter
from .registry import Registry, check_availability, get_most_similar_str_to_a_from_b
from .tools import (
    check_isfile,
    collect_env_info,
    listdir_nohidden,
    mkdir_if_missing,
    read_image,
    read_json,
    set_random_seed,
    tolist_if_not,
    write_json,
)
from .torchtools import (
    count_num_param,
    init_network_weights,
    load_pretrained_weights,
    open_all_layers,
    open_specified_layers,
)

__all__ = [
    "AverageMeter",
    "Logger",
    "MetricMeter",
    "Registry",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "count_num_param",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "init_network_weights",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "open_all_layers",
    "open_specified_layers",
    "read_image",
    "read_json",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_random_seed",
    "setup_logger",
    "speak_of_errors_alone",
    "tolist_if_not",
    "write_json",
]
