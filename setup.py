"""Installs the library ``caspl`` alone; ``train.py`` and its folders are run from a checkout, as this field does."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1] for line in (HERE / "caspl/__init__.py").read_text().splitlines() if "__version__ =" in line
)

ONNX = ["onnx>=1.18", "onnxruntime>=1.22", "onnxscript>=0.5"]
REPORT = ["jinja2>=3.1", "matplotlib>=3.8", "scipy>=1.11"]

setup(
    name="caspl",
    version=VERSION,
    description="Cascade Prompt Learning for CLIP: boosting and adapting prompts for any method",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["caspl", "caspl.*"]),
    package_data={
        "caspl": [
            "py.typed",
            "demo/page.html",
            "results/paper/*.csv",
            "results/report/web/*",
            "tiny/weights/*",
            "protocols/*.yaml",
            "protocols/tables/*.yaml",
        ]
    },
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.26",
        "pillow>=10",
        "safetensors>=0.4",
        "open_clip_torch>=2.24,<4",
        "tqdm>=4.60",
    ],
    entry_points={"console_scripts": ["caspl = caspl.__main__:main"]},
    extras_require={
        "onnx": ONNX,
        "probe": ["scikit-learn>=1.4"],  # LinearProbeCLIP alone
        "report": REPORT,
        "slurm": ["submitit>=1.5"],
        "test": [
            *REPORT,
            *ONNX,
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "mypy>=1.10",
            "ruff>=0.6",
            "scikit-learn>=1.4",
            "submitit>=1.5",
            "transformers>=4.40",
            "types-PyYAML",
        ],
    },
)
