# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A model's folder: what it offers, and the source files that travel with it."""
