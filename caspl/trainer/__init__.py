"""What trainers of Dassl's kind share, ours and the plug-in's: the section ``TRAINER.CASPL``, run hashes, phase 1.

Here and in :mod:`caspl.plugin` alone, this library reads configs and imports ``dassl``.
"""
