# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What stands on the trunk beside the LM head: the critic and the joint head."""
