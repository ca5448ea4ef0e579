"""The one exception that means: the user can mend this.

Raised with a sentence that names the thing that is wrong and the way out. Command lines print that sentence
without a traceback and exit with code 2; every other exception is a defect of ours and keeps its traceback.
"""


class CasPLError(Exception):
    """Wrong input: a missing file, a foreign checkpoint, a student that does not fit, ..."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, for use in a sentence; its type's name where it has no text."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
