"""What a person is told when something they asked for cannot be done."""


class UserError(Exception):
    """A sentence for the person: the file or value that is wrong, why, and the remedy.

    Everything a user can cause is raised as this class or a subclass of it; the page and the command
    line show its text as it stands and never a traceback.
    """
