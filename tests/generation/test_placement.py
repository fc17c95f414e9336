# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about where given text stands among what is generated."""

import torch
from generation_cases import FILL_ALL, MASK, PAD, arguments, build, canvas, every_kind, padded


@every_kind
def test_a_block_at_a_random_place_stays_whole_and_is_neither_changed_nor_counted(model, strategy):
    rows, num_new = [[5, 6, 7], [8, 9]], 9
    case = {"max_new_tokens": num_new, "seed_placement": "random", "num_steps": 5, "return_history": True}
    output = model.generate(padded(rows), seed=[3, 4], **case, **arguments(strategy))
    for i, row in enumerate(rows):
        length = len(row) + num_new
        first = output.history[0].input_ids[i].tolist()
        places = [j for j, token in enumerate(first[:length]) if token != MASK]
        offset = places[0]
        assert places == list(range(offset, offset + len(row))) and [first[j] for j in places] == row
        assert first[length:] == [PAD] * (len(first) - length)
        for step in output.history:
            assert step.input_ids[i, places].tolist() == step.filled[i, places].tolist() == row
            assert not step.remasked[i, places].any()
        if strategy in FILL_ALL:
            # The schedule falls from 0.95 to 0.05 of what may change, the block not among it.
            expected = [int(num_new * ratio + 1e-9) for ratio in (0.725, 0.5, 0.275, 0.05)]
            assert [int(step.remasked[i].sum()) for step in output.history[:-1]] == expected
        assert output.sequences[i, places].tolist() == row
        assert not output.error_probabilities[i, places].any()


def test_every_offset_is_equally_likely_and_placing_a_canvas_gives_the_same(model):
    num_rows, num_new = 3000, 4
    ids, seeds = torch.full((num_rows, 2), 7), list(range(num_rows))
    case = {"max_new_tokens": num_new, "seed_placement": "random", "num_steps": 1, "seed": seeds}
    placed = model.generate(ids, return_history=True, return_error_probabilities=False, **case)
    first = placed.history[0].input_ids
    counts = (first == 7).long().argmax(-1).bincount(minlength=num_new + 1)
    deviation = (num_rows * 0.2 * 0.8) ** 0.5
    # z = 5: one false alarm in 300 000 runs.
    assert len(counts) == 5 and ((counts - num_rows / 5).abs() <= 5 * deviation).all()
    complete = torch.cat([ids, torch.full((num_rows, num_new), MASK)], dim=-1)
    number = torch.full((num_rows,), num_new)
    assert torch.equal(model.place_seed_text(complete, torch.ones_like(complete), number, seeds), first)


def test_a_prefix_is_where_text_stands_by_default_and_a_placement_of_the_models_own_is_meant_for_prefixes():
    model = build()
    case = {"max_new_tokens": 8, "num_steps": 2, "seed": 1}
    ids = torch.tensor([[5, 6, 7]])
    plain = model.generate(ids, **case).sequences
    assert torch.equal(plain, model.generate(ids, seed_placement="prefix", **case).sequences)
    assert plain[0, :3].tolist() == [5, 6, 7]
    holes = model.generate(canvas, num_steps=2, seed=1).sequences
    model.generation_config.seed_placement = "random"
    assert torch.equal(model.generate(canvas, num_steps=2, seed=1).sequences, holes)
    assert not torch.equal(model.generate(ids, **case).sequences, plain)


def test_from_nothing_a_placement_changes_nothing(model):
    case = {"max_new_tokens": 8, "num_steps": 3, "seed": 1}
    assert torch.equal(model.generate(**case).sequences, model.generate(seed_placement="random", **case).sequences)
