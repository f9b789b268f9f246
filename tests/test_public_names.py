import inspect
import subprocess
import sys

import thaw
from thaw import errors

QUIET = """
import logging, os, random, sys, warnings
warnings.simplefilter("error")
import numpy, torch
state, names = torch.get_rng_state(), set(os.environ)
threads, kinds, files = torch.get_num_threads(), torch.get_default_dtype(), os.listdir(".")
import thaw
assert torch.equal(torch.get_rng_state(), state)
assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, kinds)
assert not torch.are_deterministic_algorithms_enabled() and not torch.cuda.is_initialized()
assert set(os.environ) == names and os.listdir(".") == files
assert not logging.getLogger().handlers and not logging.getLogger("thaw").handlers
loaded = {"matplotlib", "jinja2", "tensorboard", "pandas", "polars", "sklearn"} & set(sys.modules)
assert not loaded, loaded
"""


def test_every_public_name_is_there_and_every_name_there_is_public():
    there = {
        name
        for name, value in vars(thaw).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(thaw.__all__) == there
    assert sorted(thaw.__all__, key=lambda n: (not n.isupper(), n.islower(), n)) == thaw.__all__


def test_every_public_name_says_what_it_is():
    for name in thaw.__all__:
        value = getattr(thaw, name)
        assert not callable(value) or value.__doc__, name


def test_every_error_is_a_thaw_error():
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert all(issubclass(each, errors.ThawError) for each in found)


def test_importing_thaw_has_no_effect(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", QUIET], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
