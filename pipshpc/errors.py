"""What can go wrong, sorted by who has to act on it."""


class PipshpcError(Exception):
    """Base of all errors that pipshpc raises on purpose.

    The message says what was found, what is wanted and what to do next; the
    command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 1
    collective = False  # set where all ranks of a task raise it together


class SpecError(PipshpcError):
    """A campaign, product card or site file says something that cannot be done."""

    exit_code = 2


class InputError(PipshpcError):
    """An input file is missing, damaged, or does not hold what is needed."""

    exit_code = 3


class SiteError(PipshpcError):
    """The machine lacks something: a library, a launcher, space, file locking."""

    exit_code = 4


class Stopped(PipshpcError):
    """A task was told to stop, and did so at a block border; what is done is kept for the next attempt."""

    exit_code = 75


class OutputError(PipshpcError):
    """A product file could not be written or did not verify."""

    exit_code = 5
