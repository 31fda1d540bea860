"""What pip installs beside the packages: shipped bundles, and what the groups in pyproject.toml name.

Whoever installs by pip has no ROS 2 from it, so the group `ros` is not among the extras.
"""

import tomllib
from pathlib import Path

from setuptools import setup

groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
setup(
    install_requires=groups["vehicle"],
    extras_require={
        "openvino": groups["engines"],
        "middle": groups["middle"],
        "replay": groups["demo"],
        "train": groups["demo"] + groups["train"],
        "plan": groups["demo"] + groups["plan"],
        "adapt": groups["demo"] + groups["train"] + groups["adapt"],
        "cluster": groups["demo"] + groups["cluster"],
    },
    data_files=[
        (f"share/mtl_split/{folder}", [str(file) for file in folder.iterdir()]) for folder in Path("models").iterdir()
    ],
)
