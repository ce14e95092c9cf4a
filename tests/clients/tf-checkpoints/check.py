"""TensorFlow itself writes checkpoints of Google's names, and Model Garden's own models read and write theirs.

Called by ``bash scripts/clients.sh tf-checkpoints``. Three things are asked:

- Checkpoints of every shape of ``tests/support/google_mobilebert.py``, saved by TensorFlow 1's ``Saver`` among an
  optimizer's slots, become Paddle's and transformers' models with the outputs of Google's formulas (float64, 1e-10).
- What is written with ``--to tf1`` is restored as Google's code restores it, each variable bit for bit.
- Model Garden's MobileBERT is converted from its checkpoint and from its SavedModel; and loaded with the classifier's
  weights, written with ``--to tf2``, it decides on every sentence as ours does.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Model Garden's Keras
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(HERE.parent)]

import common  # noqa: E402 (found where the line above says)
from support.google_mobilebert import CONFIGS, Google, batch, beside, difference, random_variables  # noqa: E402

import tensorflow as tf  # isort: skip  # noqa: E402
import tf_keras  # isort: skip  # noqa: E402
from official.projects.mobilebert import export_tfhub, model_utils  # isort: skip  # noqa: E402

model_utils.tf_keras = tf_keras  # which that module uses, and in 2.19 and 2.20 does not import
TOLERANCE = 1e-10
STEP = 500
OUTPUTS = ("sequence", "pooled")


def ours(script: str, *arguments: object, text: str | None = None) -> None:
    """Run a script of this folder in this repository's environment."""
    command = [os.environ["MOBILEBERT_PYTHON"], HERE / script, *arguments]
    subprocess.run([*map(str, command)], input=text, text=True, check=True, cwd=ROOT)


def with_tensorflow(script: Path, *arguments: object, text: str | None = None) -> None:
    """Run a script with this environment's TensorFlow and the other packages of this repository's."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    python = [os.environ["MOBILEBERT_PYTHON"], "-c", ask]
    packages = subprocess.run(python, capture_output=True, text=True, check=True).stdout.strip()
    command = [*map(str, (sys.executable, script, *arguments))]
    environment = {**os.environ, "PYTHONPATH": packages}
    subprocess.run(command, input=text, text=True, check=True, cwd=ROOT, env=environment, stdout=sys.stderr)


# Google's code (TF1)


def save_tf1(folder: Path, config: dict, variables: dict[str, np.ndarray], step: int) -> None:
    """Save variables as ``tf.estimator`` does, by name, beside a training's others."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bert_config.json").write_text(json.dumps(config))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in (variables | beside(variables, config)).items():
            initial = tf.compat.v1.constant_initializer(value)
            tf.compat.v1.get_variable(name, value.shape, value.dtype, initial, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "model.ckpt"), global_step=step)


def restore_tf1(prefix: Path, variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Initialise a graph's variables from a checkpoint as Google's code does, those that the checkpoint has."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        made = {n: tf.compat.v1.get_variable(n, v.shape, v.dtype, use_resource=False) for n, v in variables.items()}
        stored = [name for name, _ in tf.train.list_variables(str(prefix)) if name in made]
        tf.compat.v1.train.init_from_checkpoint(str(prefix), {name: name for name in stored})
        session.run(tf.compat.v1.global_variables_initializer())
        return session.run(made)


def check_tf1(work: Path) -> None:
    """Every shape to Paddle, to transformers and back."""
    conversions, asked, originals = [], [], {}
    for name, config in CONFIGS.items():
        originals[name] = random_variables(config, "pretraining")
        older = random_variables(config, "pretraining", seed=1)
        for step, variables in ((STEP - 100, older), (STEP, originals[name])):
            save_tf1(work / name / "tf1", config, variables, step)
        tf1, paddle, torch, again = (str(work / name / part) for part in ("tf1", "paddle", "torch", "again"))
        conversions += [(tf1, paddle, "paddle", None), (paddle, again, "tf1", None)]
        asked.append((name, "paddle", paddle, "pretraining"))
        if name not in ("ib-bert", "bert"):  # transformers crashes on the first, and knows the second by another name
            conversions.append((paddle, torch, "torch", None))
            asked.append((f"{name} torch", "torch", torch, "pretraining"))
    with_tensorflow(HERE / "convert_all.py", text=json.dumps(conversions))
    ours("outputs.py", work / "outputs.npz", text=json.dumps(asked))
    got = np.load(work / "outputs.npz")
    equal = 0
    for name, config in CONFIGS.items():
        expected = Google(config, originals[name])(*batch())
        control = Google(config, random_variables(config, "pretraining", seed=1))(*batch())
        for library in ("", " torch"):
            found = {
                key: got[f"{name}{library} {key}"] for key in ("prediction", "next") if f"{name}{library} {key}" in got
            }
            if not found:
                continue
            apart = difference(found, expected)
            print(f"{name}{library}: outputs differ from Google's formulas by {apart:.1e}", file=sys.stderr)
            assert apart < TOLERANCE, name
            assert difference(found, control) > 1e-3, f"{name}: the comparison notices nothing"
        restored = restore_tf1(work / name / "again" / "mobilebert.ckpt", originals[name])
        equal += sum(np.array_equal(restored[key], value) for key, value in originals[name].items())
    total = sum(map(len, originals.values()))
    assert equal == total
    common.report(
        "TensorFlow, Saver (Python)", tf.__version__, f"TF1 checkpoints of {len(CONFIGS)} shapes, there and back",
        equal, total, note="variables, bit for bit",
    )  # fmt: skip


# Model Garden (TF2)


def run_garden(model: tf_keras.Model, ids: np.ndarray, mask: np.ndarray, types: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of Model Garden's encoder in float32."""
    inputs = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
    outputs = model.encoder_network({key: tf.constant(value, tf.int32) for key, value in inputs.items()})
    return {name: outputs[f"{name}_output"].numpy() for name in OUTPUTS}


def check_garden(work: Path) -> None:
    """Its own checkpoint and SavedModel."""
    conversions, asked, expected = [], [], {}
    for name in ("mobilebert", "tiny", "without-opt"):
        folder, config = work / "garden" / name, model_utils.BertConfig.from_dict(dict(CONFIGS[name]))
        model = model_utils.create_mobilebert_pretrainer(config)
        generator = np.random.default_rng(5)
        for variable in model.variables:
            variable.assign(generator.normal(0.3, 0.2, variable.shape))
        saved = tf.train.Checkpoint(**model.checkpoint_items).save(str(folder / "ckpt" / "mobilebert"))
        (work / "vocab.txt").write_text("".join(f"word{number}\n" for number in range(config.vocab_size)))
        export_tfhub.export_bert_tfhub(config, saved, str(folder / "hub"), str(work / "vocab.txt"), True)
        expected[name] = run_garden(model, *batch())
        for kind in ("ckpt", "hub"):
            (folder / kind / "bert_config.json").write_text(json.dumps(CONFIGS[name]))
            conversions.append((str(folder / kind), str(folder / f"{kind}-paddle"), "paddle", "model"))
            asked.append((f"{name} {kind}", "paddle", str(folder / f"{kind}-paddle"), "model"))
    with_tensorflow(HERE / "convert_all.py", text=json.dumps(conversions))
    ours("outputs.py", work / "garden.npz", text=json.dumps(asked))
    got = np.load(work / "garden.npz")
    for label, *_ in asked:
        name = label.split()[0]
        apart = difference({key: got[f"{label} {key}"] for key in OUTPUTS}, expected[name])
        print(f"Model Garden's {label}: outputs differ by {apart:.1e} (float32)", file=sys.stderr)
        assert apart < 1e-4, name
        others = [expected[other] for other in expected if other != name]
        assert all(difference({"pooled": got[f"{label} pooled"]}, other) > 1e-2 for other in others)


def check_classifier(work: Path, models: Path) -> None:
    """Our trained classifier's encoder in Model Garden's code, its last layer here."""
    folder = work / "classifier"
    source = models / "models" / "classifier"
    with_tensorflow(ROOT / "convert.py", "--src", source, "--dst", folder, "--to", "tf2", "--head", "model")
    tf_keras.backend.clear_session()  # else its layers are numbered on from the models before, and found by name
    model = model_utils.create_mobilebert_pretrainer(
        model_utils.BertConfig.from_json_file(str(folder / "bert_config.json"))
    )
    model.encoder_network.load_weights(str(folder / "mobilebert.ckpt")).assert_existing_objects_matched()
    stored = tf.train.load_checkpoint(str(folder / "mobilebert.ckpt"))
    encoder = {variable.name.removesuffix(":0"): variable.numpy() for variable in model.encoder_network.variables}
    assert encoder.keys() == stored.get_variable_to_shape_map().keys()
    assert all(np.array_equal(value, stored.get_tensor(name)) for name, value in encoder.items())
    ours("rows.py", models, work / "rows.npz")
    rows = np.load(work / "rows.npz")
    pooled = run_garden(model, rows["ids"], rows["mask"], rows["types"])["pooled"]
    decided = rows["labels"][(pooled @ rows["weight"] + rows["bias"]).argmax(1)]
    wanted = [row["label"] for row in common.read(models, "classifier")]
    assert len(set(wanted)) > 1
    equal = int(np.sum(decided == np.array(wanted)))
    assert equal == len(wanted), f"{equal} of {len(wanted)} decisions are equal"
    common.report(
        "TensorFlow Model Garden (Python)", "2.19.0", "classifier's encoder from --to tf2", equal, len(wanted),
        note="its checkpoints and SavedModels are read back",
    )  # fmt: skip


def main() -> None:
    models = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(dir=models) as work:
        check_tf1(Path(work))
        check_garden(Path(work))
        check_classifier(Path(work), models)


if __name__ == "__main__":
    main()
