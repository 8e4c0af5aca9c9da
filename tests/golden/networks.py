"""The networks of the Python package (`python/rslad/zoo`), for the scripts of this folder."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from rslad.zoo import wide  # noqa: E402, F401
from rslad.zoo.networks import build  # noqa: E402, F401
