"""Packaging: the root of the repository is the package `critic_gpt`, as the root of a model repository on the hub."""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "__init__.py").read_text(encoding="utf-8")).group(1)

VIZ = ["matplotlib>=3.8", "pillow>=10.1"]
PEFT = ["peft>=0.21"]
MOLECULES = ["rdkit>=2025.3", "fcd>=1.2.2", "selfies>=2.1"]
MAUVE = ["mauve-text>=0.4"]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.7", "mkdocstrings[python]>=1.0", "ruff>=0.12"]


class BuildPackage(build_py):
    """Leaves this file out: it lies in the package's folder, but is no module of it."""

    def find_package_modules(self, package, package_dir):
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    name="critic_gpt",
    version=VERSION,
    description="Masked diffusion language models that know which of their tokens are wrong",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the critic_gpt developers",
    license="Apache-2.0",
    python_requires=">=3.11",
    cmdclass={"build_py": BuildPackage},
    package_dir={"critic_gpt": "."},
    packages=[
        "critic_gpt",
        "critic_gpt.backbones",
        "critic_gpt.calibration",
        "critic_gpt.cli",
        "critic_gpt.critic_model",
        "critic_gpt.diffusion",
        "critic_gpt.evaluation",
        "critic_gpt.explorer",
        "critic_gpt.generation",
        "critic_gpt.generation.strategies",
        "critic_gpt.heads",
        "critic_gpt.hub",
        "critic_gpt.pipelines",
        "critic_gpt.proofreading",
        "critic_gpt.scripts",
        "critic_gpt.tasks",
        "critic_gpt.training",
        "critic_gpt.training.modifiers",
        "critic_gpt.trunk",
    ],
    package_data={
        "critic_gpt": ["py.typed"],
        "critic_gpt.explorer": ["assets/*"],
        "critic_gpt.scripts": ["configs/*.yaml"],
    },
    entry_points={"console_scripts": ["critic-gpt = critic_gpt.cli.command:main"]},
    install_requires=[
        "torch>=2.9",
        "numpy>=1.26",
        "transformers>=5.23,<6",
        "datasets>=4.0",
        "accelerate>=1.10",
        "safetensors>=0.5",
        "huggingface_hub>=1.0",
        "tokenizers>=0.22",
        "pyyaml>=6.0",
        "regex>=2025.10.22",
        "rich>=13.0",
        "tqdm>=4.60",
    ],
    extras_require={
        "viz": VIZ,
        "peft": PEFT,
        "molecules": MOLECULES,
        "mauve": MAUVE,
        "docs": DOCS,
        "quantisation": ["torchao>=0.18"],
        "dev": [
            *VIZ,
            *PEFT,
            *MOLECULES,
            "hypothesis>=6.100",
            "mypy>=2.0",
            "optimum-quanto>=0.2.7",
            "parameterized>=0.9",
            "playwright>=1.50",
            "pytest>=8.0",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "scikit-learn>=1.5",
            "tensorboard>=2.18",
            "trackio>=0.20",
        ],
    },
)
