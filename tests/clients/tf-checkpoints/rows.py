"""The token ids of the classifier's sentences, in the environment of this repository: rows.py WORK OUT.npz."""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))

from mobilebert.model.tensor_files import read_state
from mobilebert.text.tokenizer import MobileBertTokenizer

folder = Path(sys.argv[1]) / "models" / "classifier"
texts = [row["text"] for row in json.loads(folder.parents[1].joinpath("reference/classifier.json").read_text())]
rows = MobileBertTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True)
state, _ = read_state(folder)
labels = json.loads((folder / "config.json").read_text())["id2label"]
np.savez(
    sys.argv[2],
    ids=np.array(rows.input_ids), mask=np.array(rows.attention_mask), types=np.array(rows.token_type_ids),
    weight=state["classifier.weight"], bias=state["classifier.bias"],
    labels=np.array([labels[str(number)] for number in range(len(labels))]),
)  # fmt: skip
