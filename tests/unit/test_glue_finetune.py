"""The wiring of GLUE: class orders, heads, evaluation, presets; on a model of 2 tiny layers."""

from pathlib import Path

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.encode import encode_examples, examples_digest
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import read_split
from mobilebert.data.glue.tasks import NLI, TASKS
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.tasks import class_files, class_scores, classifier
from mobilebert.tasks.layer_depth import depth_of
from mobilebert.tasks.model import run_of
from mobilebert.tasks.own import own_task
from mobilebert.tasks.recipes import PRESETS, train_settings
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.parallel import World

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"
GOOGLE = ("contradiction", "entailment", "neutral")
ONE = World(0, 1)


@pytest.fixture(scope="module")
def tokenizer():
    words = sorted({word for path in SAMPLES.rglob("*.t*") for word in path.read_text("utf-8-sig").lower().split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    return MobileBertTokenizer({token: number for number, token in enumerate(tokens)})


@pytest.fixture(scope="module")
def config(tokenizer):
    return MobileBertConfig(
        vocab_size=len(tokenizer), hidden_size=32, embedding_size=16, intra_bottleneck_size=16, intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=2, num_feedforward_networks=2, initializer_range=0.5,
        attention_probs_dropout_prob=0.0, max_position_embeddings=64,
    )  # fmt: skip


@pytest.fixture
def checkpoint(config, tmp_path):
    """An MNLI model with Google's class order."""
    model, labels, trained = classifier.build_model(TASKS["mnli"], config=config, label_order=GOOGLE)
    assert labels == GOOGLE and not trained
    model.save_pretrained(tmp_path / "mnli")
    return tmp_path / "mnli"


def dataset(task, split, labels, tokenizer):
    return PackedDataset(encode_examples(read_split(task, SAMPLES, split, labels), tokenizer, 32), 0)


def evaluate(model, *further):
    return class_scores.evaluate(run_of(model, ["logits"]), *further)[0]


def logits_of(model, *further):
    return class_scores.logits_of(run_of(model, ["logits"]), model.config.num_labels, *further)


def test_another_class_order_gives_the_same_accuracy(checkpoint, tokenizer, tmp_path):
    task = TASKS["mnli"]
    model, labels, trained = classifier.build_model(task, model_name_or_path=str(checkpoint))
    assert labels == GOOGLE and trained
    assert model.config.id2label == dict(enumerate(GOOGLE))
    expected = evaluate(model, task, labels, {"dev_matched": dataset(task, "dev_matched", labels, tokenizer)}, 8, ONE)

    # The same function with its outputs in our order.
    order = [GOOGLE.index(label) for label in NLI]
    model.classifier.weight.set_value(model.classifier.weight.numpy()[:, order])
    model.classifier.bias.set_value(model.classifier.bias.numpy()[order])
    data = dataset(task, "dev_matched", NLI, tokenizer)
    assert evaluate(model, task, NLI, {"dev_matched": data}, 8, ONE) == pytest.approx(expected)
    # Read by index it would be another model: the check above can fail.
    assert evaluate(model, task, GOOGLE, {"dev_matched": dataset(task, "dev_matched", GOOGLE, tokenizer)}, 8, ONE)[
        "loss"
    ] != pytest.approx(expected["loss"])


def test_a_checkpoint_without_class_names_is_refused_unless_the_order_is_given(checkpoint):
    task = TASKS["mnli"]
    path = checkpoint / "config.json"
    path.write_text(path.read_text().replace("contradiction", "LABEL_0").replace("entailment", "LABEL_1"))
    with pytest.raises(InputError, match=r"config.json: class names LABEL_0, LABEL_1, neutral cannot .*`label_order="):
        classifier.build_model(task, model_name_or_path=str(checkpoint))
    model, labels, _ = classifier.build_model(task, model_name_or_path=str(checkpoint), label_order=GOOGLE)
    assert labels == GOOGLE and model.config.id2label[0] == "contradiction"


@pytest.mark.parametrize("name", ["rte", "stsb"])
def test_a_head_of_another_task_is_refused_and_init_from_replaces_it(checkpoint, name):
    task = TASKS[name]
    with pytest.raises(InputError, match=r"config.json: .* use `init_from="):
        classifier.build_model(task, model_name_or_path=str(checkpoint))
    model, labels, trained = classifier.build_model(task, init_from=str(checkpoint))
    mnli, _, _ = classifier.build_model(TASKS["mnli"], model_name_or_path=str(checkpoint))
    assert not trained and labels == (task.labels or ("score",))
    assert model.classifier.weight.shape[1] == len(labels) == model.config.num_labels
    ours, theirs = (dict(net.mobilebert.named_parameters()) for net in (model, mnli))
    assert all(np.array_equal(ours[key].numpy(), theirs[key].numpy()) for key in theirs)


@pytest.mark.parametrize("head", ["token-classification", "multiple-choice"])
def test_a_classifier_of_another_kind_is_refused_and_init_from_replaces_it(config, tmp_path, head):
    HEADS[head](config).save_pretrained(tmp_path / "other")
    task, source = TASKS["sst2"], str(tmp_path / "other")
    with pytest.raises(InputError, match=rf"config.json says {HEADS[head].__name__}, .* with `init_from={source}`"):
        classifier.build_model(task, model_name_or_path=source, label_order=task.labels)
    model, labels, trained = classifier.build_model(task, init_from=source)
    assert not trained and labels == task.labels and model.classifier.weight.shape[1] == 2


def test_new_heads_follow_the_seed(checkpoint):
    heads = [
        classifier.build_model(TASKS["rte"], init_from=str(checkpoint), seed=seed)[0].classifier.weight.numpy()
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(heads[0], heads[1]) and not np.array_equal(heads[0], heads[2])


def test_one_source_is_needed(config):
    with pytest.raises(InputError, match="exactly one of `model_name_or_path`, `init_from` and `config_name`"):
        classifier.build_model(TASKS["rte"], config=config, init_from="somewhere")


def test_logits_keep_the_order_of_the_examples(config, tokenizer):
    task = TASKS["rte"]
    model, labels, _ = classifier.build_model(task, config=config)
    data = dataset(task, "dev", labels, tokenizer)
    logits = logits_of(model, data, 5, ONE)
    one_by_one = np.concatenate([logits_of(model, Single(data, index), 1, ONE) for index in range(len(data))])
    np.testing.assert_allclose(logits, one_by_one, rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(one_by_one[:, 0])).max() > 1e-3  # they differ, so the order is seen


class Single:
    """One example of a data set."""

    def __init__(self, data, index):
        self.lengths, self._data, self._index = data.lengths[index : index + 1], data, index

    def batch(self, indices):
        return self._data.batch(np.array([self._index]))


def test_the_loss_is_the_mean_over_all_examples(config, tokenizer):
    task = TASKS["sst2"]
    model, labels, _ = classifier.build_model(task, config=config)
    data = dataset(task, "dev", labels, tokenizer)  # 16 examples: the last batch of 5 has 1
    losses = [evaluate(model, task, labels, {"dev": data}, size, ONE)["loss"] for size in (5, 16)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    logits, gold = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32), np.array([0, 0, 1])
    by_hand = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1)) + np.log(2)) / 3
    assert class_scores.mean_loss(task, logits, gold) == pytest.approx(by_hand)
    assert class_scores.mean_loss(TASKS["stsb"], np.array([[1.0], [4.0]]), np.array([2.0, 2.0])) == pytest.approx(2.5)


def test_both_mnli_sets_have_their_own_metrics(config, tokenizer):
    task = TASKS["mnli"]
    model, labels, _ = classifier.build_model(task, config=config)
    sets = {split: dataset(task, split, labels, tokenizer) for split in task.dev_splits}
    assert set(evaluate(model, task, labels, sets, 8, ONE)) == {"loss", "accuracy", "loss_mm", "accuracy_mm"}


def test_logits_that_are_not_finite_are_refused(config, tokenizer):
    task = TASKS["sst2"]
    model, labels, _ = classifier.build_model(task, config=config)
    model.classifier.bias.set_value(np.array([np.nan, 0.0], np.float32))
    with pytest.raises(InputError, match="dev: the model's logits are not finite"):
        evaluate(model, task, labels, {"dev": dataset(task, "dev", labels, tokenizer)}, 8, ONE)


def test_pairs_have_two_segments_and_are_cut(tokenizer):
    rows = encode_examples(read_split(TASKS["rte"], SAMPLES, "train"), tokenizer, 9)
    assert rows.lengths.max() == 9 and rows.info["truncated"] > 0
    assert len(rows) == 40 and all(rows.row(i)[rows.second_starts[i] - 1] == 3 for i in range(40))  # [SEP]


def test_the_digest_sees_every_column():
    examples = read_split(TASKS["rte"], SAMPLES, "train")
    digests = {
        examples_digest(changed)
        for changed in (
            examples,
            read_split(TASKS["rte"], SAMPLES, "train", ("not_entailment", "entailment")),
            read_split(TASKS["rte"], SAMPLES, "dev"),
        )
    }
    assert len(digests) == 3


def test_a_missing_mismatched_set_is_left_out(tmp_path, caplog):
    (tmp_path / "dev_matched.tsv").write_bytes((SAMPLES / "MNLI" / "dev_matched.tsv").read_bytes())
    assert class_files.Files(str(tmp_path), {}).splits(TASKS["mnli"], "dev") == ("dev_matched",)
    assert "no dev_mismatched.tsv" in caplog.text


def test_classes_of_a_task_of_ones_own(tmp_path, checkpoint):
    (tmp_path / "t.csv").write_text("text,stars\na,3\nb,1\nc,10\n")
    files = class_files.Files(None, {"train": str(tmp_path / "t.csv")})
    assert own_task(files, ("text",), "stars", (), False, None).labels == ("1", "3", "10")
    assert own_task(files, ("text",), "stars", ("10", "3", "1"), False, None).labels == ("10", "3", "1")
    assert own_task(files, ("text",), "stars", (), True, None).is_regression
    assert own_task(class_files.Files(None, {}), ("text",), "stars", (), False, str(checkpoint)).labels == GOOGLE
    with pytest.raises(InputError, match="which classes are there"):
        own_task(class_files.Files(None, {}), ("text",), "stars", (), False, None)


def test_presets_are_complete_and_mnli_is_the_originals():
    assert set(PRESETS) == {name for name, task in TASKS.items() if task.dev_splits}
    mnli = train_settings(TASKS["mnli"])
    values = (
        mnli.learning_rate,
        mnli.batch_size,
        mnli.num_train_epochs,
        mnli.min_lr,
        mnli.decay_ratio,
        mnli.eval_steps,
    )
    assert values == (8e-5, 64, 6, 5e-7, 0.9, 240) and PRESETS["mnli"].max_seq_length == 128


def test_depths_for_layerwise_decay():
    depth = depth_of(24)
    assert depth("classifier.weight") == 0 and depth("mobilebert.encoder.layer.23.output.dense.weight") == 1
    assert depth("mobilebert.encoder.layer.0.output.dense.weight") == 24
    assert depth("mobilebert.embeddings.word_embeddings.weight") == 25


def test_padding_does_not_change_a_model_with_new_weights(config, tokenizer):
    # The trigram of the last token reads the [PAD] row: it is zero until training or a checkpoint makes it another.
    model, labels, _ = classifier.build_model(TASKS["sst2"], config=config)
    data = dataset(TASKS["sst2"], "dev", labels, tokenizer)
    longer = PackedDataset(data.rows, 0, pad_to_multiple_of=40)
    np.testing.assert_allclose(logits_of(model, data, 1, ONE), logits_of(model, longer, 16, ONE), rtol=1e-4, atol=1e-5)
    table = model.get_input_embeddings().weight
    table.set_value(np.concatenate([np.ones_like(table[:1].numpy()), table[1:].numpy()]))
    assert np.abs(logits_of(model, data, 1, ONE) - logits_of(model, longer, 16, ONE)).max() > 1e-3
