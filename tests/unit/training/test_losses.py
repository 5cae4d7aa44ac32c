"""Losses do not depend on padding, and distillation pulls towards the teacher."""

import pytest
import torch

from qa_lib.training.losses import distilled_losses, window_losses


def batch_of(num_tokens: int, num_real: int) -> dict[str, torch.Tensor]:
    mask = torch.zeros(2, num_tokens, dtype=torch.long)
    mask[:, :num_real] = 1
    return {
        "attention_mask": mask,
        "start_positions": torch.tensor([1, 3]),
        "end_positions": torch.tensor([2, 3]),
    }


def padded(logits: torch.Tensor, num_tokens: int, value: float) -> torch.Tensor:
    return torch.nn.functional.pad(logits, (0, num_tokens - logits.shape[1]), value=value)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))


def test_the_loss_is_the_mean_of_two_cross_entropies(logits):
    start, end = logits[:2]
    expected = [
        -0.5 * (start[i].log_softmax(0)[s] + end[i].log_softmax(0)[e])
        for i, (s, e) in enumerate([(1, 2), (3, 3)])
    ]
    assert torch.allclose(window_losses(start, end, batch_of(6, 6)), torch.stack(expected))


@pytest.mark.parametrize("garbage", [0.0, 50.0, -50.0])
def test_padding_changes_no_loss_and_no_gradient(logits, garbage):
    start, end, teacher_start, teacher_end = logits
    results = []
    for width in (6, 16):
        inputs = [padded(part, width, garbage).requires_grad_() for part in (start, end)]
        batch = batch_of(width, 6) | {
            "teacher_start_logits": padded(teacher_start, width, -garbage),
            "teacher_end_logits": padded(teacher_end, width, 0.0),
        }
        losses = distilled_losses(*inputs, batch, weight=0.7, temperature=2.0)
        losses.sum().backward()
        results.append((losses.detach(), [part.grad for part in inputs]))
    (plain, plain_grads), (wide, wide_grads) = results
    assert torch.allclose(plain, wide, atol=1e-6)
    for one, other in zip(plain_grads, wide_grads, strict=True):
        assert torch.allclose(one, other[:, :6], atol=1e-6)
        assert (other[:, 6:] == 0).all()


def test_a_teacher_of_weight_zero_is_the_plain_loss(logits):
    start, end, teacher_start, teacher_end = logits
    batch = batch_of(6, 6)
    taught = batch | {"teacher_start_logits": teacher_start, "teacher_end_logits": teacher_end}
    mixed = distilled_losses(start, end, taught, weight=0.0, temperature=3.0)
    assert torch.allclose(mixed, window_losses(start, end, batch))


def test_distillation_is_zero_at_the_teacher_and_nowhere_else(logits):
    start, end, teacher_start, teacher_end = logits
    taught = batch_of(6, 6) | {
        "teacher_start_logits": teacher_start,
        "teacher_end_logits": teacher_end,
    }
    same = distilled_losses(teacher_start, teacher_end, taught, weight=1.0, temperature=2.0)
    assert torch.allclose(same, torch.zeros(2), atol=1e-6)
    assert (distilled_losses(start, end, taught, weight=1.0, temperature=2.0) > 0.01).all()


def test_the_divergence_is_of_softened_distributions(logits):
    start, end, teacher_start, teacher_end = logits
    taught = batch_of(6, 6) | {
        "teacher_start_logits": teacher_start,
        "teacher_end_logits": teacher_end,
    }
    temperature, expected = 4.0, torch.zeros(2)
    for student, teacher in ((start, teacher_start), (end, teacher_end)):
        p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
        expected += 0.5 * temperature**2 * (p * (p / q).log()).sum(-1)
    found = distilled_losses(start, end, taught, weight=1.0, temperature=temperature)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_padding_is_no_part_of_the_divergence_at_any_temperature(logits, temperature):
    start, end, *teacher = logits
    names = ("teacher_start_logits", "teacher_end_logits")
    whole = batch_of(6, 6) | dict(zip(names, teacher, strict=True))
    wider = [padded(each, 9, 9.0) for each in logits]
    wide = batch_of(9, 6) | dict(zip(names, wider[2:], strict=True))
    rest = {"weight": 1.0, "temperature": temperature}
    found = distilled_losses(*wider[:2], wide, **rest)
    assert torch.allclose(found, distilled_losses(start, end, whole, **rest), atol=1e-5)


def test_without_a_label_the_teacher_alone_counts(logits):
    start, end, teacher_start, teacher_end = logits
    taught = batch_of(6, 6) | {
        "teacher_start_logits": teacher_start,
        "teacher_end_logits": teacher_end,
    }
    rest = {"weight": 0.3, "temperature": 2.0}
    mixed = distilled_losses(start, end, taught, **rest)
    teachers = distilled_losses(start, end, taught, **rest | {"weight": 1.0})
    found = distilled_losses(start, end, taught | {"labelled": torch.tensor([0.0, 1.0])}, **rest)
    assert found.tolist() == [teachers[0], mixed[1]]
