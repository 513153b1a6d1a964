"""Errors that a user can act on.

Every message names the thing, its value, what was expected, and the cure. The command line prints the message as one
line and exits with 1; a traceback is reserved for our own mistakes.
"""


class RegazeError(Exception):
    """A mistake that the user can mend; the message says how."""


class DataError(RegazeError):
    """Photographs, labels, masks or boxes that cannot be read or do not fit each other."""


class ModelError(RegazeError):
    """A network, weights file or model folder that cannot be built or loaded."""


class StudyError(RegazeError):
    """A study folder that is missing, damaged, or asked for a step too early."""


class CorrectionError(RegazeError):
    """A correction or selection that cannot be stored, read or rendered."""


class OptionError(RegazeError):
    """An option whose value lies outside what the command accepts."""
