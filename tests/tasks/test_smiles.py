# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about molecules: their tokens, their splits, their rows, and what is said of generated ones."""

import gzip
import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.scripts.prepare_data import main as prepare
from critic_gpt.tasks import generation_for, load_prepared
from critic_gpt.tasks.infilling import connected_part, masked_places
from critic_gpt.tasks.molecules import chemistry, internal_diversity
from critic_gpt.tasks.notations import tokens_of
from critic_gpt.tasks.smiles import build_smiles_tokenizer


CHAINS = ["C" * n + end for n in range(1, 40) for end in ("", "O", "N", "Cl", "Br", "[NH3+]", "C=C", "C#N")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("molecules")
    (folder / "all.smi").write_text("".join(f"{one}\tname {i}\n" for i, one in enumerate(CHAINS * 2)))
    flags = ["--source", str(folder / "all.smi"), "--sequence_length", "24", "--validation_share", "0.2"]
    prepare(["--task", "smiles", *flags, "--test_share", "0.2", "--output_dir", str(folder / "data")])
    return load_prepared(folder / "data")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["C", "c", "Cl", "Br", "B", "[nH]", "[C@@H]", "%12", "1", "(", ")", "=", "/"])))
def test_atoms_in_brackets_halogens_and_two_digit_bonds_are_one_token_each(tokens):
    molecule = "".join(tokens)
    assert tokens_of(molecule) == tokens
    tokenizer = build_smiles_tokenizer(tokens, 64)
    ids = tokenizer(molecule).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == tokens and tokenizer.decode(ids) == molecule


def test_a_mask_in_a_prompt_is_the_mask():
    tokenizer = build_smiles_tokenizer(["C", "[nH]"], 8)
    assert tokenizer("C[MASK][nH][EOS]").input_ids == [3, 1, 4, 2]


def test_rows_are_molecules_ended_and_filled_up_by_eos(prepared):
    splits, tokenizer, task = prepared
    for split in splits:
        for row in splits[split]["input_ids"]:
            length = row.index(tokenizer.eos_token_id)
            assert len(row) == task.sequence_length == 24 and set(row[length:]) == {tokenizer.eos_token_id}
            assert tokenizer.decode(row[:length]) in CHAINS


def test_a_molecule_is_in_one_split_and_none_that_fits_is_lost(prepared):
    splits, tokenizer, task = prepared
    texts = {s: [tokenizer.decode(r, skip_special_tokens=True) for r in splits[s]["input_ids"]] for s in splits}
    assert sum(map(len, texts.values())) == 2 * sum(len(tokens_of(one)) < task.sequence_length for one in CHAINS)
    assert not set(texts["train"]) & set(texts["test"]) and not set(texts["validation"]) & set(texts["test"])


def test_figures_count_molecules_by_what_they_are_not_by_how_they_are_spelled(prepared):
    task = prepared[2]
    # Two spellings of ethanol, benzene, an open ring, a carbon of five bonds, nothing at all.
    found = task.judge(["OCC", "CCO", "c1ccccc1", "C1CC", "C(C)(C)(C)(C)C", ""])
    assert found["valid_rate"] == 0.5 and found["num_samples"] == 6
    assert found["unique_rate"] == pytest.approx(2 / 3)
    assert task.right(["CCO", "C1CC"]).tolist() == [True, False]
    assert task.judge(["c1ccccc1"])["novel_rate"] == 1.0


def test_what_was_trained_on_is_not_novel_however_it_is_spelled(prepared):
    splits, tokenizer, task = prepared
    known = [tokenizer.decode(row, skip_special_tokens=True) for row in splits["train"]["input_ids"]]
    assert task.judge(known)["novel_rate"] == 0.0
    (alcohol, *_) = (one for one in known if one.endswith("CO"))
    assert task.judge([f"O{alcohol[:-1]}"])["novel_rate"] == 0.0
    # To read a million molecules takes minutes: another evaluation of the same folder finds them read.
    (kept,) = (task.folder / "train").glob("canonical-*.arrow")
    written = kept.stat().st_mtime_ns
    assert load_prepared(task.folder)[2].judge(known)["novel_rate"] == 0.0 and kept.stat().st_mtime_ns == written


MOLECULES = ["CC(=O)Nc1ccc(O)cc1", "c1ccc2[nH]ccc2c1", "BrCC1CC1Cl", "N#CC(C)(C)c1cc(F)ccn1"]
# Hydrogens that are written, which RDKit would drop, and an atom of any kind.
MOLECULES += ["[H]C([H])(O)CCCN", "*CCCCO"]


@pytest.mark.parametrize("molecule", MOLECULES)
def test_a_third_of_the_atoms_is_masked_that_hang_together_with_all_that_is_written_between_them(molecule):
    chem = chemistry()
    as_written = chem.SmilesParserParams()
    as_written.removeHs = False
    mol, atoms = chem.MolFromSmiles(molecule, as_written), connected_part(molecule)
    assert len(atoms) == math.ceil(mol.GetNumAtoms() / 3)
    reached = {min(atoms)}
    for _ in atoms:
        reached |= {n.GetIdx() for a in reached for n in mol.GetAtomWithIdx(a).GetNeighbors()} & atoms
    assert reached == atoms
    tokens = tokens_of(molecule)
    places = [place for place, token in enumerate(tokens) if token[0].isalpha() or token[0] in "[*"]
    masked = masked_places(tokens, atoms)
    assert {i for i, place in enumerate(places) if masked[place]} == atoms
    for i, (here, following) in enumerate(itertools.pairwise(places)):
        assert set(masked[here + 1 : following]) <= {{i, i + 1} <= atoms}


def test_completions_are_counted_by_what_they_are(prepared):
    _, tokenizer, task = prepared
    rows = task.load_puzzles(task.folder).first(8)
    canvases = rows.canvases(tokenizer)
    assert canvases.shape == (8, task.sequence_length) and len({row.tobytes() for row in canvases}) == 2
    first, second = rows.molecules[:2]
    # Twice the molecule itself, none, another; the molecule, twice another, none.
    texts = [first, first, "C1CC", "CCO", second, "O", "O", "C1CC"]
    found = rows.judge(texts)
    assert rows.right(texts).tolist() == [True, True, False, True, True, True, True, False]
    assert found == {"valid_rate": 0.75, "distinct_rate": 0.5, "recovered_rate": 0.375, "num_samples": 8}
    with pytest.raises(ValueError, match=r"^`texts` must be completions of the 8 rows, got 9: one for each\.$"):
        rows.judge([*texts, "C"])


def test_internal_diversity_is_none_in_copies_and_grows_with_difference():
    assert internal_diversity(["CCO"] * 5) == pytest.approx(0.0, abs=1e-6)
    alike, apart = internal_diversity(["CCO", "CCCO"]), internal_diversity(["CCO", "c1ccccc1"])
    assert 0 < alike < apart <= 0.5  # a molecule is compared with itself, too
    assert internal_diversity([]) == 0.0


def test_test_molecules_that_rdkit_does_not_read_are_neither_masked_nor_compared_with(tmp_path):
    for split, molecules in (("train", CHAINS[:80]), ("validation", CHAINS[:8]), ("test", ["C1CC", "OCC", "CCCN"])):
        (tmp_path / f"{split}.smi").write_text("\n".join(molecules + ["C1CC"] * (split == "train")))
    prepare(["--task", "smiles", "--source", f"{tmp_path}/*.smi", "--output_dir", str(tmp_path / "data")])
    task = load_prepared(tmp_path / "data")[2]
    assert task.load_puzzles(task.folder).molecules == ["OCC", "CCCN"]


@pytest.mark.slow
def test_the_chemnet_distance_asks_not_how_molecules_are_spelled_and_real_ones_are_not_compared_with_themselves(
    tmp_path,
):
    kekule = [f"C1=CC=CC=C1{'C' * n}" for n in range(1, 30)]
    for split, molecules in (("train", kekule), ("validation", kekule), ("test", kekule)):
        (tmp_path / f"{split}.smi").write_text("\n".join(molecules))
    prepare(["--task", "smiles", "--source", f"{tmp_path}/*.smi", "--output_dir", str(tmp_path / "data")])
    task = load_prepared(tmp_path / "data")[2]
    assert task.judge([f"{'C' * n}c1ccccc1" for n in range(1, 30)])["fcd"] < 1e-3
    assert task.judge_real(kekule, 100)["fcd"] > 1 and task.judge_real(kekule, 100)["num_samples"] == 14
    assert math.isnan(task.judge_real([*kekule, *kekule], 100)["fcd"]), "nothing is left to compare with"


@pytest.mark.slow
def test_the_chemnet_distance_is_small_between_alike_and_large_between_unlike_molecules(prepared):
    task = prepared[2]
    test = list(
        dict.fromkeys(prepared[1].decode(r, skip_special_tokens=True) for r in prepared[0]["test"]["input_ids"])
    )
    rings = [f"c1ccccc1{'C' * n}" for n in range(1, len(test))]
    assert task.judge(test)["fcd"] < 0.01 * task.judge(rings)["fcd"]


def test_tables_of_given_splits_keep_them_and_what_training_does_not_know_is_left_out(tmp_path, caplog):
    for split, molecules in (("train", CHAINS[:40]), ("test", ["CCCO", "CCF", "C" * 30])):
        with gzip.open(tmp_path / f"{split}.csv.gz", "wt") as file:
            file.write("\n".join(["SMILES", *molecules]) + "\n")
    flags = ["--source", str(tmp_path), "--sequence_length", "8", "--validation_share", "0.5", "--seed", "3"]
    prepare(["--task", "smiles", *flags, "--output_dir", str(tmp_path / "data")])
    splits, tokenizer, _ = load_prepared(tmp_path / "data")
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in splits["test"]["input_ids"]] == ["CCCO"]
    assert len(splits["train"]) + len(splits["validation"]) == sum(len(tokens_of(one)) < 8 for one in CHAINS[:40])
    assert "too long, 1 with tokens that are not trained on" in caplog.text


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "`source` must name SMILES, got none"),
        (["--source", "x", "--sequence_length", "1"], "`sequence_length` must be at least 2, got 1"),
        (["--source", "x", "--notation", "inchi"], "`notation` must be one of smiles, selfies, got 'inchi'"),
        (["--source", "x", "--num_train", "0"], "`num_train` must be at least 1, got 0"),
        (["--source", "x", "--test_share", "1"], "`test_share` must be between 0 and 1, got 1"),
        (["--source", "x", "--test_share", "0.5", "--validation_share", "0.5"], "must be below 1, got 1.0"),
        (["--source", "missing.smi"], "which does not exist"),
    ],
)
def test_flags_that_cannot_be_are_refused_in_one_sentence(tmp_path, flags, sentence):
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        prepare(["--task", "smiles", *flags, "--output_dir", str(tmp_path / "data")])
    assert sentence in str(refused.value) and not (tmp_path / "data").exists()


def test_lines_may_end_as_on_any_system(tmp_path):
    counts = set()
    for number, end in enumerate(("\n", "\r\n", "\r")):
        (tmp_path / f"{number}.smi").write_text(end.join(f"{one} name" for one in CHAINS), newline="")
        flags = ["--source", str(tmp_path / f"{number}.smi"), "--validation_share", "0.2", "--test_share", "0.2"]
        prepare(["--task", "smiles", *flags, "--output_dir", str(tmp_path / f"data{number}")])
        splits, tokenizer, _ = load_prepared(tmp_path / f"data{number}")
        counts.add((*map(len, splits.values()), len(tokenizer)))
    assert len(counts) == 1


def test_lines_of_smiles_are_read_in_folders_within_folders_by_a_pattern_too(tmp_path):
    for name, molecules in (("one", CHAINS[:60]), ("two", CHAINS[60:120])):
        (tmp_path / "deep" / name).mkdir(parents=True)
        (tmp_path / "deep" / name / "some.smi").write_text("\n".join(molecules) + "\n")
    flags = ["--source", f"{tmp_path}/**/*.smi", "--validation_share", "0.2", "--test_share", "0.2"]
    prepare(["--task", "smiles", *flags, "--output_dir", str(tmp_path / "data")])
    assert sum(map(len, load_prepared(tmp_path / "data")[0].values())) > 60


def test_the_head_of_a_column_is_no_molecule_and_lines_that_do_not_begin_with_one_are_refused(tmp_path, caplog):
    odd = [
        "Clc1ccccc1",
        "BrCCBr",
        "[13CH4]",
        "*CC",
        "C%12CCCCC%12",
        "C/C=C\\C",
        "[NH4+].[Cl-]",
        "C[C@@H](N)O",
        "C#N",
        "CCN->[Zn]",
        "B$C~N:C",
        "(C)C",
    ]
    lines = ["SMILES Name", "[MASK]", "C[EOS]C", *(f"{one} a" for one in CHAINS + odd)]
    (tmp_path / "headed.smi").write_text("\n".join(lines))
    shares = ["--validation_share", "0.2", "--test_share", "0.2", "--output_dir", str(tmp_path / "data")]
    prepare(["--task", "smiles", "--source", str(tmp_path / "headed.smi"), *shares])
    splits, tokenizer, _ = load_prepared(tmp_path / "data")
    known = {
        tokenizer.decode(row, skip_special_tokens=True) for split in splits.values() for row in split["input_ids"]
    }
    assert known <= {*CHAINS, *odd} and {one[-1] for one in CHAINS} <= {one[-1] for one in known}
    assert "3 that are no SMILES" in caplog.text
    said = r"leaves train empty \(\d+ that are no SMILES\); .* SMILES stand first\.$"
    for lines in ([f"{n}\tCCO" for n in range(99)], [f"CHEMBL{n} CCO" for n in range(99)], ["CCO,1", "CCN,2"] * 50):
        (tmp_path / "other.smi").write_text("\n".join(["id smiles", *lines]))
        with pytest.raises(ValueError, match=said):
            prepare(["--task", "smiles", "--source", str(tmp_path / "other.smi"), *shares, "--overwrite"])


def test_a_split_without_molecules_is_refused(tmp_path):
    (tmp_path / "few.smi").write_text("CCO\n")
    with pytest.raises(ValueError, match=r"which leaves .* empty"):
        prepare(["--task", "smiles", "--source", str(tmp_path / "few.smi"), "--output_dir", str(tmp_path / "data")])


def prepare_selfies(folder, molecules):
    (folder / "all.smi").write_text("\n".join(molecules))
    shares = ["--sequence_length", "32", "--validation_share", "0.2", "--test_share", "0.2", "--notation", "selfies"]
    source = ["--source", str(folder / "all.smi")]
    prepare(["--task", "smiles", *source, *shares, "--output_dir", str(folder / "data")])
    return load_prepared(folder / "data")


RINGS = [f"c1cc({one})ccc1{other}" for one in ("F", "Cl", "CC", "C=O", "[NH3+]") for other in CHAINS[:60]]


def test_selfies_are_the_same_molecules_and_whatever_is_drawn_of_them_is_one(tmp_path, caplog):
    splits, tokenizer, task = prepare_selfies(tmp_path, [*RINGS, "*CCO", "CC(C)(C)(C)C", "C44", "CBr:[nH]"])
    rows = [row for split in splits.values() for row in split["input_ids"]]
    written = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    chem = chemistry()
    meant = {chem.CanonSmiles(task.notation.read(one)) for one in written}
    assert len(written) == len(RINGS) and meant == {chem.CanonSmiles(one) for one in RINGS}
    assert "4 that this notation cannot express" in caplog.text
    # Tokens at random, after one that is an atom.
    letters = [one for one in tokenizer.get_vocab() if one not in tokenizer.all_special_tokens]
    drawn = np.random.default_rng(0).choice(letters, size=(500, 20))
    assert task.right(["[C]" + "".join(row) for row in drawn]).all()
    assert not task.right(["CCO", "[C][Xx]", ""]).any()


def test_selfies_are_judged_by_what_they_are_and_not_completed(tmp_path):
    splits, tokenizer, task = prepare_selfies(tmp_path, RINGS)
    known = [tokenizer.decode(row, skip_special_tokens=True) for row in splits["train"]["input_ids"]]
    found = task.judge(known)
    assert found["valid_rate"] == 1.0 and found["novel_rate"] == 0.0 and found["fcd"] >= 0
    assert found["internal_diversity"] == pytest.approx(internal_diversity([*map(task.notation.read, known)]))
    # Ethanol from either end.
    assert task.judge(["[C][C][O]", "[O][C][C]"])["unique_rate"] == 0.5
    with pytest.raises(ValueError, match=r"^`notation` must be smiles to complete molecules, got 'selfies'"):
        task.load_puzzles(task.folder)


def test_without_the_package_of_selfies_its_installation_is_named_and_prepared_rows_can_be_trained_on(
    tmp_path, monkeypatch
):
    prepare_selfies(tmp_path, RINGS)
    monkeypatch.setitem(sys.modules, "selfies", None)
    splits, _, task = load_prepared(tmp_path / "data")
    assert len(splits["train"]) and generation_for(tmp_path / "data")["remask_exponent"] == 2.0
    for needs_it in (lambda: task.judge(["[C]"]), lambda: prepare_selfies(tmp_path / "data", RINGS)):
        with pytest.raises(ImportError, match=r"`selfies` must be installed .* pip install critic_gpt\[molecules\]"):
            needs_it()
