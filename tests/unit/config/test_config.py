"""Settings: precedence, one report of every problem, and recipes that always load."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qa_lib import config
from qa_lib.config import DataSettings, Settings, TrainSettings
from qa_lib.config.fields import settings_in
from qa_lib.errors import ConfigError


def problem(*argv: str) -> str:
    """Return what a command line is refused with."""
    with pytest.raises(ConfigError) as caught:
        config.parse("train", argv)
    return caught.value.problem


def recipe(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# -- precedence and forms


def test_defaults_then_recipe_then_flags(tmp_path: Path):
    path = recipe(tmp_path, "seed: 3\ntrain: {epochs: 5, max_steps: 7}\n")
    settings = config.parse("train", ["--train.epochs", "6", "--recipe", path])
    assert (settings.seed, settings.train.epochs, settings.train.max_steps) == (3, 6, 7)
    assert settings.train.weight_decay == 0.01
    assert settings.recipe == path


def test_a_flag_resets_what_the_recipe_limits():
    settings = config.parse("train", ["--recipe", "notebook", "--data.train-limit", "none"])
    assert (settings.data.train_limit, settings.data.eval_limit) == (None, 1000)


def test_without_a_recipe_it_is_quickstart():
    assert config.parse("train", []).recipe == "quickstart"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--no-adjust.fold"], False),
        (["--adjust.no-fold"], False),
        (["--adjust.fold", "False"], False),
        (["--adjust.fold=false"], False),
        (["--no-adjust.fold=false"], True),
        (["--adjust.fold"], True),
        ([], True),
    ],
)
def test_booleans_can_be_written_in_every_usual_way(argv: list[str], expected: bool):
    assert config.parse("adjust", argv).adjust.fold is expected


@pytest.mark.parametrize(
    "argv",
    [
        ["--adjust.keep-layers", "0", "2", "5"],
        ["--adjust.keep-layers", "0,2,5"],
        ["--adjust.keep_layers=0,2,5"],
    ],
)
def test_lists_can_be_written_with_spaces_or_commas(argv: list[str]):
    assert config.parse("adjust", [*argv, "--seed", "1"]).adjust.keep_layers == (0, 2, 5)


def test_values_that_look_like_flags_or_words():
    argv = ["--evaluate.no-answer-threshold", "-1.5", "--train.cpus-per-worker", "auto"]
    settings = config.parse("train", [*argv, "--train.micro-batch", "auto", "--storage=a=b"])
    assert settings.evaluate.no_answer_threshold == -1.5
    assert settings.train.cpus_per_worker is None
    assert settings.train.micro_batch == "auto"
    assert settings.storage == "a=b"


@pytest.mark.parametrize(
    "flag",
    """--recipe --run-name --storage --resume --overwrite --dry-run --seed --predictions
    --data.source --data.eval-source --data.version --data.train-limit --data.eval-limit
    --data.holdout-articles --data.max-length --data.stride --model.name --train.num-workers
    --train.zero-stage --train.epochs --train.max-steps --train.micro-batch --train.global-batch
    --train.learning-rate --train.precision --train.device --train.cpus-per-worker
    --train.checkpoint-every-steps""".split(),
)
def test_flags_that_outside_scripts_call_keep_their_names(flag: str):
    assert flag in [setting.flag for setting in settings_in(Settings)]


# -- every problem at once


def test_everything_wrong_is_reported_together(tmp_path: Path):
    path = recipe(
        tmp_path,
        "train:\n  epoch: 2\n  learning_rate: 8\nmodel: 3\ntrian: {}\nevaluate:\n  n_best: 0\n",
    )
    text = problem(
        *("--recipe", path, "--train.num-workers", "two", "--data.stride", "384"),
        *("--train.precison", "fp32", "--resume", "--overwrite", "--seed"),
    )
    for part in [
        "10 problems",
        "train.epoch (mine.yaml line 2): perhaps you meant train.epochs",
        "train.learning_rate is 8 (mine.yaml line 3) but must be at most 1",
        "model (mine.yaml line 4) is a group",
        "trian (mine.yaml line 5): perhaps you meant train",
        "evaluate.n_best is 0 (mine.yaml line 7) but must be at least 1",
        "train.num_workers is 'two' (--train.num-workers) but must be a whole number or of the "
        "form MIN:MAX, such as 1:4",
        "data.stride (384) must be smaller than data.max_length (384)",
        "--train.precison: perhaps you meant --train.precision",
        "--resume and --overwrite",
        "--seed needs a value",
    ]:
        assert part in text, part


@pytest.mark.parametrize("key", ["train.epochs", "epochs"])
def test_a_recipes_key_outside_its_group_is_shown_inside_of_it(tmp_path: Path, key: str):
    path = recipe(tmp_path, f"{key}: 2\n")
    assert "perhaps you meant `train: {epochs: ...}`" in problem("--recipe", path)


def test_every_broken_rule_is_reported_beside_a_wrong_field():
    text = problem(
        *"--resume --overwrite --run-name .. --data.stride 400 --search.space.ragged x".split(),
        *"--adjust.keep-layers 2 1 --adjust.num-layers 3 --adjust.plan p --seed x".split(),
    )
    for part in [
        "8 problems",
        "search.space.ragged is 'x' (--search.space.ragged) but must be True or False",
        "seed is 'x'",
        "run_name '..' is not a name",
        "--resume and --overwrite exclude each other",
        "data.stride (400) must be smaller",
        "adjust.num_layers and adjust.plan exclude each other",
        "keep_layers must be in ascending order",
        "adjust.num_layers (3) contradicts adjust.keep_layers (2 layers)",
    ]:
        assert part in text, part


@pytest.mark.parametrize("text", ["train: {global_batch: 3, num_workers: 2}", "seed: [", "- 1"])
def test_a_damaged_config_of_a_run_is_an_error_that_a_user_can_fix(text: str):
    with pytest.raises(ConfigError, match="config.yaml"):
        Settings.from_yaml(text)


def test_a_rule_about_a_wrong_field_is_not_reported_on_its_default():
    text = problem("--data.stride", "x", "--data.max-length", "100")
    assert "must be smaller" not in text
    assert "data.stride is 'x'" in text


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ("--train.precision fp16 --train.device cpu", "use fp32 or bf16"),
        ("--train.global-batch 16 --train.num-workers 3", "nearest such batch is 15"),
        ("--train.global-batch 16 --train.num-workers 3", "or --train.num-workers 3:4"),
        ("--train.global-batch 2 --train.num-workers 4", "nearest such batch is 4"),
        ("--train.num-workers 1:3", "train.num_workers (1:3); the nearest such batch is 9"),
        ("--train.num-workers 4:1", "must begin with the smaller number"),
        ("--train.global-batch 24 --train.micro-batch 16", "12 does"),
        ("--train.offload-optimizer --train.zero-stage 0", "zero_stage 1, 2 or 3"),
        ("--data.holdout-articles 1", "less than 1"),
        ("--train.warmup-ratio 1.1", "at most 1"),
        ("--train.learning-rate nan", "finite number"),
        ("--train.zero-stage 4", "at most 3"),
        ("--train.epochs 1.5", "a whole number"),
        ("--data.version 3.0", "'1.1' or '2.0'"),
        ("--run-name ../up", "a name of letters"),
        ("--run-name ..", "not a name"),
        ("--model.name=", "at least 1 character"),
        ("--epochs 3", "perhaps you meant --train.epochs"),
        ("--resume maybe", "'maybe' belongs to no flag"),
        ("--resume=maybe", "True or False"),
        ("stray", "'stray' belongs to no flag"),
        ("--adjust.keep-layers 2 1", "ascending order"),
        ("--adjust.keep-layers 0 1 --adjust.num-layers 3", "contradicts"),
        ("--adjust.hidden-size 300 --adjust.num-heads 8", "304"),
        ("--adjust.plan p.json --adjust.target-speedup 2", "exclude each other"),
    ],
)
def test_one_wrong_thing_is_named_with_its_remedy(argv: str, part: str):
    assert part in problem(*argv.split())


def test_an_unknown_recipe_lists_the_ones_there_are():
    text = problem("--recipe", "squad-gpu")
    for name in config.recipe_names():
        assert name in text


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"train: [1\nseed: 2", "not valid YAML: line 2"),
        (b"- 1", "not a list"),
        (b"\xff\xfe", "cannot be read"),
        (b"seed: 1\nseed: 2", "appears twice in mine.yaml (lines 1 and 2)"),
        (b"a: &a [*a]", "contains itself"),
        (b"? [1, 2]\n: 3", "mine.yaml"),
        (b"1: 2", "unknown setting 1"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_damaged_recipe_is_named(tmp_path: Path, content: bytes, part: str):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert part in problem("--recipe", str(path))


def test_a_missing_recipe_file_is_named(tmp_path: Path):
    assert "does not exist" in problem("--recipe", str(tmp_path / "none.yaml"))


@hypothesis.settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["--seed", "--x", "=", "1", "--no-resume", "-h1", "--", "a,b", ""]))
)
def test_no_command_line_ends_in_anything_but_settings_or_a_config_error(argv: list[str]):
    try:
        assert isinstance(config.parse("train", argv), Settings)
    except ConfigError:
        pass


# -- recipes and the tree


@pytest.mark.parametrize("name", config.recipe_names())
@pytest.mark.parametrize("job", ["prepare", "train", "evaluate", "answer", "adjust"])
def test_every_recipe_is_valid_for_every_job(name: str, job: str):
    assert config.parse(job, ["--recipe", name]).recipe == name


def test_the_recipes_that_the_readme_promises_are_there():
    assert {"quickstart", "squad-cpu", "squad", "notebook"} <= set(config.recipe_names())
    notebook = config.parse("train", ["--recipe", "notebook"]).data
    assert (notebook.train_limit, notebook.eval_limit) == (8000, 1000)
    squad = config.parse("train", ["--recipe", "squad"])
    assert (squad.data.train_limit, squad.data.eval_limit, squad.train.epochs) == (None, None, 2)


def test_every_setting_has_a_description():
    assert not [each.key for each in settings_in(Settings) if not each.info.description]


def test_every_number_has_a_bound():
    open_ended = {"evaluate.no_answer_threshold"}  # a difference of logits may be anything
    for setting in settings_in(Settings):
        if {"INT", "FLOAT"} & {*setting.value_type.removesuffix(" ...").split("|")}:
            assert setting.bounds or setting.key in open_ended, setting.key


def test_settings_cannot_be_changed_and_know_no_other_keys():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.train.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        TrainSettings(epoch=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        TrainSettings(learning_rate=math.inf)


def test_settings_made_in_python_obey_the_rules_between_fields_too():
    with pytest.raises(ValidationError, match="must be smaller than data.max_length"):
        DataSettings(stride=384)
    with pytest.raises(ValidationError, match="exclude each other"):
        Settings(resume=True, overwrite=True)


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_more_workers_share_the_same_batch_without_a_second_flag(workers: int, share: int):
    train = config.parse("train", ["--train.num-workers", str(workers)]).train
    assert train.global_batch == 8
    assert train.micro_batch == share


def test_the_workers_of_an_elastic_group_share_the_batch_as_its_largest_size_does(tmp_path: Path):
    for argv in (
        ["--train.num-workers", "1:4"],
        ["--recipe", recipe(tmp_path, "train: {num_workers: 1:4}\n")],  # YAML's sexagesimal 64
    ):
        settings = config.parse("train", argv)
        train = Settings.from_yaml(settings.to_yaml()).train
        assert (train.min_workers, train.max_workers, train.is_elastic) == (1, 4, True)
        assert train.micro_batch == train.global_batch // 4
    fixed = config.parse("train", ["--train.num-workers", "2"]).train
    assert (fixed.min_workers, fixed.max_workers, fixed.is_elastic) == (2, 2, False)


def test_a_large_batch_is_accumulated_in_micro_batches():
    argv = ["--train.global-batch", "64", "--train.num-workers", "2"]
    assert config.parse("train", argv).train.micro_batch == 16


def test_settings_survive_yaml_and_a_process_boundary(tmp_path: Path):
    argv = ["--adjust.keep-layers", "0,3", "--train.learning-rate", "1e-5", "--run-name", "a"]
    settings = config.parse("adjust", [*argv, "--resume", "--data.version", "2.0"])
    assert pickle.loads(pickle.dumps(settings)) == settings
    path = recipe(tmp_path, settings.to_yaml())
    again = config.parse("adjust", ["--recipe", path])
    # What was asked of one command (its run name, resume) is not part of the recipe.
    same = settings.model_copy(update={"run_name": None, "resume": False, "recipe": path})
    assert again == same
    assert Settings.from_yaml(settings.to_yaml()).adjust == settings.adjust


def test_a_recipe_cannot_ask_to_replace_a_run(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 1\noverwrite: true\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"overwrite \(mine.yaml line 2\).*only the command line"):
        config.parse("train", ["--recipe", str(path)])


def test_of_a_list_that_is_given_twice_the_last_counts_and_it_is_said(capsys):
    given = ["--serve.beside", "a=x", "--serve.beside", "b=y"]
    assert config.parse("serve", given).serve.beside == ("b=y",)
    assert "--serve.beside is given twice, and the last one counts" in capsys.readouterr().err
    assert config.parse("serve", ["--serve.beside", "a=x", "b=y"]).serve.beside == ("a=x", "b=y")
    assert config.parse("train", ["--seed", "1", "--seed", "2"]).seed == 2
    assert not capsys.readouterr().err
