# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A pickle that gives away whether it was opened."""


class Payload:
    """Creates a file where it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")
