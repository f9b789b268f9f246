"""The experiments of the paper, and two curves more: 'thaw experiment NAME'."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from thaw.cli_parts import (
    DEFAULTS,
    AsJson,
    BatchSize,
    Data,
    Device,
    Dim,
    Epochs,
    Events,
    Jobs,
    Patience,
    Quietly,
    Rate,
    Rule,
    Seed,
    comparison_folder,
    dataset_of,
    hint,
    shown,
)
from thaw.data import Dataset
from thaw.datasets import World
from thaw.errors import DataError
from thaw.experiments.compare import compare
from thaw.experiments.comparison import Line
from thaw.experiments.curves import by_events
from thaw.experiments.features import check_tower
from thaw.experiments.paper_tables import TABLES
from thaw.experiments.pictures import Sample, generated_and_real, new_and_old
from thaw.experiments.references import standard_references
from thaw.experiments.runs import run_folder, seeds_of, trained
from thaw.experiments.worlds import SHARES, by_attributes
from thaw.methods import Method
from thaw.methods import method as method_of
from thaw.options import Training
from thaw.printing import show_comparison, show_sheet
from thaw.progress import ProgressFactory
from thaw.recommender import Recommender
from thaw.report.about import About, about, rule_of
from thaw.report.cloud_sheets import figure_5_sheet, figure_6_sheet, loss_sheet
from thaw.report.events_sheet import by_events_sheet
from thaw.report.numbers import by_attributes_json, by_events_json, clouds_json, losses_json
from thaw.report.sheet import Sheet
from thaw.report.world_sheet import by_attributes_sheet
from thaw.run_facts import facts_of

experiments = typer.Typer(
    help="Repeat a table or a figure of the paper, or draw one of two curves.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

GOES_ON = "the same command goes on where it stopped"

TABLE = """All methods train under one protocol, until validation stops improving. After the
comparison with its intervals, tests and ceilings stands the table in the paper's layout."""

FIGURE_4 = """Draw the four training losses of MAIL-Base.

Beside them stands how far each falls, how early, and whether it still does in the end."""

FIGURE_5 = """Draw generated against real behavior, of old users and of new ones.

New users' real behavior is what the rule hides. Beside the pictures by t-SNE stand numbers of the
original space: MMD² with its permutation test, and how far nearest neighbours are mixed."""

FIGURE_6 = """Draw new against old users: attribute-side hidden features, and generated behavior.

Beside the pictures by t-SNE stand numbers of the original space: MMD² with its permutation test,
and how far nearest neighbours are mixed."""

BY_EVENTS = """Draw AUC and GAUC by the number of real events that models are shown of a user.

On the same test rows of old users at every place, with the last 0, 1, 2, 5, 10, 20, 50 events or
all. At 0 they are ranked as new users are. It says when that should give way to events."""

What = Annotated[
    str, typer.Argument(help="A prepared dataset, a schema's YAML, or a known data set's name.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="For dataset, runs and report; what has run is not run again."),
]
Runs = Annotated[
    Path | None,
    typer.Option(help="The folder of runs, where what has run is not run again; OUT/runs."),
]
Name = Annotated[str, typer.Option("--method", help="A method with a zero-shot tower.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each method.")]
Most = Annotated[
    int, typer.Option("--sample", min=10, max=2000, help="Users of each kind at most.")
]
SampleSeed = Annotated[int, typer.Option(min=0, help="Of the sample, permutations and t-SNE.")]
Permutations = Annotated[int, typer.Option(min=99, help="Of the p-values.")]
Neighbours = Annotated[int, typer.Option(min=1, help="How many nearest neighbours are asked.")]


def _table_command(name: str) -> Callable[..., None]:
    """Make the command of a table."""

    def command(
        what: What,
        seeds: Seeds = 5,
        data: Data = None,
        out: Out = None,
        runs: Runs = None,
        new_users: Rule = None,
        seed: Seed = DEFAULTS.seed,
        max_epochs: Epochs = DEFAULTS.max_epochs,
        patience: Patience = DEFAULTS.patience,
        device: Device = DEFAULTS.device,
        jobs: Jobs = 1,
        quiet: Quietly = False,
        as_json: AsJson = False,
    ) -> None:
        folder = comparison_folder(out or Path(f"{Path(what).stem}-{name}"))
        options = Training(
            seed=seed, max_epochs=max_epochs, patience=patience, device=device, tests_epochs=True
        )
        with hint(GOES_ON):
            dataset = dataset_of(what, folder / "dataset", data, new_users, "4GB", 0.01)
            table = TABLES[name].on(dataset)
            result = compare(
                dataset,
                [*table.methods, *table.beside],
                out=runs or folder / "runs",
                seeds=seeds,
                training=options,
                references=standard_references(),
                against=table.baseline,
                jobs=jobs,
                progress=shown(quiet, jobs),
            )
        show_comparison(result, dataset, folder, report=True, as_json=as_json, layout=table)

    return command


for _name, _table in TABLES.items():
    experiments.command(_name, help=f"{_table.caption}.\n\n{TABLE}")(_table_command(_name))


@dataclass(frozen=True)
class _Given:
    """What the figures of one data set are made from."""

    dataset: Dataset
    what: Method
    options: tuple[Training, ...]
    runs: Path
    progress: ProgressFactory

    def trained(self) -> list[Recommender]:
        """The method's models, one a seed, which must have a zero-shot tower."""
        check_tower(self.what)
        return list(trained(self.dataset, self.what, self.options, self.runs, self.progress))

    def about(self) -> tuple[About, tuple[str, str]]:
        """What stands on the page beside the figures."""
        return about(self.dataset, self.what, self.options), rule_of(self.dataset)


Draw = Callable[[_Given], tuple[Sheet, dict[str, Any]]]


def _figure_4(of: _Given) -> tuple[Sheet, dict[str, Any]]:
    of.trained()
    folders = [run_folder(of.runs, of.what.name, each.seed) for each in of.options]
    runs = tuple(facts_of(folder) for folder in folders)
    line = Line(of.what.name, None, "method", (), runs)
    given, rule = of.about()
    return loss_sheet(line, given, rule), losses_json(line, given)


def _by_events(of: _Given) -> tuple[Sheet, dict[str, Any]]:
    found = by_events(of.dataset, of.what, of.options, of.runs, of.progress)
    given, rule = of.about()
    return by_events_sheet(found, given, rule), by_events_json(found, given)


def _figure_5(of: _Given, sample: Sample) -> tuple[Sheet, dict[str, Any]]:
    pairs = generated_and_real(of.trained(), of.dataset, sample)
    given, rule = of.about()
    return figure_5_sheet(pairs, given, rule, sample), clouds_json(pairs, given)


def _figure_6(of: _Given, sample: Sample) -> tuple[Sheet, dict[str, Any]]:
    pairs = new_and_old(of.trained(), of.dataset, sample)
    given, rule = of.about()
    return figure_6_sheet(pairs, given, rule, sample), clouds_json(pairs, given)


@dataclass(frozen=True)
class _Asked:
    """What a call asks for."""

    what: str
    data: Path | None
    out: Path | None
    runs: Path | None
    method: str
    new_users: str | None
    seeds: int
    training: Training
    quiet: bool


def _show(name: str, asked: _Asked, draw: Draw, *, as_json: bool) -> None:
    """Prepare and train what is missing, and show an experiment of one data set."""
    folder = comparison_folder(asked.out or Path(f"{Path(asked.what).stem}-{name}"))
    with hint(GOES_ON):
        what = method_of(asked.method)
        options = seeds_of(asked.training, asked.seeds)
        dataset = dataset_of(
            asked.what, folder / "dataset", asked.data, asked.new_users, "4GB", 0.01
        )
        runs = asked.runs or folder / "runs"
        given = _Given(dataset, what, options, runs, shown(asked.quiet))
        sheet, numbers = draw(given)
    show_sheet(sheet, numbers, folder, as_json=as_json)


def _curve_command(name: str, draw: Draw) -> Callable[..., None]:
    """Make the command of a figure that is drawn of all a run's steps or rows."""

    def command(
        what: What,
        seeds: Seeds = 3,
        data: Data = None,
        out: Out = None,
        runs: Runs = None,
        method: Name = "mail-base",
        new_users: Rule = None,
        seed: Seed = DEFAULTS.seed,
        max_epochs: Epochs = DEFAULTS.max_epochs,
        patience: Patience = DEFAULTS.patience,
        max_events: Events = DEFAULTS.max_events,
        dim: Dim = DEFAULTS.dim,
        batch_size: BatchSize = DEFAULTS.batch_size,
        learning_rate: Rate = DEFAULTS.learning_rate,
        device: Device = DEFAULTS.device,
        quiet: Quietly = False,
        as_json: AsJson = False,
    ) -> None:
        training = Training(
            seed=seed,
            max_epochs=max_epochs,
            patience=patience,
            max_events=max_events,
            dim=dim,
            batch_size=batch_size,
            learning_rate=learning_rate,
            device=device,
        )
        asked = _Asked(what, data, out, runs, method, new_users, seeds, training, quiet)
        _show(name, asked, draw, as_json=as_json)

    return command


def _cloud_command(
    name: str, draw: Callable[[_Given, Sample], tuple[Sheet, dict[str, Any]]]
) -> Callable[..., None]:
    """Make the command of a figure that is drawn of a sample of users."""

    def command(
        what: What,
        seeds: Seeds = 1,
        data: Data = None,
        out: Out = None,
        runs: Runs = None,
        method: Name = "mail-base",
        sample: Most = Sample.most,
        sample_seed: SampleSeed = Sample.seed,
        permutations: Permutations = Sample.permutations,
        neighbours: Neighbours = Sample.neighbours,
        new_users: Rule = None,
        seed: Seed = DEFAULTS.seed,
        max_epochs: Epochs = DEFAULTS.max_epochs,
        patience: Patience = DEFAULTS.patience,
        max_events: Events = DEFAULTS.max_events,
        dim: Dim = DEFAULTS.dim,
        batch_size: BatchSize = DEFAULTS.batch_size,
        learning_rate: Rate = DEFAULTS.learning_rate,
        device: Device = DEFAULTS.device,
        quiet: Quietly = False,
        as_json: AsJson = False,
    ) -> None:
        training = Training(
            seed=seed,
            max_epochs=max_epochs,
            patience=patience,
            max_events=max_events,
            dim=dim,
            batch_size=batch_size,
            learning_rate=learning_rate,
            device=device,
        )
        asked = _Asked(what, data, out, runs, method, new_users, seeds, training, quiet)
        drawn = Sample(sample, sample_seed, permutations, neighbours)
        _show(name, asked, lambda given: draw(given, drawn), as_json=as_json)

    return command


experiments.command("figure-4", help=FIGURE_4)(_curve_command("figure-4", _figure_4))
experiments.command("figure-5", help=FIGURE_5)(_cloud_command("figure-5", _figure_5))
experiments.command("figure-6", help=FIGURE_6)(_cloud_command("figure-6", _figure_6))
experiments.command("by-events", help=BY_EVENTS)(_curve_command("by-events", _by_events))


@experiments.command("by-attributes")
def by_attributes_command(
    out: Annotated[
        Path, typer.Option(help="For worlds, runs and report; points that are there stay.")
    ] = Path("by-attributes"),
    users: Annotated[int, typer.Option(min=200, help="Users of each simulated world.")] = 6000,
    shares: Annotated[
        str, typer.Option(help="What attributes determine, in [0, 1], with commas between.")
    ] = ",".join(f"{share:g}" for share in SHARES),
    world_seed: Annotated[int, typer.Option(min=0, help="Of the worlds.")] = 0,
    method: Name = "mail-base",
    seeds: Seeds = 3,
    seed: Seed = DEFAULTS.seed,
    max_epochs: Epochs = DEFAULTS.max_epochs,
    patience: Patience = DEFAULTS.patience,
    max_events: Events = 50,
    learning_rate: Rate = DEFAULTS.learning_rate,
    device: Device = DEFAULTS.device,
    jobs: Jobs = 1,
    quiet: Quietly = False,
    as_json: AsJson = False,
) -> None:
    """Draw what a method wins in simulated worlds, by what attributes determine in them.

    One world for each share of the variance of users' interests and click rates; new users by the
    strict rule. The gap closed stands beside base, ceiling and what the world itself knows to be
    the best from attributes. Point after point is kept, so that the same command goes on.
    """
    training = Training(
        seed=seed,
        max_epochs=max_epochs,
        patience=patience,
        max_events=max_events,
        learning_rate=learning_rate,
        device=device,
    )
    options = seeds_of(training, seeds)
    world, wanted = World(users=users, seed=world_seed), _shares(shares)
    with hint(GOES_ON):
        found = by_attributes(
            comparison_folder(out),
            world,
            wanted,
            method_of(method),
            training,
            seeds=seeds,
            jobs=jobs,
            progress=shown(quiet, jobs),
        )
    numbers = {"world": asdict(world), "training": asdict(training), "seeds": seeds}
    sheet = by_attributes_sheet(found, world, training, tuple(each.seed for each in options))
    show_sheet(sheet, by_attributes_json(found, numbers), out, as_json=as_json)


def _shares(text: str) -> list[float]:
    """Read the list of shares."""
    try:
        return sorted({float(each) for each in text.split(",")})
    except ValueError:
        raise DataError(f"--shares: {text!r} is no list of numbers such as 0,0.5,1") from None
