"""SQuAD from files to answers and scores: the wiring of data, model, training loop, post-processing and metrics.

F features (windows of a context), S tokens
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle

from mobilebert import process
from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest, write_json
from mobilebert.data.collate import PackedDataset
from mobilebert.data.download import SQUAD_FILES, fetch
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.features import load_dev_features, load_train_features
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2
from mobilebert.data.qa.spans import SquadAnswers, extract_answers, mask_padding
from mobilebert.data.qa.squad_json import SquadExample
from mobilebert.model.heads import MobileBertForQuestionAnswering
from mobilebert.tasks.exported import check_engine, load_exported
from mobilebert.tasks.forward import Forward, forward_all, model_forward
from mobilebert.tasks.layer_depth import depth_of
from mobilebert.tasks.source import FINAL, RESULTS, check_fit, read_config
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import parallel
from mobilebert.train.loop import train, write_model
from mobilebert.train.settings import TrainSettings

_log = logging.getLogger(__name__)

ANSWERS = ("predictions.json", "nbest_predictions.json", "null_odds.json")
HEAD_WEIGHT = "qa_outputs.weight"
BEST_METRIC = "f1"


@dataclass(frozen=True)
class AnswerRules:
    """How logits become answers: see ``postprocess.squad.extract_answers``."""

    version_2_with_negative: bool = False
    n_best_size: int = 20
    max_answer_length: int = 30  # tokens
    null_score_diff_threshold: float = 0.0

    def __post_init__(self):
        for name in ("n_best_size", "max_answer_length"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)}: expected at least 1")


@dataclass(frozen=True)
class Plan:
    """Everything a run is told but the training settings.

    Attributes:
        output_dir: all that the run writes is below it.
        do_train, do_eval, do_predict: what to do; ``do_predict`` answers without scoring.
        train_file, dev_file, test_file: official JSON; none of the first two = downloaded to ``data_dir``.
        data_dir: where downloads go.
        model_name_or_path: a checkpoint; or ``config_name`` for random weights.
        tokenizer_name: a folder, a file or a hub name; by default the model's source.
        max_seq_length, doc_stride: tokens; see ``data.squad``.
        on_bad_answer: ``"error"`` or ``"drop"``.
        eval_batch_size: features in one forward pass.
        cache_dir: of features; None for no cache.
        rules: see ``AnswerRules``.
        engine, threads: evaluate an exported model; see ``exported.load_exported``.
    """

    output_dir: Path
    do_train: bool
    do_eval: bool
    do_predict: bool
    train_file: str | None
    dev_file: str | None
    test_file: str | None
    data_dir: str
    model_name_or_path: str | None
    config_name: str | None
    tokenizer_name: str | None
    max_seq_length: int
    doc_stride: int
    on_bad_answer: str
    eval_batch_size: int
    cache_dir: str | None
    rules: AnswerRules
    engine: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class DevSet:
    """Questions and their features.

    Attributes:
        examples: in file order.
        data: the features, as the model takes them.
    """

    examples: Sequence[SquadExample]
    data: PackedDataset

    def answers(self, forward: Forward, rules: AnswerRules, batch_size: int, world: parallel.World) -> SquadAnswers:
        """Answer every question.

        Args:
            forward: a padded batch -> start and end logits [B, S].
            rules: how logits become answers.
            batch_size: features in one forward pass.
            world: this process among all.

        Raises:
            InputError: a logit is not a finite number.
        """
        rows = self.data.rows
        length = int(rows.lengths.max())
        start_logits, end_logits = forward_all(
            forward, self.data, [(length,), (length,)], batch_size, world, "answering"
        )
        names = [example.id for example in self.examples]
        try:
            # Padding depends on the batch, answers must not.
            start_logits, end_logits = mask_padding(start_logits, end_logits, rows.lengths, names, rows.example_index)
            return extract_answers(
                names,
                [example.context for example in self.examples],
                rows.example_index,
                rows.row_starts,
                rows.offsets,
                start_logits,
                end_logits,
                version_2_with_negative=rules.version_2_with_negative,
                n_best_size=rules.n_best_size,
                max_answer_length=rules.max_answer_length,
                null_score_diff_threshold=rules.null_score_diff_threshold,
            )
        except ValueError as error:
            raise InputError(f"{error}; did the training diverge?") from None

    def score(self, answers: SquadAnswers, rules: AnswerRules) -> dict[str, float]:
        """The official scores, in percent: v1.1's ``exact_match`` and ``f1``, or v2.0's whole list."""
        gold = {example.id: example.answers for example in self.examples}
        if not rules.version_2_with_negative:
            return evaluate_v1(gold, answers.predictions)
        # The threshold has made its choice already: the predictions count as they are.
        return evaluate_v2(gold, answers.predictions, answers.null_odds, null_threshold=math.inf)


def write_answers(answers: SquadAnswers, folder: Path) -> None:
    """Write ``predictions.json``, ``nbest_predictions.json`` and, for v2.0, ``null_odds.json``."""
    outputs.record(folder, ANSWERS)
    for name, content in zip(ANSWERS, (answers.predictions, answers.nbest, answers.null_odds), strict=True):
        if content:
            write_json(folder / name, content)


def build_model(
    model_name_or_path: str | None, config_name: str | None, seed: int
) -> tuple[MobileBertForQuestionAnswering, bool]:
    """Load a checkpoint, or draw random weights of a configuration's shape.

    Returns:
        The model, and whether its head came from the checkpoint.

    Raises:
        InputError: not exactly one source, or one that cannot be loaded.
    """
    if (model_name_or_path is None) == (config_name is None):
        raise InputError("give exactly one of --model_name_or_path and --config_name")
    paddle.seed(seed)
    if config_name is not None:
        return MobileBertForQuestionAnswering(read_config(config_name)), False
    model = MobileBertForQuestionAnswering.from_pretrained(model_name_or_path)
    return model, HEAD_WEIGHT not in model.load_report.initialised


def forward_of(model: MobileBertForQuestionAnswering) -> Forward:
    """A model, in evaluation mode, as a function from a padded batch to its start and end logits."""
    return model_forward(model, ("start_logits", "end_logits"))


def run(plan: Plan, settings: TrainSettings, header: Mapping[str, Any], **resume: Any) -> dict[str, Any]:
    """Do what ``plan`` says: train, evaluate, predict, in this order.

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
    _check(plan)
    world = parallel.start()
    with parallel.lock_output(plan.output_dir, world):
        parallel.on_main(lambda: outputs.check(plan.output_dir, (RESULTS, FINAL, *ANSWERS)), world)
        return _run(plan, settings, header, world, **resume)


def _run(
    plan: Plan, settings: TrainSettings, header: Mapping[str, Any], world: parallel.World, **resume: Any
) -> dict[str, Any]:
    if plan.engine:
        exported = load_exported(plan.model_name_or_path, "question-answering", plan.engine, plan.threads)
        model, config, forward = None, exported.config, exported.forward
    else:
        model, has_trained_head = build_model(plan.model_name_or_path, plan.config_name, settings.seed)
        if not plan.do_train and not has_trained_head:
            raise InputError(
                f"{plan.model_name_or_path}: has no question answering head; train one with --do_train first"
            )
        config, forward = model.config, forward_of(model)
    tokenizer = MobileBertTokenizer.from_pretrained(plan.tokenizer_name or plan.model_name_or_path)
    check_fit(config, tokenizer, plan.max_seq_length)

    train_file = parallel.on_main(lambda: _file(plan, "train"), world) if plan.do_train else None
    train_rows = _load_train(plan, train_file, tokenizer, world) if plan.do_train else None
    dev_file = parallel.on_main(lambda: _file(plan, "dev"), world) if plan.do_eval else None
    dev_set = _load_dev(plan, dev_file, tokenizer, world) if plan.do_eval else None
    latest: dict[str, SquadAnswers] = {}

    def score(forward: Forward) -> dict[str, float]:
        latest["answers"] = dev_set.answers(forward, plan.rules, plan.eval_batch_size, world)
        return dev_set.score(latest["answers"], plan.rules)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def save_best(folder: Path) -> None:
        save(folder)
        write_answers(latest["answers"], plan.output_dir)

    results: dict[str, Any] = {}
    if plan.do_train:
        model.config = model.config.with_task_params(
            "question-answering",
            max_seq_length=plan.max_seq_length,
            doc_stride=plan.doc_stride,
            max_answer_length=plan.rules.max_answer_length,
            version_2_with_negative=plan.rules.version_2_with_negative,
            null_score_diff_threshold=plan.rules.null_score_diff_threshold,
        )
        settings = replace(settings, best_metric=BEST_METRIC if dev_set else "")
        process.check_speed()
        result = train(
            model,
            PackedDataset(train_rows, tokenizer.pad_token_id),
            lambda net, batch: net(**batch).loss,
            settings,
            plan.output_dir,
            evaluate=(lambda net: score(forward_of(net))) if dev_set else None,
            save_best=save_best,
            header=header,
            data_checksum=file_digest(train_file),
            depth_of=depth_of(model.config.num_hidden_layers),
            **resume,
        )
        if dev_set:
            results["dev_selected"] = {"step": result.best_step, **result.best_metrics}
            results["final"] = {"step": result.steps, **result.final_metrics}
        elif world.is_main:
            write_model(plan.output_dir, FINAL, save)
    elif dev_set:
        engine = {"engine": plan.engine} if plan.engine else {}
        results["evaluated"] = {"model": plan.model_name_or_path, **engine, **score(forward)}
        if world.is_main:
            write_answers(latest["answers"], plan.output_dir)
    if results:
        counts = {"examples": len(dev_set.examples), "features": len(dev_set.data)}
        results = {"dev_file": dev_file, **counts, **results}
        if world.is_main:
            outputs.record(plan.output_dir, [RESULTS])
            write_json(plan.output_dir / RESULTS, results)
            for kind in ("evaluated", "dev_selected", "final"):
                if kind in results:
                    _log.info("%s: %s", kind, results[kind])
    if plan.do_predict:
        _predict(plan, forward, tokenizer, world)
    return results


def _check(plan: Plan) -> None:
    if not (plan.do_train or plan.do_eval or plan.do_predict):
        raise InputError("nothing to do: give --do_train, --do_eval or --do_predict")
    check_engine(plan.engine, plan.model_name_or_path, plan.do_train)
    if not plan.do_train and plan.model_name_or_path is None:
        raise InputError("--model_name_or_path is missing: which checkpoint is to answer?")
    if plan.config_name and not plan.tokenizer_name:
        raise InputError("--config_name starts from random weights: give --tokenizer_name (a vocab.txt) too")
    if plan.do_predict and not plan.test_file:
        raise InputError("--do_predict: which questions? give --test_file")
    if plan.do_predict and (plan.do_train or plan.do_eval):
        raise InputError(
            "--do_predict writes predictions.json as --do_eval does: run it by itself, with its own folder"
        )


def _file(plan: Plan, kind: str) -> str:
    """The train or dev file: the given one, or the official one, downloaded."""
    given = {"train": plan.train_file, "dev": plan.dev_file}[kind]
    if given is not None:
        return given
    version = "v2.0" if plan.rules.version_2_with_negative else "v1.1"
    return str(fetch(SQUAD_FILES[f"{kind}-{version}.json"], plan.data_dir))


def _load_train(plan: Plan, path: str, tokenizer: MobileBertTokenizer, world: parallel.World) -> PackedRows:
    rows = load_train_features(
        path,
        tokenizer,
        max_seq_length=plan.max_seq_length,
        doc_stride=plan.doc_stride,
        version_2_with_negative=plan.rules.version_2_with_negative,
        on_bad_answer=plan.on_bad_answer,
        cache_folder=plan.cache_dir,
    )
    if world.is_main:
        _log.info(
            "%s: %d features, %s", path, len(rows), ", ".join(f"{value} {key}" for key, value in rows.info.items())
        )
    return rows


def _load_dev(
    plan: Plan, path: str, tokenizer: MobileBertTokenizer, world: parallel.World, require_answers: bool = True
) -> DevSet:
    examples, rows = load_dev_features(
        path,
        tokenizer,
        max_seq_length=plan.max_seq_length,
        doc_stride=plan.doc_stride,
        version_2_with_negative=plan.rules.version_2_with_negative,
        require_answers=require_answers,
        cache_folder=plan.cache_dir,
    )
    if world.is_main:
        _log.info("%s: %d questions, %d features", path, len(examples), len(rows))
    return DevSet(examples, PackedDataset(rows, tokenizer.pad_token_id))


def _predict(plan: Plan, forward: Forward, tokenizer: MobileBertTokenizer, world: parallel.World) -> None:
    questions = _load_dev(plan, plan.test_file, tokenizer, world, require_answers=False)
    answers = questions.answers(forward, plan.rules, plan.eval_batch_size, world)
    if world.is_main:
        write_answers(answers, plan.output_dir)
        _log.info("%s: %d answers", plan.output_dir / "predictions.json", len(answers.predictions))
