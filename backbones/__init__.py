# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What everything else needs to know of a bidirectional language model, whoever made it."""
