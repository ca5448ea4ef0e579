"""CasPL: cascade prompt learning for CLIP (arXiv 2409.17805).

The library behind the trainers: plain CLIP towers that can be opened at their blocks (``caspl.towers``),
prompt segments and their cascade (``caspl.prompts``), the prompted model (``caspl.model``), frozen teachers
(``caspl.teachers``), losses (``caspl.losses``) and the training step (``caspl.step``). ``caspl.build`` gives back a
trained model from its checkpoint. Everything takes typed arguments; but for ``caspl.dassl``, nothing here knows a
configuration system or a training engine.
"""

__version__ = "0.2.0"
