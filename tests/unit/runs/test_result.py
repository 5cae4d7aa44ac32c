"""Labels of result.json, which report, card and comparison take from the types."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from qa_lib.runs.result import SECTIONS, Trained, labels


def test_speed_means_training_in_jobs_that_train_and_scoring_where_only_scores_are_made():
    assert labels("train")["windows_per_s"] == "training windows per second"
    assert labels("adjust")["windows_per_s"] == "training windows per second"
    assert labels("evaluate")["windows_per_s"] == "evaluated windows per second"


def test_every_field_has_a_label_even_in_a_run_of_an_unknown_job():
    assert set(labels("")) == {
        name for job in SECTIONS.values() for section in job for name in section.model_fields
    }
    assert all(labels("").values())


def test_only_fields_that_were_set_are_written_and_others_are_refused():
    assert Trained(steps=3).fields() == {"steps": 3}
    with pytest.raises(ValidationError):
        Trained(stesp=3)
