"""A method of your own as a plug-in: CoOp whose text features stay near those of hand-written words.

python train.py --plugin docs/examples/anchored.py --trainer CasPL_AnchoredCoOp ...
"""

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.dassl.section import dataset_template
from caspl.model import Output
from caspl.prompts import Prompts, coop_context
from caspl.step import Batch, Terms
from caspl.teachers import Reference
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class AnchoredCoOp(PromptTrainer):
    """Cross-entropy, and the mean squared distance of each class's feature to its hand-written one."""

    section = "ANCHORED"  # TRAINER.ANCHORED in configs
    defaults = {"N_CTX": 4, "CTX_INIT": "a photo of a", "W": 8.0, "PREC": "fp32"}
    training_only = ("W",)

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return coop_context(clip.text, options.N_CTX, options.CTX_INIT)

    def prepare(self) -> None:
        self.reference = Reference(self.model, (dataset_template(self.cfg),), self.reference_segments)

    def losses(self, output: Output, batch: Batch) -> Terms:
        distance = (output.text - self.reference.text).square().sum(dim=-1).mean()
        return super().losses(output, batch) | {"anchor": self.options.W * distance}


CASES = [("AnchoredCoOp", {"text.adapting.values"}, {"W": 4.0})]  # rows of the test matrix: name, what learns, settings
