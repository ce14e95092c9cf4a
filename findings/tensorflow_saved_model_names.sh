#!/usr/bin/env bash
# tensorflow 2.21.0, tf-keras 2.21.0: tf.train.list_variables, with which checkpoints were always converted, does not
# give a variable's name where Keras 2 has written a SavedModel of a model in a model, as exports for TensorFlow Hub are.
# A key there is a place in a list, "variables/17"; in a checkpoint it is the shortest path of Python's attributes, and
# so a table that two layers share stands under whichever is reached first. The names that conversion tables are made
# of are stored too: in the entry _CHECKPOINTABLE_OBJECT_GRAPH, as full_name beside each key.
#
#   bash findings/tensorflow_saved_model_names.sh
#
# Installs pinned packages into a temporary folder. Exit code 1 where the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 tf-keras==2.21.0

cd "$work"
cat >try.py <<'PYTHON'
import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph


class Reader(tf_keras.layers.Layer):
    """A layer that reads another one's table, as a language model's head does."""

    def __init__(self, table, **options):
        super().__init__(**options)
        self.table = table

    def call(self, hidden):
        return tf.matmul(hidden, self.table, transpose_b=True)


inputs = tf_keras.Input([None], dtype=tf.int32)
words = tf_keras.layers.Embedding(5, 3, name="words")
hidden = tf_keras.layers.Dense(3, name="dense")(words(inputs))
encoder = tf_keras.Model(inputs, hidden, name="encoder")
head = Reader(words.embeddings, name="head")
head(encoder(np.zeros([1, 2], np.int32)))

outer = tf_keras.Model(inputs, encoder(inputs))  # as exports for the hub are
outer.save("saved", save_format="tf", include_optimizer=False)
tf.train.Checkpoint(encoder=encoder, head=head).write("checkpoint")
print("tensorflow", tf.__version__, "tf_keras", tf_keras.__version__)
for prefix in ("saved/variables/variables", "checkpoint"):
    reader = tf.train.load_checkpoint(prefix)
    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes if a.full_name}
    print(f"{prefix}:")
    for key, shape in tf.train.list_variables(prefix):
        if shape:
            print(f"  {key.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')} is {names[key]}")
PYTHON
found=$(TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" try.py 2>/dev/null)
echo "$found"
for line in "variables/0 is words/embeddings" "variables/1 is dense/kernel" "head/table is words/embeddings"; do
    grep -q "^  $line\$" <<<"$found" || { echo "changed: expected '$line'" >&2; exit 1; }
done
