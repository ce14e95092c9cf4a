"""One run of any task: load, train, evaluate, predict, in this order."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilebert import process
from mobilebert.base import digests, outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.model.heads import HEADS
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.tasks.layer_depth import depth_of
from mobilebert.tasks.model import RunModel, check_fit, check_no_export, load_exported, run_of
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.task import Split, Task
from mobilebert.tasks.teacher import check_teacher, load_teacher, shortened
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, Hooks, RunHeader, Start, TrainSettings, parallel, train
from mobilebert.train.checkpoint import work_folders
from mobilebert.train.folder import BEST, write_model
from mobilebert.train.parallel import World

_log = logging.getLogger(__name__)

RESULTS, FINAL = "eval_results.json", "final"  # scores, and the model of a training without evaluation


@dataclass(frozen=True)
class _Loaded:
    """All that a run works with."""

    task: Task
    plan: RunPlan
    world: World
    model: RunModel
    tokenizer: MobileBertTokenizer
    splits: Mapping[str, Sequence[Split]]  # by kind
    teacher: MobileBertPreTrainedModel | None = None

    def save(self, folder: Path) -> None:
        """A checkpoint that can be used."""
        self.model.layer.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder, self.task.max_seq_length)


def run(task: Task, plan: RunPlan, settings: TrainSettings, start: Start, arguments: Mapping[str, Any]) -> dict:
    """Do what a plan says.

    Args:
        task: what for.
        plan: see ``RunPlan``.
        settings: see ``TrainSettings``; ``best_metric`` is the task's.
        start: see ``Start``.
        arguments: resolved, for the logs.

    Returns:
        What ``eval_results.json`` holds; empty where nothing was evaluated.

    Raises:
        InputError: anything wrong with the files, the checkpoint or the combination of arguments; a folder that holds
            somebody else's files, or that another run writes.
    """
    plan.check(task.purpose)
    task.check(plan)
    world = parallel.start()
    answers = (*task.answer_files, *task.pictures) if plan.do_eval else ()
    names = (RESULTS, FINAL, *work_folders(FINAL), *answers, *task.prediction_files(plan))
    with parallel.lock_output(plan.output_dir, world):
        parallel.on_main(lambda: outputs.check(plan.output_dir, names), world)
        loaded = _load(task, plan, settings.seed, world)
        results = {}
        if plan.do_train:
            results = _train(loaded, settings, start, arguments)
        elif plan.do_eval:
            results = _evaluate(loaded)
        if results and world.is_main:
            outputs.record(plan.output_dir, [RESULTS])
            write_json(plan.output_dir / RESULTS, results)
        if plan.do_predict:
            loaded.task.predict(_run_to_predict(loaded), loaded.splits["test"], plan, world)
    return results


def _load(task: Task, plan: RunPlan, seed: int, world: World) -> _Loaded:
    if plan.verify:
        for folder in filter(None, (plan.model_name_or_path, plan.init_from, plan.teacher)):
            digests.check_all(folder)
    teacher = load_teacher(plan.teacher, task.head, task.head_name) if plan.teacher else None
    if plan.engine:
        model = load_exported(plan.model_name_or_path, task.head, plan.engine, plan.threads)
    else:
        check_no_export(plan.model_name_or_path)
        if plan.student_layers is None:
            layer, has_trained_head = task.build_model(plan, seed)
        else:
            layer, has_trained_head = shortened(teacher, plan.student_layers), True
        if not plan.do_train and not has_trained_head:
            raise InputError(f"{plan.model_name_or_path}: has no {task.head_name}; train one with `do_train` first")
        model = RunModel(layer.config, run_of(layer, task.outputs), layer)
    task = task.adopt(model.config, plan.source)
    if not plan.do_train:
        task = task.adopt_notes(model, plan.model_name_or_path)
    tokenizer = MobileBertTokenizer.from_pretrained(plan.tokenizer_name or plan.source)
    check_fit(model.config, tokenizer, task.max_seq_length)
    if teacher is not None:
        check_teacher(teacher, model.config, tokenizer, plan, task.max_seq_length)
    splits = {kind: task.load(kind, plan, tokenizer, world) for kind in plan.kinds}
    return _Loaded(task, plan, world, model, tokenizer, splits, teacher)


def _train(loaded: _Loaded, settings: TrainSettings, start: Start, arguments: Mapping[str, Any]) -> dict:
    """Train and keep the best; without evaluation the last."""
    task, plan, layer = loaded.task, loaded.plan, loaded.model.layer
    (train_split,), dev = loaded.splits["train"], loaded.splits.get("dev", ())
    layer.config = task.note(layer.config)
    layer.set_recompute(plan.recompute)

    def evaluate(net) -> Evaluation:
        return task.score(run_of(net, task.outputs), dev, plan.eval_batch_size, loaded.world)

    def save_best(folder: Path, answers: Any) -> None:
        layer.config = task.note_answers(layer.config, answers, dev)
        loaded.save(folder)
        task.save_answers(answers, folder)

    process.check_speed()
    if loaded.teacher is None:
        loss = task.loss(train_split)
    else:
        loss = task.taught(train_split, loaded.teacher, layer, plan)
    identity = f"{train_split.digest} {loss.identity}".strip()
    result = train(
        layer,
        train_split.data,
        loss.function,
        replace(settings, best_metric=task.best_metric(dev) if dev else "", best_is_higher=task.best_is_higher),
        plan.output_dir,
        hooks=Hooks(
            evaluate=evaluate if dev else None,
            save_best=save_best,
            copy_from_best=task.answer_files if dev else (),
            depth_of=depth_of(layer.config.num_hidden_layers),
            stages=loss.stages,
        ),
        start=start,
        header=RunHeader(arguments, identity),
        weights=loss.weights,
        terms=loss.terms,
    )
    if not dev:
        if loaded.world.is_main:
            write_model(plan.output_dir, FINAL, loaded.save)
        return {}
    scores = {
        "dev_selected": {"step": result.best_step, **result.best_metrics},
        "final": {"step": result.steps, **result.final_metrics},
    }
    if loaded.world.is_main:
        task.show_answers(plan.output_dir)
        for kind, values in scores.items():
            _log.info("%s: %s", kind, values)
    return task.report(dev, scores, result.seconds)


def _evaluate(loaded: _Loaded) -> dict:
    task, plan, dev = loaded.task, loaded.plan, loaded.splits["dev"]
    evaluation = task.score(loaded.model.run, dev, plan.eval_batch_size, loaded.world)
    if loaded.world.is_main:
        task.save_answers(evaluation.outputs, plan.output_dir)
        task.show_answers(plan.output_dir)
        for line in task.summary(dev, evaluation.metrics).splitlines():
            _log.info("%s", line)
    engine = {"engine": plan.engine} if plan.engine else {}
    scores = {"evaluated": {"model": plan.model_name_or_path, **engine, **evaluation.metrics}}
    return task.report(dev, scores, None)


def _run_to_predict(loaded: _Loaded):
    """The model that was trained best, or the one that was given."""
    if not (loaded.plan.do_train and loaded.plan.do_eval):
        return loaded.model.run
    best = HEADS[loaded.task.head].from_pretrained(loaded.plan.output_dir / BEST)
    return run_of(best, loaded.task.outputs)
