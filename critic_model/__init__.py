# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A masked language model with a critic: its two training passes, for our own trunk and for anybody's."""
