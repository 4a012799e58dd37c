"""The public names: ``__all__``, the package's attributes, signatures and docstrings agree."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import re
import types
from pathlib import Path

import pytest

import estep_xp as ex

# The contract's names and the order of their arguments; "*" begins the keyword-only ones.
SIGNATURES = {
    "UnivariateGaussian": ["means", "variances"],
    "SphericalGaussian": ["means", "variances"],
    "DiagonalGaussian": ["means", "variances"],
    "TiedGaussian": ["means", "precision_cholesky"],
    "FullGaussian": ["means", "precision_cholesky"],
    "Poisson": ["rates"],
    "Bernoulli": ["probabilities"],
    "Categorical": ["probabilities"],
    "Exponential": ["rates"],
    "Gamma": ["shapes", "rates"],
    "VonMises": ["locations", "concentrations"],
    "StudentT": ["means", "precision_cholesky", "degrees"],
    "StudentT.from_scales": ["means", "scales", "degrees"],
    "FactorAnalyzer": ["means", "loadings", "noise_variances"],
    "Product": ["parts"],
    "Product.log_prob": ["x"],
    "Poisson.log_prob": ["x"],
    "Bernoulli.log_prob": ["x"],
    "Categorical.log_prob": ["x"],
    "Exponential.log_prob": ["x"],
    "Gamma.log_prob": ["x"],
    "VonMises.log_prob": ["x"],
    "TiedGaussian.from_covariance": ["means", "covariance"],
    "FullGaussian.from_covariances": ["means", "covariances"],
    "Mixture": ["weights", "components"],
    "ChainEStep": ["responsibilities", "log_likelihood", "transitions", "initial"],
    "chain_posterior": ["log_prob", "initial", "transitions", "*", "lengths"],
    "HMM.from_mixture": ["mixture", "*", "stay"],
    "decode": ["x", "hmm", "*", "lengths"],
    "filtered": ["x", "hmm", "*", "lengths", "start"],
    "forecast": ["hmm", "probabilities", "steps"],
    "Decoded": ["labels", "log_joint"],
    "Filtered": ["responsibilities", "predicted", "log_likelihood", "last"],
    "HMM": ["initial", "transitions", "components"],
    "EStep": ["responsibilities", "log_likelihood"],
    "e_step": ["x", "mixture", "*", "block_size", "workers"],
    "posterior": ["log_prob", "weights"],
    "log_joint": ["x", "mixture"],
    "log_likelihood": ["x", "mixture", "*", "sample_weight"],
    "log_density": ["x", "mixture"],
    "predict": ["x", "mixture"],
    "TiedGaussian.from_precision": ["means", "precision"],
    "FullGaussian.from_precisions": ["means", "precisions"],
    "recenter": ["statistics", "mixture"],
    "scale": ["statistics", "factor"],
    "select": ["x", "families", "n_components", "*", "criterion", "seed", "n_init"],
    "sample": ["model", "n", "*", "seed"],
    "marginal": ["mixture", "features"],
    "condition": ["mixture", "features", "values"],
    "impute": ["x", "mixture", "*", "noise"],
    "Imputed": ["mean", "covariance"],
    "n_parameters": ["model"],
    "aic": ["x", "model", "*", "sample_weight"],
    "bic": ["x", "model", "*", "sample_weight"],
    "icl": ["x", "model", "*", "sample_weight"],
    "save": ["path", "model", "*", "feature_names"],
    "load": ["path"],
    "feature_names": ["path"],
}
FAMILIES = [name for name in SIGNATURES if name.endswith("Gaussian")]
PROPERTIES = {
    "ChainEStep": ["labels", "entropy", "total_log_likelihood"],
    "EStep": ["labels", "entropy", "total_log_likelihood", "mean_max_responsibility"],
    **{family: ["covariances", "precisions"] for family in FAMILIES},
}


MODULES = {"": ex} | {
    f"{library}:": importlib.import_module(f"estep_xp.{library}")
    for library in ("jax", "sklearn")
    if importlib.util.find_spec(library)
}


def public_objects():
    """Everything that has a docstring to read: functions, classes, and what is in the classes."""
    names = [
        (prefix, module, name) for prefix, module in MODULES.items() for name in module.__all__
    ]
    for prefix, module, name in names:
        entry = getattr(module, name)
        name = prefix + name
        yield name, entry
        if inspect.isclass(entry):
            inherited = {member for base in entry.__mro__[1:] for member in vars(base)}
            fields = set(getattr(entry, "_fields", ()))
            for member in vars(entry):
                # scikit-learn makes set_fit_request, say.
                is_made = re.fullmatch(r"set_\w+_request", member)
                if not (member.startswith("_") or is_made or member in inherited | fields):
                    yield f"{name}.{member}", inspect.getattr_static(entry, member)


def underlying(entry):
    """Give the function inside a property, classmethod or wrapper."""
    if isinstance(entry, property):
        return entry.fget
    return inspect.unwrap(getattr(entry, "__func__", entry))


def arguments(entry):
    """Names of the arguments, without self and cls, "*" before the keyword-only ones."""
    parameters = list(inspect.signature(underlying(entry)).parameters.values())
    names = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
    return [name for name in names if name not in ("self", "cls")]


OBJECTS = dict(public_objects())
CALLABLES = {name: o for name, o in OBJECTS.items() if not isinstance(o, property | str)}


def sections(docstring):
    """Map the titles of a numpydoc docstring's sections to their text; "" is the beginning."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_all_lists_the_attributes_and_nothing_else():
    assert len(set(ex.__all__)) == len(ex.__all__)
    assert set(ex.__all__) <= set(vars(ex))
    public = {
        name
        for name, value in vars(ex).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == {name for name in ex.__all__ if not name.startswith("_")}


@pytest.mark.parametrize("prefix", MODULES)
def test_all_is_sorted(prefix):
    names = MODULES[prefix].__all__
    assert list(names) == sorted(names)
    assert set(names) <= set(vars(MODULES[prefix]))


def test_dir_offers_the_public_names():
    assert set(ex.__all__) <= set(dir(ex))


def test_version_is_a_release_number():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.\w+)?", ex.__version__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_contract_name_and_arguments(name):
    assert name.partition(".")[0] in ex.__all__
    entry = OBJECTS[name]
    expected = SIGNATURES[name]
    if inspect.isclass(entry):
        assert list(entry._fields) == expected
        assert issubclass(entry, tuple)
    else:
        # The contract may be added to at the end, by keyword only.
        assert arguments(entry)[: len(expected)] == expected
        assert "*" in expected or "*" in [*arguments(entry), "*"][len(expected)]


@pytest.mark.parametrize("name", PROPERTIES)
def test_contract_properties(name):
    for member in PROPERTIES[name]:
        assert isinstance(OBJECTS[f"{name}.{member}"], property)


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.__name__)
def test_completion_shows_public_names_alone(module):
    assert set(dir(module)) - {"__version__"} == set(module.__all__) - {"__version__"}


def test_help_begins_with_every_public_name():
    listed = set(re.findall(r"\w+", ex.__doc__))
    assert set(ex.__all__) - {"__version__"} <= listed | {"CollapseWarning", "ConvergenceWarning"}


def test_the_reference_lists_every_public_name():
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: estep_xp\.([\w.]+)$", text, flags=re.MULTILINE))
    names = {name.replace(":", ".") for name in OBJECTS if "." not in name}
    assert listed == names - {"__version__"}


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_is_numpydoc(name):
    """A one-line summary; every argument described and nothing else; results; an example."""
    entry = OBJECTS[name]
    if isinstance(entry, str):
        return  # __version__
    docstring = underlying(entry).__doc__
    assert docstring, "no docstring"
    parts = sections(docstring)
    summary = parts[""].strip().splitlines()
    assert summary[0].endswith("."), "the first line is one whole sentence"
    assert len(summary) == 1 or summary[1] == ""
    if isinstance(entry, property):
        return
    if inspect.isclass(entry):
        described = parts.get("Parameters", parts.get("Attributes"))
        names = list(entry._fields) if hasattr(entry, "_fields") else []
    else:
        described = parts.get("Parameters", "")
        names = [argument for argument in arguments(entry) if argument != "*"]
        assert "Returns" in parts
    if names:
        assert described is not None, "no section Parameters"
        titles = re.findall(r"^(\w[\w, ]*?) *(?::.*)?$", described, flags=re.MULTILINE)
        listed = [title for line in titles for title in re.split(r", *", line)]
        assert listed == names


@pytest.mark.parametrize("name", [name for name in CALLABLES if "." not in name])
def test_docstring_has_an_example(name):
    """A doctest the reader can paste; that it passes is the business of --doctest-modules."""
    entry = underlying(CALLABLES[name])
    parts = sections(entry.__doc__)
    assert "Examples" in parts
    examples = doctest.DocTestParser().get_examples(parts["Examples"])
    assert examples
    assert any(example.want for example in examples), "an example shows its result"


def test_examples_are_found_and_pass():
    """Also by tools that look at the package only: doctest finder sees every public docstring."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    attempted = 0
    for name, entry in CALLABLES.items():
        if "." in name or ":" in name:  # the latter's take long, and pytest runs them anyway
            continue
        home = importlib.import_module(underlying(entry).__module__)
        for test in finder.find(entry, name, module=home, globs={}):
            attempted += runner.run(test).attempted
    assert runner.failures == 0
    assert attempted >= len([name for name in CALLABLES if not {".", ":"} & set(name)])
