# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The bidirectional GPT under every head: attention, blocks, and the model that stacks them."""
