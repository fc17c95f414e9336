# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Who decides which tokens are masked again, and what a step is: one class a strategy."""
