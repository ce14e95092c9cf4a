"""What ``run_glue.py`` does once its arguments are parsed: read, train, evaluate, predict, in this order."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilebert import process
from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.data.classify import metrics as glue_metrics
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import Examples, read_label_words
from mobilebert.data.glue.tasks import Task
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification
from mobilebert.tasks import classify as glue
from mobilebert.tasks.classify import Files
from mobilebert.tasks.exported import check_engine, load_exported
from mobilebert.tasks.forward import Forward
from mobilebert.tasks.source import FINAL, RESULTS, check_fit, read_config
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import parallel
from mobilebert.train.loop import write_model
from mobilebert.train.settings import TrainSettings

_log = logging.getLogger(__name__)

PREDICTIONS_NAME = "predictions.tsv"  # for a test set that GLUE's server does not know


@dataclass(frozen=True)
class Plan:
    """Everything a run is told but the training settings.

    Attributes:
        task: from ``mobilebert.data.glue.tasks``; see ``own_task`` for data of one's own.
        files: where the examples are.
        output_dir: all that the run writes is below it.
        do_train, do_eval, do_predict: what to do.
        model_name_or_path, init_from, config_name: the model's source; exactly one is set.
        tokenizer_name: a folder, a file or a hub name; by default the model's source.
        label_order: see ``glue.build_model``.
        max_seq_length: tokens.
        eval_batch_size: examples.
        cache_dir: of encoded examples; None for no cache.
        engine, threads: evaluate an exported model; see ``exported.load_exported``.
    """

    task: Task
    files: Files
    output_dir: Path
    do_train: bool
    do_eval: bool
    do_predict: bool
    model_name_or_path: str | None
    init_from: str | None
    config_name: str | None
    tokenizer_name: str | None
    label_order: tuple[str, ...]
    max_seq_length: int
    eval_batch_size: int
    cache_dir: str | None
    engine: str | None = None
    threads: int | None = None


def own_task(
    files: Files,
    text_columns: tuple[str, ...],
    label_column: str,
    label_order: tuple[str, ...],
    regression: bool,
    model_name_or_path: str | None,
) -> Task:
    """A task that is not GLUE's. Its classes are ``label_order``, or the train file's, or the checkpoint's.

    Raises:
        InputError: none of the three is there.
    """
    if regression:
        return Task("own", "", text_columns, label_column, metrics=("spearmanr", "pearson"))
    if label_order:
        labels = label_order
    elif "train" in files.given:
        labels = tuple(read_label_words(files.given["train"], label_column))
    elif model_name_or_path is not None:
        labels = tuple(MobileBertConfig.from_pretrained(model_name_or_path).id2label.values())
    else:
        raise InputError("which classes are there? give --train_file, --label_order, --regression or --task_name")
    if len(labels) < 2:
        raise InputError(f"--label_column {label_column}: only {', '.join(labels)}; expected at least two classes")
    metrics = ("accuracy", "f1") if len(labels) == 2 else ("accuracy",)
    return Task("own", "", text_columns, label_column, labels, metrics=metrics)


def run(plan: Plan, settings: TrainSettings, header: Mapping[str, Any], **resume: Any) -> dict[str, Any]:
    """Do what ``plan`` says.

    Args:
        plan: see ``Plan``.
        settings: see ``TrainSettings``; ``best_metric`` is set here.
        header: resolved arguments, for the logs.
        resume: ``resume``, ``resume_fallback`` and ``overwrite`` of ``train``.

    Returns:
        What ``eval_results.json`` holds; empty where nothing was evaluated.

    Raises:
        InputError: anything wrong with the files, the checkpoint or the combination of flags; a folder that holds
            somebody else's files, or that another run writes.
    """
    world = parallel.start()
    _check(plan)
    with parallel.lock_output(plan.output_dir, world):
        parallel.on_main(lambda: outputs.check(plan.output_dir, (RESULTS, FINAL, *_prediction_files(plan))), world)
        return _run(plan, settings, header, world, **resume)


def _run(
    plan: Plan, settings: TrainSettings, header: Mapping[str, Any], world: parallel.World, **resume: Any
) -> dict[str, Any]:
    task = plan.task
    if plan.do_eval:
        glue_metrics.require_libraries()
    if plan.engine:
        exported = load_exported(plan.model_name_or_path, "sequence-classification", plan.engine, plan.threads)
        model, config, forward = None, exported.config, exported.forward
        labels = glue.labels_of(task, config, plan.model_name_or_path, plan.label_order)
    else:
        model, labels, has_trained_head = glue.build_model(
            task,
            model_name_or_path=plan.model_name_or_path,
            init_from=plan.init_from,
            config=read_config(plan.config_name) if plan.config_name else None,
            label_order=plan.label_order,
            seed=settings.seed,
        )
        if not plan.do_train and not has_trained_head:
            raise InputError(f"{plan.model_name_or_path}: has no classifier; train one with --do_train first")
        config, forward = model.config, glue.forward_of(model)
    tokenizer = MobileBertTokenizer.from_pretrained(plan.tokenizer_name or plan.model_name_or_path or plan.init_from)
    check_fit(config, tokenizer, plan.max_seq_length)
    _log.info("%s: %s", task.name, "regression" if task.is_regression else f"classes {', '.join(labels)}")

    train_set = _load(plan, "train", labels, tokenizer)["train"] if plan.do_train else None
    dev_sets = _load(plan, "dev", labels, tokenizer) if plan.do_eval else {}
    test_sets = _load(plan, "test", labels, tokenizer) if plan.do_predict else {}

    def score(forward: Forward) -> dict[str, float]:
        sets = {split: data for split, (_, data) in dev_sets.items()}
        return glue.evaluate(forward, task, labels, sets, plan.eval_batch_size, world)

    engine = {"engine": plan.engine} if plan.engine else {}
    results: dict[str, Any] = {}
    if plan.do_train:
        model.config = model.config.with_task_params(
            "sequence-classification", max_seq_length=plan.max_seq_length, takes_pairs=len(task.text_columns) == 2
        )
        suffix = glue.metric_suffix(next(iter(dev_sets), ""))
        settings = replace(settings, best_metric=task.metrics[0] + suffix if dev_sets else "")
        process.check_speed()
        result = glue.finetune(
            model,
            tokenizer,
            *train_set,
            settings,
            plan.output_dir,
            (lambda net: score(glue.forward_of(net))) if dev_sets else None,
            header=header,
            **resume,
        )
        if dev_sets:
            results["dev_selected"] = {"step": result.best_step, **result.best_metrics}
            results["final"] = {"step": result.steps, **result.final_metrics}
            results["seconds"] = round(result.seconds, 1)
            if plan.do_predict:
                best = MobileBertForSequenceClassification.from_pretrained(plan.output_dir / "best")
                forward = glue.forward_of(best)
        elif world.is_main:
            write_model(plan.output_dir, FINAL, lambda folder: glue.save(model, tokenizer, folder))
    elif plan.do_eval:
        results["evaluated"] = {"model": plan.model_name_or_path, **engine, **score(forward)}
        _log.info("%s", results["evaluated"])
    if results:
        results = {
            "task": task.name,
            "examples": {split: len(data) for split, (_, data) in dev_sets.items()},
            **results,
        }
        if world.is_main:
            outputs.record(plan.output_dir, [RESULTS])
            write_json(plan.output_dir / RESULTS, results)
    for split, (examples, data) in test_sets.items():
        name = _prediction_file(task, split)
        glue.predict(forward, task, labels, examples, data, plan.output_dir / name, plan.eval_batch_size, world)
    return results


def _prediction_file(task: Task, split: str) -> str:
    return task.submissions[split][0] if split in task.submissions else PREDICTIONS_NAME


def _prediction_files(plan: Plan) -> list[str]:
    splits = ("test",) if "test" in plan.files.given else plan.task.test_splits
    return [_prediction_file(plan.task, split) for split in splits] if plan.do_predict else []


def _check(plan: Plan) -> None:
    if not (plan.do_train or plan.do_eval or plan.do_predict):
        raise InputError("nothing to do: give --do_train, --do_eval or --do_predict")
    check_engine(plan.engine, plan.model_name_or_path, plan.do_train)
    if not plan.do_train and plan.model_name_or_path is None:
        raise InputError("--model_name_or_path is missing: which checkpoint is to be evaluated?")
    if plan.config_name and not plan.tokenizer_name:
        raise InputError("--config_name starts from random weights: give --tokenizer_name (a vocab.txt) too")
    for kind, wanted in (("train", plan.do_train), ("dev", plan.do_eval), ("test", plan.do_predict)):
        if not wanted or plan.files.splits(plan.task, kind):
            continue
        if plan.task.name == "ax":
            raise InputError(f"--task_name ax: has no {kind} set, only a test set; use --do_predict with an MNLI model")
        raise InputError(f"which {kind} set? give --{kind}_file, or --task_name and --data_dir")


def _load(
    plan: Plan, kind: str, labels: tuple[str, ...], tokenizer: MobileBertTokenizer
) -> dict[str, tuple[Examples, PackedDataset]]:
    """The splits of a kind, as they were read and as the model takes them."""
    sets = {}
    for split in plan.files.splits(plan.task, kind):
        examples = plan.files.read(plan.task, split, labels)
        sets[split] = examples, glue.encode(plan.task, examples, tokenizer, plan.max_seq_length, plan.cache_dir)
    return sets
