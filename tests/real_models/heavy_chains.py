# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Human heavy chains for training, validation and test, simulated with OLGA (Sethna et al., 2019; GPL-3).

OLGA draws a V gene, a J gene and a productive CDR3 between them from its model of human B cells. Here the rest of the
two genes is put around it, and the whole is translated. The chains have no somatic mutations. OLGA is no dependency of
the package: it runs in a process of its own, from its unpacked wheel, and only its output is kept.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


SPLITS = {"train": 6000, "validation": 1000, "test": 500}
SEED = 0
# What the model of heavy chains has positions for, without its frame.
LONGEST = 142
GENERATOR = """
import json, sys
from pathlib import Path
import numpy as np
import olga.load_model as load_model
import olga.sequence_generation as sequence_generation
from olga.utils import nt2aa

folder, (count, seed, LONGEST) = Path(sys.argv[1]), map(int, sys.argv[2:])
names = [str(folder / name) for name in ("model_params.txt", "V_gene_CDR3_anchors.csv", "J_gene_CDR3_anchors.csv")]
genes = load_model.GenomicDataVDJ()
genes.load_igor_genomic_data(*names)
model = load_model.GenerativeModelVDJ()
model.load_and_process_igor_model(str(folder / "model_marginals.txt"))
generator = sequence_generation.SequenceGenerationVDJ(model, genes)
np.random.seed(seed)

def anchors(path):
    rows = [line.split(",") for line in Path(path).read_text().splitlines()[1:]]
    return {row[0]: int(row[1]) for row in rows}

v_anchor, j_anchor = anchors(names[1]), anchors(names[2])
chains = {}
while len(chains) < count:
    cdr3, _, v, j = generator.gen_rnd_prod_CDR3()
    v_name, v_gene, j_name, j_gene = genes.genV[v][0], genes.genV[v][2], genes.genJ[j][0], genes.genJ[j][2]
    # From the V gene's first whole codon to its cysteine, the CDR3, and the J gene after its tryptophan.
    before, after = v_gene[: v_anchor[v_name]], j_gene[j_anchor[j_name] + 3 :]
    before, after = before[len(before) % 3 :], after[: len(after) // 3 * 3]
    chain = nt2aa(before + cdr3 + after)
    if "*" not in chain and len(chain) <= LONGEST:
        chains.setdefault(chain, None)
json.dump(list(chains), sys.stdout)
"""


def write(wheel: Path, target: Path) -> None:
    """Simulates all chains, each of them once, and writes them as one text file per split, a chain per line."""
    model = wheel / "olga" / "default_models" / "human_B_heavy"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", GENERATOR, str(model), *map(str, (sum(SPLITS.values()), SEED, LONGEST))]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    chains = iter(json.loads(output))
    for split, count in SPLITS.items():
        rows = [next(chains) for _ in range(count)]
        (target / f"{split}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
