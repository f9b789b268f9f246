from dataclasses import replace

import pytest

from builders import small_dnn
from thaw.errors import MethodError
from thaw.methods import MAIL, METHODS, Method, method
from thaw.rankers import RANKERS, BaseDNN


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_found_by_name(name):
    assert method(name) is METHODS[name]
    assert METHODS[name].name == name


@pytest.mark.parametrize("name", METHODS)
def test_dropout_behind_a_name_adds_behavior_dropout(name):
    found = method(f"{name}+dropout")
    assert found.name == f"{name}+dropout"
    assert found.behavior_dropout == 0.3
    assert (found.ranker, found.mail) == (METHODS[name].ranker, METHODS[name].mail)


@pytest.mark.parametrize("name", METHODS)
def test_fm_behind_a_name_adds_a_factorization_machine(name):
    found, both = method(f"{name}+fm"), method(f"{name}+dropout+fm")
    assert (found.name, both.name) == (f"{name}+fm", f"{name}+dropout+fm")
    assert found == replace(METHODS[name], name=found.name, fm=True)
    assert both == replace(METHODS[name], name=both.name, fm=True, behavior_dropout=0.3)


def test_what_is_trained_is_the_method_without_what_is_fitted_to_it():
    for name in ("mail-base", "mail-base+dropout", "base-dnn"):
        assert method(name).trained == method(name)
        assert replace(method(f"{name}+fm").trained, name=name) == method(name)
    assert method("lookalike-base+fm").trained == Method("lookalike-base+fm")


@pytest.mark.parametrize("name", ["nobody", "nobody+dropout", "", "+dropout", "+fm"])
def test_unknown_names_are_told_with_the_known_ones(name):
    with pytest.raises(MethodError, match="there are emblr, llae, base-dnn"):
        method(name)


def test_unknown_rankers_are_told_with_the_known_ones():
    with pytest.raises(MethodError, match="no ranker 'x'; there are emblr, base-dnn"):
        Method("mine", ranker="x")


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(MethodError, match=rf"behavior_dropout \(={share}\)"):
        Method("mine", behavior_dropout=share)


def test_rankers_are_named_or_built():
    assert Method("a").factory is RANKERS["base-dnn"] is BaseDNN
    assert Method("a", ranker=small_dnn).factory is small_dnn
    assert Method("a").ranker_name == "base-dnn"
    assert Method("a", ranker=small_dnn).ranker_name == "small_dnn"


def test_mail_base_is_mail_on_base_dnn():
    assert METHODS["mail-base"] == Method("mail-base", "base-dnn", MAIL())


def test_an_unknown_name_is_met_with_the_nearest_or_all():
    for name in ("mail-bas", "mail-base+dropout+dropout", "mail-base+fm+dropout"):
        with pytest.raises(MethodError, match=r"no method '.*'; did you mean mail-base\?"):
            method(name)
    with pytest.raises(MethodError, match=r"no method 'xyz'; there are emblr, .*with '\+dropout'"):
        method("xyz")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ranker": None}, "ranker: is a NoneType; give a name"),
        ({"mail": MAIL}, r"mail: is a type; give options, as MAIL\(\)"),
        ({"behavior_dropout": "a"}, r"behavior_dropout \(='a'\) must be in \[0, 1\)"),
        ({"fm": 1}, r"fm \(=1\) must be True or False"),
    ],
)
def test_what_is_no_part_of_a_method_is_refused(options, told):
    with pytest.raises(MethodError, match=told):
        Method("wrong", **options)
