# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Who decides which tokens are re-masked, and what a step is: one class per strategy."""
