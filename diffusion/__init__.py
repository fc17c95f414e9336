# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The tensor laws of masked diffusion with a critic, as pure functions: no model, no tokenizer, no file."""
