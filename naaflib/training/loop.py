"""Batch, score, mine, loss, step; resumed exactly where it stopped.

Training knows no protocol and no table: `validate` and `observe` come from the caller. Everything random
depends on the seed and the position alone, so that the same seed gives the same run on one machine, and a
resumed run equals one that never stopped, from the middle of an epoch too.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from ..config import Settings
from ..data.batches import Batch, Batches
from ..devices import autocast, precision_of, products, repeatable
from ..errors import NaafError, first_line
from ..files import blamed, shown
from ..messages import progress_bar, say
from ..metric.retrieval import RetrievalMetrics
from ..model import checkpoint
from ..model.model import Model
from ..processes import ALONE, Processes, first_equal
from ..runs import BATCH_COLUMNS, HISTORY, STEPS, Run
from ..similarity.base import Block
from ..similarity.boundary import Samples
from ..similarity.matrix import all_cosines, block_scores
from ..similarity.packing import Packing, pack
from ..verdict import equal_scores_loss, is_near_chance
from .loss import BatchRecalls, batch_recalls, hinge_loss, same_image
from .mining import Mined, batch_mining, mine_in_order

Validate = Callable[[Model], RetrievalMetrics]
Observe = Callable[[Model], Mapping[str, np.ndarray]]
STARTED = 10.0  # times the chance of a running in-batch R@1 that has left its start


class Step(NamedTuple):
    """What one training step computed; `Trainer.row` has the rest."""

    loss: float
    recalls: BatchRecalls
    grad_norm: float


class Trainer:
    """A model with its optimizer: one call of `step` a batch, of each of several processes."""

    def __init__(self, model: Model, settings: Settings, processes: Processes = ALONE):
        self.model, self.settings, self.processes = model, settings, processes
        came_trained = model.text_encoder.pretrained_parameters()
        known = {id(p) for p in came_trained}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
        groups = [{"params": others}, *([{"params": came_trained}] if came_trained else [])]
        self.optimizer = torch.optim.Adam(groups, lr=settings.train.learning_rate)
        # fp16 has no gradient below 6e-8: the loss is scaled up, and a step whose gradients overflow left out
        half = precision_of(settings.train.precision).autocast is torch.float16
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=half)
        self.boundary = model.boundary  # as floats: on a GPU, reading the model's waits for it
        self.samples = Samples()  # of the last estimate
        self.steps = 0  # done so far
        self.highest_recall = 0.0  # that the running one has reached
        self.recall = 0.0  # running in-batch R@1, 0 to 1
        self.hardest_weight = 0.0  # in the last step

    def learning_rates(self, epoch: int) -> tuple[float, float]:
        """Of the next step, in an epoch from 1: risen over warmup_steps, decayed every decay_epoch epochs.

        The second one is of weights that came trained.
        """
        train = self.settings.train
        decay = train.decay_factor ** ((epoch - 1) // train.decay_epoch)
        rates = (
            (train.learning_rate, train.warmup_steps),
            (train.bert_learning_rate, train.bert_warmup_steps),
        )
        first, second = (min(1.0, (self.steps + 1) / max(1, rise)) * rate * decay for rate, rise in rates)
        return first, second

    def step(self, batch: Batch, epoch: int) -> Step:
        """One batch: loss, gradients, optimizer, boundary. Raises NaafError for a loss that is not finite."""
        for group, rate in zip(self.optimizer.param_groups, self.learning_rates(epoch), strict=False):
            group["lr"] = rate
        negatives, self.hardest_weight = self._negatives(epoch)
        loss, recalls, mined = self._loss(batch, negatives)
        value = loss.item()
        if not math.isfinite(value):
            raise NaafError(
                "the loss is not finite; lower train.learning_rate, or train with precision float32"
            )
        norm = self._descend(loss)
        if mined is not None:
            self.model.boundary = self.boundary = mined.boundaries
            if not math.isnan(mined.samples.mean_matched):
                self.samples = mined.samples
        self.steps += 1
        momentum = self.settings.loss.recall_momentum
        self.recall = momentum * recalls.mean + (1 - momentum) * self.recall
        self.highest_recall = max(self.highest_recall, self.recall)
        return Step(value, recalls, norm.item())

    def _descend(self, loss: Tensor) -> Tensor:
        """Gradients, clipped, and the optimizer's step; the norm before. It is infinite or NaN where fp16's
        gradients overflow: the scaler then leaves the step out.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.processes.sum_gradients(learning)  # scaled still: an overflow in one process is all processes'
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(learning, self.settings.train.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def row(self, epoch: int, loss: float, i2t: float, t2i: float) -> dict[str, float]:
        """What steps.csv and history.csv both keep; i2t, t2i: recall in batches, percent."""
        boundary = self.boundary
        return {
            "epoch": epoch,
            "step": self.steps,
            "loss": loss,
            "batch_i2t_at_1": i2t,
            "batch_t2i_at_1": t2i,
            "hardest_weight": self.hardest_weight,
            "boundary": boundary.training,
            "inference_boundary": boundary.inference,
            **self.samples._asdict(),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }

    def has_collapsed(self, pairs: int) -> bool:
        """Whether batches of so many pairs, once ranked well, are ranked nearly blindly now; said once."""
        fell = self.highest_recall > STARTED / pairs and is_near_chance(self.recall, 1 / pairs, 1.0)
        if fell:
            self.highest_recall = 0.0
        return fell

    def _negatives(self, epoch: int) -> tuple[str, float]:
        """Which negatives count in an epoch, and the weight of the hardest among them."""
        loss = self.settings.loss
        negatives = "sum" if epoch <= loss.warmup_epochs else loss.negatives
        return negatives, {"sum": 0.0, "hardest": 1.0, "adaptive": math.sqrt(self.recall)}[negatives]

    def _loss(self, batch: Batch, negatives: str) -> tuple[Tensor, BatchRecalls, Mined | None]:
        device, dtype = self.model.device, self.model.image_encoder.fc.bias.dtype
        packing = pack(batch.lengths).to(device)
        with autocast(self.settings.train.precision, device):
            images = self.model.image_encoder(batch.regions.to(device, dtype, non_blocking=True))
            captions = self._captions(batch.tokens.to(device, non_blocking=True), batch.lengths)
            words = packing.gather(captions)
            cosine = all_cosines(images, words, words_first=self.model.similarity.words_first)
        images, words, cosine = images.to(dtype), words.to(dtype), cosine.to(dtype)
        packed, mined = self._scores(cosine, images, words, packing, batch.images)
        loss, scores = self.settings.loss, packing.unpack(packed)
        excluded = same_image(batch.images.to(device)) if loss.exclude_same_image else None
        if self.processes.size > 1 and not self.model.text_encoder.draws:
            # equal captions score the same in one process, and a tie is a miss
            scores = scores[:, first_equal(batch.tokens.flatten(1)).to(device)]
        value = hinge_loss(scores, loss.margin, negatives, excluded, self.hardest_weight)
        return value, batch_recalls(scores.detach(), excluded), mined

    def _captions(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """All captions, encoded; by several processes in shares, unless random numbers are drawn for all."""
        encoder, rows = self.model.text_encoder, len(tokens)
        if encoder.draws:
            return self._encoded(tokens, lengths)
        own = self.processes.share(rows)
        return self.processes.gathered(self._encoded(tokens[own], lengths[own]), rows)

    def _encoded(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Encoded captions; with caption_chunk, each chunk is encoded again for its gradient.

        The score needs the whole batch, and a chunk's gradient only that of its words (Gao et al. 2021,
        arXiv 2101.06983). Its dropout is drawn again as it was.
        """
        size = self.settings.train.caption_chunk
        if not size or size >= len(tokens):
            return self.model.text_encoder(tokens, lengths)
        chunks = zip(tokens.split(size), lengths.split(size), strict=True)
        return torch.cat([recomputed(self.model.text_encoder, *each, use_reentrant=False) for each in chunks])

    def _scores(
        self, cosine: Tensor, images: Tensor, words: Tensor, packing: Packing, rows: Tensor
    ) -> tuple[Tensor, Mined | None]:
        """Training-time scores (image, packed caption), and the boundaries that the batch leaves.

        rows: all images of the batch, where cosine and images are of this process's share.
        """
        mining, similarity = self.settings.mining, self.model.similarity.in_training()
        block = Block(cosine, images @ images.mT, words, packing.groups)
        if not similarity.needs_boundary:
            return self._joined(block_scores(similarity, block, None).pairs, rows), None
        rules = {"alpha": mining.alpha, "momentum": mining.momentum, "min_words": mining.min_words}
        mined, boundary = None, self.boundary.training
        if mining.mode == "sequential":
            mined = mine_in_order(block, packing, similarity, self.boundary, **rules)
            boundary = mined.by_caption[packing.order.cpu()].to(cosine)
        scores, best = (self._joined(part, rows) for part in block_scores(similarity, block, boundary))
        if mined is None:
            mined = batch_mining(scores.detach(), best, packing, self.boundary, **rules)
        if mining.fixed_boundary is not None:
            mined = replace(mined, boundaries=self.boundary)
        return scores, mined

    def _joined(self, own: Tensor, images: Tensor) -> Tensor:
        """Rows of all images. Of one image twice the same, as in one process: which comes first decides."""
        if self.processes.size == 1:
            return own
        return self.processes.joined(own, len(images))[first_equal(images).to(own.device)]


def fit(
    run: Run,
    model: Model,
    batches: Batches,
    settings: Settings,
    *,
    validate: Validate,
    observe: Observe,
    resume: bool = False,
    processes: Processes = ALONE,
) -> None:
    """Train to settings.train.epochs; every epoch is validated, logged and saved into the run.

    validate: the score of a model on the validation split; its rsum picks checkpoints/best. observe: the
    matched and mismatched similarities of a fixed set of pairs, kept in samples/ (epoch 0: untrained).
    resume: continue from checkpoints/last exactly; a finished run is left as it is. processes: those that
    train together. The first one writes; the others start from its checkpoint, by resume.
    Raises NaafError where there is nothing to resume or a step fails; what was saved stays whole.
    """
    trainer = Trainer(model, settings, processes)
    position = _restore(run, trainer, len(batches)) if resume else _Position()
    done = position.epoch > settings.train.epochs
    if processes.is_first:
        if not done:
            run.cut_after(trainer.steps, position.epoch - 1)
        if not resume:
            _save(run, trainer, position, "last")  # from here on the run can be resumed
        processes.wait()  # the others do, until there is a checkpoint
    if done:
        return
    processes.check_equal(model.state_dict())
    with repeatable(model.device), products(settings.train.precision), _board(run, trainer) as board:
        if processes.is_first and trainer.steps == 0:
            run.save_samples(0, observe(model))
        while position.epoch <= settings.train.epochs:
            position = _epoch(run, trainer, batches, position, validate, observe, board)


@contextmanager
def _board(run: Run, trainer: Trainer) -> Iterator[Any]:
    """TensorBoard's writer; None for a process that does not write."""
    if not trainer.processes.is_first:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter  # half a second to import

    purge = trainer.steps + 1 if trainer.steps else None
    place = run.path / "tensorboard"
    with blamed(place), SummaryWriter(str(place), purge_step=purge) as board:
        yield board


@dataclass
class _Position:
    """Where training stands: the epoch (from 1), the batches done in it, and what they added up to."""

    epoch: int = 1
    batch: int = 0
    loss: float = 0.0
    batch_i2t: float = 0.0
    batch_t2i: float = 0.0
    seconds: float = 0.0
    best: float = -1.0  # rsum of all epochs

    def add(self, step: Step) -> None:
        self.batch += 1
        self.loss += step.loss
        self.batch_i2t += step.recalls.i2t
        self.batch_t2i += step.recalls.t2i


def _epoch(
    run: Run,
    trainer: Trainer,
    batches: Batches,
    position: _Position,
    validate: Validate,
    observe: Observe,
    board: Any,
) -> _Position:
    """The rest of an epoch, its validation, its row and its checkpoints; the position after it."""
    settings, model = trainer.settings.train, trainer.model
    model.train()
    started = perf_counter() - position.seconds
    progress = progress_bar(
        batches.epoch(position.epoch, position.batch),
        desc=f"epoch {position.epoch}/{settings.epochs}",
        total=len(batches),
        initial=position.batch,
        unit="batch",
        mininterval=1.0,
    )
    for batch in progress:
        step = trainer.step(batch, position.epoch)
        position.add(step)
        position.seconds = perf_counter() - started
        if trainer.processes.is_first:
            _log_step(run, board, trainer, position.epoch, step)
        if trainer.has_collapsed(len(batch.images)):
            say(_collapse(trainer, position, step, len(batch.images)))
        progress.set_postfix(
            loss=f"{position.loss / position.batch:.1f}",
            R1=f"{100 * trainer.recall:.0f}",
            t=f"{trainer.boundary.training:.2f}",
            refresh=False,
        )
        inside = position.batch < len(batches)
        if inside and settings.checkpoint_steps and trainer.steps % settings.checkpoint_steps == 0:
            _save(run, trainer, position, "last")
    model.eval()
    trainer.processes.check_equal(model.state_dict())
    metrics = validate(model)
    position.seconds = perf_counter() - started
    if trainer.processes.is_first:
        _log_epoch(run, board, trainer, batches, position, metrics, observe)
    improved = metrics.rsum > position.best
    position.best = max(position.best, metrics.rsum)
    if improved:
        _save(run, trainer, position, "best")
    position = _Position(position.epoch + 1, best=position.best)
    _save(run, trainer, position, "last")
    return position


def _log_epoch(
    run: Run,
    board: Any,
    trainer: Trainer,
    batches: Batches,
    position: _Position,
    metrics: RetrievalMetrics,
    observe: Observe,
) -> None:
    sums = position.loss, 100 * position.batch_i2t, 100 * position.batch_t2i
    row = trainer.row(position.epoch, *(value / len(batches) for value in sums))
    row |= {**metrics.measures(), "seconds": position.seconds}
    run.append("history.csv", HISTORY, row)
    run.save_samples(position.epoch, observe(trainer.model))
    for name, value in row.items():
        board.add_scalar(f"epoch/{name}", value, position.epoch)
    say(
        f"epoch {position.epoch}: loss {row['loss']:.2f}, rsum {metrics.rsum:.1f} "
        f"(R@1 {metrics.i2t.at_1:.1f} / {metrics.t2i.at_1:.1f}), {position.seconds:.0f} s"
    )


def _collapse(trainer: Trainer, position: _Position, step: Step, pairs: int) -> str:
    equal = equal_scores_loss(trainer.settings, pairs, position.epoch)
    return (
        f"warning: training collapsed at step {trainer.steps}: a batch finds {100 * trainer.recall:.1f} % of "
        f"its own pairs, loss {step.loss:.1f}; equal scores cost {equal:.1f}. What was best so far is kept"
    )


def _log_step(run: Run, board: Any, trainer: Trainer, epoch: int, step: Step) -> None:
    row = trainer.row(epoch, step.loss, 100 * step.recalls.i2t, 100 * step.recalls.t2i)
    row["grad_norm"] = step.grad_norm
    run.append("steps.csv", STEPS, row)
    for name in ("loss", *BATCH_COLUMNS, "grad_norm", "learning_rate", "boundary", "inference_boundary"):
        board.add_scalar(f"step/{name}", row[name], trainer.steps)


def _save(run: Run, trainer: Trainer, position: _Position, which: str) -> None:
    """The best checkpoint holds the model; the last one everything that resuming needs."""
    if not trainer.processes.is_first:
        return
    samples = [None if math.isnan(x) else x for x in trainer.samples]
    progress = {**vars(position), "step": trainer.steps, "samples": samples, "recall": trainer.recall}
    if trainer.scaler.is_enabled():
        progress["scaler"] = trainer.scaler.state_dict()
    extra: dict[str, Tensor] = {}
    if which == "last":
        run.flush_logs()  # it counts their rows
        for index, state in trainer.optimizer.state_dict()["state"].items():
            extra |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        extra["random.cpu"] = torch.get_rng_state()
        if trainer.model.device.type == "cuda":
            extra["random.cuda"] = torch.cuda.get_rng_state(trainer.model.device)
    older = run.checkpoint("previous") if which == "last" else None
    checkpoint.save(run.checkpoint(which), trainer.model, progress, extra, older)


def _restore(run: Run, trainer: Trainer, batches: int) -> _Position:
    """Where the last checkpoint stands, with all that it holds taken over; batches: of an epoch."""
    path = run.checkpoint("last")
    if not path.is_file():
        raise NaafError(
            f"{shown(run.path)} has no checkpoints/last to resume from; remove the folder and train anew"
        )
    tensors, header = checkpoint.read(path)
    try:
        return _take_over(tensors, header["progress"], trainer, batches)
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise NaafError(
            f"{shown(path)} does not fit its run ({first_line(error)}); restore it from a copy, or remove it "
            "to go on from the checkpoint before, or the whole folder checkpoints to train anew"
        ) from None


def _take_over(
    tensors: Mapping[str, Tensor], progress: Mapping[str, Any], trainer: Trainer, batches: int
) -> _Position:
    trainer.model.load_state_dict(checkpoint.model_state(tensors))
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            if key != "step" and tensor.shape != parameters[int(index)].shape:
                raise ValueError(f"{name} has the shape {tuple(tensor.shape)}")
            state.setdefault(int(index), {})[key] = tensor
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and trainer.model.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], trainer.model.device)
    if trainer.scaler.is_enabled():
        trainer.scaler.load_state_dict(progress["scaler"])
    trainer.boundary = trainer.model.boundary
    trainer.samples = Samples(*(math.nan if x is None else x for x in progress["samples"]))
    trainer.recall = trainer.highest_recall = float(progress.get("recall", 0.0))  # the first ones have none
    trainer.steps = int(progress["step"])
    names = {field.name for field in fields(_Position)}
    position = _Position(**{name: value for name, value in progress.items() if name in names})
    if position.batch >= batches or trainer.steps != (position.epoch - 1) * batches + position.batch:
        raise ValueError(
            f"it is at epoch {position.epoch}, batch {position.batch} and step {trainer.steps}; an epoch has "
            f"{batches} batches"
        )
    return position
