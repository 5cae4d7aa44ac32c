"""What of a student is where in the teacher that it was cut from: its layers, its dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib import models
from qa_lib.config import TrainSettings
from qa_lib.errors import TrainError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Projections:
    """Where a model writes the queries, keys and values of one layer.

    Attributes:
        modules: Names of the modules that write queries, keys and values; one that writes several
            of them is named as often, and writes them in this order.
        num_before: Passes of these modules before the layer's own, where layers share them.
    """

    modules: tuple[str, str, str]
    num_before: int = 0

    def of(self, name: str, output: torch.Tensor, place: int) -> torch.Tensor:
        """Return the part of a module's output that is the place-th of the three."""
        num_parts = self.modules.count(name)
        return output.chunk(num_parts, dim=-1)[self.modules[:place].count(name)]

    @contextmanager
    def written(
        self, model: PreTrainedModel, mask: torch.Tensor
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Collect what these modules write for tokens, not for relative positions."""
        found: dict[str, torch.Tensor] = {}
        passes: Counter[str] = Counter()

        def keep(name: str) -> Any:
            def hook(_: Any, __: Any, output: torch.Tensor) -> None:
                if output.shape[:2] == mask.shape:
                    if passes[name] == self.num_before:
                        found[name] = output
                    passes[name] += 1

            return hook

        with ExitStack() as stack:
            for name in set(self.modules):
                module = model.get_submodule(name)
                stack.callback(module.register_forward_hook(keep(name)).remove)
            yield found


@dataclass(frozen=True)
class Correspondence:
    """Where the states of a student are in the teacher that it was cut from.

    Attributes:
        teacher_sha256: The teacher's fingerprint.
        layers: By layer of the student, the layer of the teacher whose output it stands for.
        hidden: Dimensions of the teacher's residual stream that the student has.
        kept: By layer of the student, the layer of the teacher that it was.
        student: The student's last layer; None where it has no attention.
        teachers: By layer of the student, the layer of the teacher that it was.
    """

    teacher_sha256: str
    layers: tuple[int, ...]
    hidden: tuple[int, ...]
    kept: tuple[int, ...]
    student: Projections | None
    teachers: tuple[Projections, ...]

    @property
    def teacher(self) -> Projections | None:
        """What the student's last layer was in the teacher; None where it has no attention."""
        return None if self.student is None else self.teachers[-1]


def check(train: TrainSettings, found: Correspondence | None) -> None:
    """Check that what the settings want to teach can be taught.

    Raises:
        TrainError: The student was not cut from the teacher, as far as is known.
    """
    if not train.teaches_inside:
        return
    flag = "--train.hidden-weight" if train.hidden_weight else "--train.relation-weight"
    if train.teacher is None or found is None:
        raise TrainError(
            f"{flag} needs a student that is cut from its teacher in the same run: only its "
            "plan says which of the teacher's states are the student's.",
            f"Recover with `python -m jobs.adjust --adjust.recover`, or leave out {flag}.",
        )
    if models.fingerprint(train.teacher) != found.teacher_sha256:
        raise TrainError(
            f"{flag} cannot teach from {train.teacher}: the model was cut from another one, "
            f"with the fingerprint {found.teacher_sha256[:12]}.",
            f"Leave out --train.teacher, or {flag}.",
        )
    if train.relation_weight and found.student is None:
        raise TrainError(
            "--train.relation-weight needs attention in the student's last layer.",
            "Leave it out, or keep that block.",
        )


def teacher_bytes(train: TrainSettings) -> int:
    """Return the bytes of the teacher that a rank holds beside its training state."""
    if not train.teaches_inside or train.teacher is None:
        return 0
    return 4 * models.num_stored_parameters(train.teacher)
