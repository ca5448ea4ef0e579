"""CLIPs of transformers': their weights under OpenAI's names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.zoo.weights import Weights

OUTSIDE = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "logit_scale": "logit_scale",
}
WITHIN = {
    **{"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"},
    **{"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"},
}
TOWERS = {"text_model": "", "vision_model": "visual."}


def is_huggingface(model: nn.Module) -> bool:
    """Whether it has the parts of transformers' ``CLIPModel``."""
    return all(hasattr(model, name) for name in (*TOWERS, "visual_projection", "text_projection", "config"))


def openai_weights(model: Any) -> Weights:
    """The weights of a ``CLIPModel``, in OpenAI's format.

    Raises:
        CasPLError: it lacks some of them.
    """
    state: dict[str, Tensor] = {key: value.detach() for key, value in model.state_dict().items()}
    try:
        made = {theirs: state[ours] for ours, theirs in OUTSIDE.items()}
        made["visual.proj"] = state["visual_projection.weight"].t()
        made["text_projection"] = state["text_projection.weight"].t()
        for tower, prefix in TOWERS.items():
            for layer in range(len(getattr(model, tower).encoder.layers)):
                made |= _block(state, f"{tower}.encoder.layers.{layer}.", f"{prefix}transformer.resblocks.{layer}.")
    except KeyError as error:
        raise CasPLError(f"{type(model).__name__} lacks {error}: expected is transformers' CLIPModel") from error
    config = model.config
    heads = (config.vision_config.num_attention_heads, config.text_config.num_attention_heads)
    return Weights({key: value.float() for key, value in made.items()}, config.text_config.hidden_act, heads)


def _block(state: dict[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for name, other in WITHIN.items():
            made[f"{ours}{other}.{kind}"] = state[f"{theirs}{name}.{kind}"]
        parts = [state[f"{theirs}self_attn.{one}_proj.{kind}"] for one in "qkv"]
        made[f"{ours}attn.in_proj_{kind}"] = torch.cat(parts)
    return made
