import pytest

from thaw.errors import TrainingError
from thaw.options import Training


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("dim", 0, "must be 1 or more"),
        ("batch_size", 3, "must be 4 or more"),
        ("seed", -1, "must be 0 or more"),
        ("seed", 1 << 32, "must be below 2"),
        ("unknown_share", 1.0, r"must be in \[0, 1\)"),
        ("learning_rate", 0.0, "must be above 0"),
        ("learning_rate", float("nan"), "must be above 0"),
        ("explodes_at", -1.0, "must be above 0"),
    ],
)
def test_values_out_of_range_are_refused(name, value, rule):
    with pytest.raises(TrainingError, match=rf"{name} \(={value}\) {rule}"):
        Training(**{name: value})


def test_an_unknown_device_is_refused():
    with pytest.raises(TrainingError, match=r"device \(='gpu'\) must be 'auto', 'cpu' or 'cuda'"):
        Training(device="gpu")


def test_all_faults_are_told_at_once():
    with pytest.raises(TrainingError) as caught:
        Training(dim=0, patience=0, unknown_share=2.0)
    assert str(caught.value) == (
        "dim (=0) must be 1 or more; patience (=0) must be 1 or more; "
        "unknown_share (=2.0) must be in [0, 1)"
    )


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_epochs", "3", "must be a whole number"),
        ("dim", 2.5, "must be a whole number"),
        ("dim", True, "must be a whole number"),
        ("learning_rate", "0.1", "must be a number"),
        ("device", None, "must be a text"),
    ],
)
def test_values_of_another_type_are_refused(name, value, rule):
    with pytest.raises(TrainingError, match=rf"{name} \(={value!r}\) {rule}"):
        Training(**{name: value})
