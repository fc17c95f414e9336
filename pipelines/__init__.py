# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What one does with a trained model, as Transformers pipelines."""
