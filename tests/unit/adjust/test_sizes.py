"""What settings ask for is what the sizes say, and the impossible names the nearest possible."""

from __future__ import annotations

from typing import Any

import pytest

from qa_lib import adjust, models
from qa_lib.adjust import Sizes
from qa_lib.config import AdjustSettings
from qa_lib.errors import AdjustError
from tests.support.adjust_models import CONFIGS, tiny, windows


def resolve(family: str = "bert", **settings: Any) -> Sizes:
    return adjust.resolve(CONFIGS[family](), AdjustSettings(**settings))


def test_hidden_size_alone_keeps_the_head_size():
    minilm = models.load_config("embedded")
    sizes = adjust.resolve(minilm, AdjustSettings(hidden_size=288))
    assert (sizes.hidden_size, sizes.num_heads, sizes.head_size) == (288, 9, 32)


def test_hidden_size_with_heads_changes_the_head_size():
    sizes = resolve(hidden_size=24, num_heads=4)
    assert (sizes.num_heads, sizes.head_size) == (4, 6)


def test_the_first_layers_stay_unless_others_are_named():
    assert resolve(num_layers=2).layers == (0, 1)
    assert resolve(keep_layers=(0, 2)).layers == (0, 2)
    assert resolve(num_layers=2, layers="spread").layers == (0, 2)


def test_nothing_asked_changes_nothing():
    assert resolve() == Sizes(layers=(0, 1, 2), hidden_size=32, num_heads=4, intermediate_size=24)
    assert resolve(num_heads=4) == resolve()


@pytest.mark.parametrize(
    ("settings", "nearest"),
    [
        ({"num_layers": 4}, "--adjust.num-layers 3"),
        ({"keep_layers": (0, 3)}, "--adjust.keep-layers 0 2"),
        ({"intermediate_size": 25}, "--adjust.intermediate-size 24"),
        ({"hidden_size": 40}, "--adjust.hidden-size 32"),
        ({"hidden_size": 23}, "--adjust.hidden-size 24"),
        ({"hidden_size": 3}, "--adjust.hidden-size 8"),
        ({"hidden_size": 24, "num_heads": 2}, "--adjust.hidden-size 16 with --adjust.num-heads 2"),
        ({"num_heads": 3}, "--adjust.hidden-size 24"),
        ({"num_heads": 9}, "--adjust.hidden-size 32"),
    ],
)
def test_the_impossible_names_the_nearest_possible(settings: dict[str, Any], nearest: str):
    with pytest.raises(AdjustError) as refusal:
        resolve(**settings)
    assert nearest in refusal.value.remedy


def test_electra_cannot_shrink_to_its_embedding_size_which_would_drop_a_projection():
    with pytest.raises(AdjustError, match="projection") as refusal:
        resolve("electra", hidden_size=16)
    assert refusal.value.remedy.endswith("--adjust.hidden-size 8.")
    assert resolve("electra-tied", hidden_size=16).hidden_size == 16


def test_modernbert_keeps_its_first_layer_which_alone_has_no_norm():
    with pytest.raises(AdjustError, match=r"Layer 1 cannot become layer 0 .*attn_norm") as refusal:
        resolve("modernbert", keep_layers=(1, 2))
    assert "--adjust.num-layers 2" in refusal.value.remedy


def test_modernbert_keeps_its_head_size_by_which_rotary_positions_turn():
    assert resolve("modernbert", hidden_size=16).num_heads == 2
    with pytest.raises(AdjustError, match="rotary") as refusal:
        resolve("modernbert", hidden_size=16, num_heads=4)
    assert "--adjust.hidden-size 32" in refusal.value.remedy


def test_a_layer_keeps_its_own_kind_of_attention():
    sizes = resolve("modernbert", keep_layers=(0, 2))
    whole = CONFIGS["modernbert"]().layer_types
    assert sizes.apply(CONFIGS["modernbert"]()).layer_types == [whole[0], whole[2]]


def test_albert_says_how_many_layers_stay_not_which():
    assert resolve("albert", num_layers=2) == resolve("albert", keep_layers=(0, 1))
    with pytest.raises(AdjustError, match="share their weights") as refusal:
        resolve("albert", keep_layers=(0, 2))
    assert "--adjust.num-layers 2" in refusal.value.remedy
    target = AdjustSettings(target_parameters=0.7, round_to=4, layers="spread")
    with pytest.raises(AdjustError, match="share their weights") as refusal:
        adjust.find_sizes(tiny("albert"), target, [windows()])
    assert "Leave out --adjust.layers" in refusal.value.remedy
    without = AdjustSettings(target_parameters=0.7, round_to=4)
    assert adjust.find_sizes(tiny("albert"), without, [windows()]).layers[0] == 0


def test_the_config_is_rewritten_with_what_must_follow_it():
    sizes = Sizes(layers=(0, 2), hidden_size=16, num_heads=2, intermediate_size=8)
    assert sizes.apply(CONFIGS["electra-tied"]()).embedding_size == 16
    assert sizes.apply(CONFIGS["electra"]()).embedding_size == 16
    deberta = sizes.apply(CONFIGS["deberta-v2-own"]())
    assert (deberta.attention_head_size, deberta.pooler_hidden_size) == (8, 16)
    assert deberta.embedding_size == 16
    distilbert = sizes.apply(CONFIGS["distilbert"]())
    assert (distilbert.n_layers, distilbert.dim, distilbert.n_heads, distilbert.hidden_dim) == (
        2,
        16,
        2,
        8,
    )
