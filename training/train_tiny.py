"""Trains the bundled demonstration model from scratch and writes it to `shared_core/tiny`.

    python training/train_tiny.py --data DIR

`DIR` holds the question files named in training/README.md. Everything else comes from the running
Python's own docstrings. The seed is fixed: the same Python gives the same tokenizer, start and
batches, and weights that differ by rounding, since the number of threads follows the load.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_batches import Batch
from tiny_export import check, export
from tiny_groups import Sampler
from tiny_init import plain_init, structured_init
from tiny_model import GroupReranker
from tiny_texts import HELD_OUT_LANGUAGES, Passage, load_docstrings, load_questions, split
from tiny_threads import SpareCores
from tiny_tokenizer import train_tokenizer
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

SEED = 20_260_101
PEAK_RATE, WARM_UP = 5e-4, 40


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `groups` queries × `documents` windows of up to `length` tokens.

    `real` is the share of real questions, `teacher` the weight of the overlap teacher.
    """

    steps: int
    groups: int
    documents: int
    length: int
    real: float
    teacher: float


STAGES = (
    Stage(200, 12, 8, 48, 0.25, 1.0),
    Stage(500, 8, 8, 80, 0.4, 0.5),
    Stage(500, 6, 8, 150, 0.5, 0.2),
    Stage(180, 4, 8, 300, 0.6, 0.1),
)


def loss_of(margins: Tensor, batch: Batch, teacher_weight: float) -> Tensor:
    """Listwise cross-entropy + balanced yes/no cross-entropy + divergence from the teacher.

    `margins` is [b, n]; the answer and the other n − 1 documents weigh the same in the yes/no part.
    """
    answer = batch.answer.to(margins.device)
    overlap = batch.teacher.to(margins.device)
    listwise = functional.cross_entropy(margins, answer)
    target = functional.one_hot(answer, margins.shape[1]).float()
    weight = target + (1 - target) / (margins.shape[1] - 1)
    yes_no = functional.binary_cross_entropy_with_logits(margins, target, weight, reduction="sum")
    soft = functional.kl_div(margins.log_softmax(1), (overlap / 3).log_softmax(1), log_target=True,
                    reduction="batchmean")  # fmt: skip
    return listwise + 0.5 * yes_no / len(answer) + teacher_weight * soft


def learning_rate(step: int, total: int) -> float:
    """Linear warm-up, then a half cosine down to 3 % of the peak."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - WARM_UP) / (total - WARM_UP))))
    return PEAK_RATE * (0.03 + 0.97 * float(cosine))


def training_texts(
    questions: dict[str, list[Passage]], docstrings: list[Passage]
) -> tuple[dict[str, list[Passage]], list[str]]:
    """(passages to train the model on by language, texts to train the tokenizer on).

    The tokenizer sees the languages that the model does not, but none of the held-out paragraphs.
    """
    kept = {name: split(passages)[0] for name, passages in questions.items()}
    texts = [passage.text for passage in docstrings]
    for name in sorted(kept):
        for passage in kept[name]:
            texts += [passage.text, *(question for question, _ in passage.questions)]
    passages = {name: kept[name] for name in kept if name not in HELD_OUT_LANGUAGES}
    return passages | {"en": docstrings}, texts


def token_counts(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """[vocabulary] int64: how often each token occurs in `texts`."""
    counts = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.long)
    for encoding in tokenizer.encode_batch([f" {text}" for text in texts]):
        counts += torch.bincount(torch.tensor(encoding.ids), minlength=len(counts))
    return counts


def train(
    model: GroupReranker,
    sampler: Sampler,
    stages: tuple[Stage, ...],
    device: str,
    after_stage: Callable[[], None],
) -> None:
    """Trains `model` in place, printing a line every 20 steps."""
    matrices = [x for x in model.parameters() if x.ndim == 2]
    gains = [x for x in model.parameters() if x.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9)
    total, step, began = sum(stage.steps for stage in stages), 0, time.monotonic()
    cores = SpareCores()
    for stage in stages:
        window: list[tuple[float, float, float]] = []
        for _ in range(stage.steps):
            batch = sampler.batch(
                SEED, step, groups=stage.groups, documents=stage.documents,
                length=stage.length, real=stage.real,
            )  # fmt: skip
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, total)
            margins = model(*batch.inputs(device))
            loss = loss_of(margins, batch, stage.teacher)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            right = (margins.detach().cpu().argmax(1) == batch.answer).float().mean()
            window.append((float(loss.detach()), float(right), float(norm)))
            step += 1
            cores.adapt()
            if step % 20 == 0:
                mean = torch.tensor(window[-20:]).mean(0).tolist()
                print(
                    f"{time.strftime('%H:%M:%S')} step {step}/{total} length {stage.length}"
                    f" loss {mean[0]:.3f} first {mean[1]:.3f} of 1/{stage.documents}"
                    f" norm {mean[2]:.2f} {time.monotonic() - began:.0f}s",
                    flush=True,
                )
        after_stage()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TINY_DATA", "data/questions"))
    parser.add_argument("--output", type=Path, default=Path("shared_core/tiny"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plain", action="store_true", help="ordinary random start, to compare")
    parser.add_argument("--steps", type=int, help="only the first stage, for this many steps")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)

    docstrings, _ = load_docstrings()
    passages, texts = training_texts(load_questions(Path(arguments.data)), docstrings)
    tokenizer = train_tokenizer(texts)
    yes_id, no_id = tokenizer.encode("yes").ids[0], tokenizer.encode("no").ids[0]
    model = GroupReranker(tokenizer.get_vocab_size(), yes_id, no_id)
    if arguments.plain:
        plain_init(model)
    else:
        structured_init(model, tokenizer, token_counts(tokenizer, texts))
    model.to(arguments.device)
    print(f"{sum(x.numel() for x in model.parameters()):,} parameters", flush=True)
    stages = STAGES
    if arguments.steps is not None:
        stages = (Stage(**(vars(STAGES[0]) | {"steps": arguments.steps})),)

    def write() -> None:
        export(model, tokenizer, arguments.output)
        difference = check(model, arguments.output)
        print(f"written; one-by-one scoring differs by at most {difference:.1e}", flush=True)
        if difference > 1e-4:
            raise RuntimeError("the exported checkpoint does not score as the trained model does")

    train(model, Sampler(passages, tokenizer), stages, arguments.device, write)


if __name__ == "__main__":
    main()
