"""The one exception that featvis raises for what a user can mend."""


class FeatvisError(Exception):
    """One line: what was given, what was expected and how to mend it."""
