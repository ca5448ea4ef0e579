"""TCP (code: htyao89/Textual-based_Class-aware_prompt_tuning): each class has tokens of its own at an inner block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from yacs.config import CfgNode

from caspl.dassl.section import dataset_template
from caspl.prompts import ClassAware, Prompts, coop_context
from caspl.prompts.templates import TCP_TEMPLATES, TCP_TEXTS
from caspl.towers import CLIP
from trainers.kgcoop import KgCoOp
from trainers.registry import register


@register
class TCP(KgCoOp):
    """KgCoOp's losses, and an Adam with a large eps. What the class tokens are made of is always plain CLIP's."""

    section = "TCP"
    defaults = KgCoOp.defaults | {"CTX_INIT": "", "LAYER": 8, "ADAM_EPS": 1e-3}
    training_only = ("W", "ADAM_EPS")
    templates = TCP_TEMPLATES

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:  # type: ignore[override]
        template = dataset_template(self.cfg, published=self.templates)
        made = partial(ClassAware, embed_dim=clip.sizes.embed_dim, layer=options.LAYER, template=template)
        context = coop_context(clip.text, options.N_CTX, options.CTX_INIT, segment_type=made)
        return replace(context, templates=(TCP_TEXTS.get(self.cfg.DATASET.NAME, "{}."),))

    def build_model(self) -> None:
        super().build_model()
        for group in self.optim.param_groups:
            if "betas" in group:  # Adam and its kin
                group["eps"] = self.options.ADAM_EPS
