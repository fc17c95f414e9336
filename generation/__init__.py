# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How a masked diffusion model with a critic fills its masks."""
