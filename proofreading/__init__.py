# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which tokens of a text are probably wrong, and what should stand there."""
