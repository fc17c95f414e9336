# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
from critic_gpt.hub.folder import LOCATION_ARGUMENTS, location_of


def test_what_says_where_files_come_from_is_taken_and_all_else_left():
    given = {name: name for name in LOCATION_ARGUMENTS}
    assert location_of({**given, "dtype": "float32", "variant": "ema"}) == given
    assert location_of({"revision": None, "local_files_only": False}) == {"local_files_only": False}
