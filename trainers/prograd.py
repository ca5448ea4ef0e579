"""ProGrad (code: BeierZhu/Prompt-align): CoOp that takes no step against what zero-shot CLIP says."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

from caspl.classifier import class_logits
from caspl.dassl.section import dataset_template
from caspl.errors import CasPLError
from caspl.losses import soft_cross_entropy
from caspl.model import Output
from caspl.prompts import Prompts, late_words
from caspl.prompts.templates import PROGRAD_TEMPLATES
from caspl.step import Batch, Steering, Terms
from caspl.towers import CLIP
from trainers.coop import CoOp
from trainers.registry import register


@register
class ProGrad(CoOp):
    """The gradient of the cross-entropy without the part that goes against that of the second loss.

    With CTX_INIT ``template`` the context starts from zeros, then the words of the data set's template before the name.
    """

    section = "PROGRAD"
    reference_looks = True
    defaults = CoOp.defaults | {"CTX_INIT": "template", "T": 1.0, "LAMBDA": 1.0}
    training_only = ("T", "LAMBDA")

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:  # type: ignore[override]
        if options.CSC and options.CTX_INIT:
            raise CasPLError(
                f"TRAINER.PROGRAD.CSC gives every class a context of its own, which starts at random, but CTX_INIT is "
                f"{options.CTX_INIT!r}, a start that is one for all classes: set CTX_INIT to '' or CSC to False"
            )
        if options.CTX_INIT != "template":
            return CoOp.prompts(clip, options, classnames)
        if options.CLASS_TOKEN_POSITION != "end":
            raise CasPLError(
                f"TRAINER.PROGRAD.CTX_INIT template stands before the class name: CLASS_TOKEN_POSITION must be end, "
                f"not {options.CLASS_TOKEN_POSITION!r}, or CTX_INIT ''"
            )
        words = dataset_template(self.cfg, published=PROGRAD_TEMPLATES).split("{}")[0].rstrip()
        return late_words(clip.text, options.N_CTX, words)

    def prepare(self) -> None:
        template = dataset_template(self.cfg, published=PROGRAD_TEMPLATES)
        self.reference = self.reference_of(template)
        self.steering = Steering(("kl",), self.projected)

    def losses(self, output: Output, batch: Batch) -> Terms:
        text = self.reference.text_of(output.chosen)
        frozen = class_logits(self.model.scale, self.reference.image(batch), text)
        return super().losses(output, batch) | {"kl": soft_cross_entropy(output.logits, frozen, self.options.T)}

    def projected(self, grad: Tensor, general: Tensor) -> Tensor:
        """``grad`` less LAMBDA times its part along ``general``, if that part goes the other way."""
        direction = F.normalize(general.flatten(), dim=0)
        along = grad.flatten() @ direction
        return grad - self.options.LAMBDA * along.clamp(max=0) * direction.view_as(grad)
