"""Many conversions in one process, which TensorFlow is imported into once: JSON of [source, destination, to, head]."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from mobilebert.convert.convert import convert

for source, destination, to, head in json.load(sys.stdin):
    convert(source, destination, head, to=to)
