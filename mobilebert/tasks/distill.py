"""Pre-training with a teacher: Google's and the paper's way to MobileBERT, at any size."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from paddle import nn

from mobilebert.base.errors import InputError
from mobilebert.distill.cache import OutputCache
from mobilebert.distill.layers import check_pair, copy_outside
from mobilebert.distill.teacher import ROWS, Teacher, cache_shapes
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.pretrain import EpochRows, Pretraining
from mobilebert.tasks.task import Loss, Split
from mobilebert.tasks.teacher import weights_digest
from mobilebert.tasks.transfer import Transfer, TransferLoss, stages_of, without_dropout
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import TrainSettings
from mobilebert.train.parallel import World
from mobilebert.train.stages import Stage

_log = logging.getLogger(__name__)


class NumberedRows(EpochRows):
    """Rows that say in each batch which they are, for whoever keeps something of each."""

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See ``EpochRows``; with ``rows`` [B]."""
        return {**super().batch(indices), ROWS: np.asarray(indices, np.int64)}

    def of_epoch(self, epoch: int) -> "NumberedRows":
        """See ``EpochRows``."""
        return replace(self, number=epoch)


@dataclass(frozen=True)
class Distillation(Pretraining):
    """Both of BERT's tasks, learned from a teacher.

    Attributes:
        transfer: see ``Transfer``.
        schedule: of pre-training distillation, the last stage; ``max_steps`` is its length.
    """

    transfer: Transfer = field(default_factory=Transfer)
    schedule: TrainSettings = field(default_factory=TrainSettings)

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        super().check(plan)
        if plan.do_train and plan.teacher is None:
            raise InputError("`teacher` is missing: from which pre-trained checkpoint is the model to learn?")
        if plan.recompute:
            raise InputError("`recompute`: transfer looks into each layer; take a smaller `batch_size` instead")

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        (split,) = super().load(kind, plan, tokenizer, world)
        if kind == "train" and self.transfer.cache_teacher is not None:
            if split.data.rows.settings.dynamic:
                raise InputError(
                    f"`cache_teacher={self.transfer.cache_teacher}`: rows of {split.source} are masked anew in each "
                    "epoch, so nothing that a teacher makes of them comes twice; make rows with stored masks"
                )
            split = replace(split, data=NumberedRows(split.data.rows, split.data.seed))
        return [split]

    def taught(self, train: Split, teacher: MobileBertPreTrainedModel, student: nn.Layer, plan: RunPlan) -> Loss:
        """See ``Task``."""
        if self.transfer.has_stages or not self.transfer.weights.is_empty:
            check_pair(teacher.config, student.config)
        if self.transfer.has_stages:  # "they are copied": section 3.6, of joint and progressive transfer
            _log.info("copied from the teacher: %s", ", ".join(copy_outside(teacher, student)))
        without_dropout(student)
        digest, num_layers = weights_digest(plan.teacher), student.config.num_hidden_layers
        teacher.eval()
        loss = TransferLoss(Teacher(teacher), self.transfer, num_layers)
        stages = stages_of(loss, self.transfer, self.schedule, num_layers)
        if self.transfer.cache_teacher is not None:
            loss.teacher = Teacher(teacher, self._cache(train, loss, stages, teacher.config, digest))
        return Loss(loss, terms=loss.terms, stages=stages, identity=f"{digest} {self.transfer.identity()}")

    def _cache(
        self, train: Split, loss: TransferLoss, stages: Sequence[Stage], config: MobileBertConfig, digest: str
    ) -> OutputCache:
        """Room for all that any stage asks the teacher for."""
        wanted = []
        for stage in stages:
            stage.begin()
            wanted.append(loss.wanted)
        rows = train.data.rows
        shapes = cache_shapes(config, rows.max_seq_length, rows.settings.max_predictions_per_seq, wanted)
        key = {"teacher": digest, "data": rows.digest, "amp": self.schedule.amp}
        cache = OutputCache(Path(str(self.transfer.cache_teacher)), key, len(rows), shapes)
        _log.info("%s: up to %.1f GiB of the teacher's outputs", cache.folder, cache.bytes / 2**30)
        return cache
