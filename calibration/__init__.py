# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""From critic scores to error probabilities: count, fit, keep beside the weights, look up."""
