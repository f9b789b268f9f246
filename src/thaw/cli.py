"""The command line: parses, calls, prints."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from thaw.cli_demo import demo_command
from thaw.cli_experiments import experiments
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
    Memory,
    Patience,
    Quietly,
    Rate,
    Rejects,
    Rule,
    Seed,
    comparison_folder,
    dataset_of,
    hint,
    shown,
)
from thaw.data import Dataset
from thaw.datasets import KNOWN
from thaw.errors import DataError, ThawError
from thaw.experiments.compare import compare
from thaw.experiments.filling import choose_fill_below
from thaw.experiments.measures import SEGMENTS, measure, measured_names, with_conditionals
from thaw.experiments.references import standard_references
from thaw.methods import METHODS
from thaw.options import LOSSES, Training
from thaw.preparation import prepare
from thaw.printing import show_comparison, show_dataset, show_json, show_run, show_table
from thaw.progress import Progress, Quiet, TensorBoard, Terminal
from thaw.recommender import Recommender
from thaw.run import has_ended, is_run
from thaw.run_facts import facts_of
from thaw.tables.rules import SPLITS
from thaw.training import train

AUTO = "auto"

app = typer.Typer(
    name="thaw",
    help="Better ranking for new users, beside your own ranking model.\n\n"
    "Start with 'thaw demo', or with your own tables: 'thaw prepare schema.yaml --out dataset', "
    "then 'thaw compare dataset'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(experiments, name="experiment")


def main() -> None:
    """Run the command line; print errors in a line and set the exit code.

    Exit codes: 0 done, 1 an error that the message explains, 2 a wrong call, 130 interrupted.
    """
    try:
        app()
    except (ThawError, OSError) as error:  # such as a full disk, or a folder that is a file
        typer.echo(f"thaw: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("thaw: interrupted", err=True)
        sys.exit(130)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"thaw {metadata.version('thaw')}, torch {metadata.version('torch')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command("prepare")
def prepare_command(
    schema: Annotated[str, typer.Argument(help="A schema's YAML, or a known data set's name.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    data: Data = None,
    new_users: Rule = None,
    memory: Memory = "4GB",
    max_rejects: Rejects = 0.01,
    as_json: AsJson = False,
) -> None:
    """Turn tables into a prepared dataset.

    It holds vocabularies, events sorted by user and time, and for each impression a pointer to
    the events that were there before it, and no later ones. Rows that can't be used go to
    OUT/rejects.parquet, with file, line and reason.
    """
    with hint("nothing is left of it; give the same command again"):
        found = prepare(
            schema, out=out, data=data, new_users=new_users, memory=memory, max_rejects=max_rejects
        )
    show_dataset(found, as_json=as_json)


@app.command("train")
def train_command(
    dataset: Annotated[Path, typer.Argument(help="A prepared dataset.")],
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints, model, events.")],
    method: Annotated[
        str,
        typer.Option(help=f"{', '.join(METHODS)}; each with '+dropout', '+fm' or both behind."),
    ] = "mail-base",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    seed: Seed = DEFAULTS.seed,
    max_epochs: Epochs = DEFAULTS.max_epochs,
    patience: Patience = DEFAULTS.patience,
    max_events: Events = DEFAULTS.max_events,
    dim: Dim = DEFAULTS.dim,
    batch_size: BatchSize = DEFAULTS.batch_size,
    learning_rate: Rate = DEFAULTS.learning_rate,
    device: Device = DEFAULTS.device,
    tensorboard: Annotated[
        bool, typer.Option(help="Write TensorBoard events to OUT/events.")
    ] = False,
    quiet: Quietly = False,
    as_json: AsJson = False,
) -> None:
    """Train a method.

    Training goes on until validation stops improving. A run that was killed goes on with
    --resume and ends with the same bits; Ctrl-C leaves a checkpoint first.
    """
    options = Training(
        seed=seed,
        max_epochs=max_epochs,
        patience=patience,
        max_events=max_events,
        dim=dim,
        batch_size=batch_size,
        learning_rate=learning_rate,
        device=device,
    )
    if resume and not is_run(out):
        typer.echo(f"thaw: {out} holds no run to resume; a new one starts", err=True)
    progress: Progress = Quiet() if quiet else Terminal(method)
    if tensorboard:
        progress = TensorBoard(out / "events", LOSSES, progress)
    with hint("the same command with --resume goes on"):
        found = train(
            Dataset.open(dataset), method, options, out=out, resume=resume, progress=progress
        )
    facts = facts_of(out)
    if facts.epochs == max_epochs < facts.best_epoch + 1 + patience:
        more = max_epochs + 2 * patience
        told = f"validation had not stalled; go on with --resume --max-epochs {more}"
        typer.echo(f"thaw: {told}", err=True)
    elif (longer := facts.more_patience(patience)) is not None:
        told = f"epochs are short, so it may have stopped too early; --resume --patience {longer}"
        typer.echo(f"thaw: {told} goes on", err=True)
    show_run(found, out, as_json=as_json)


@app.command("evaluate")
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    dataset: Annotated[Path | None, typer.Option(help="Its dataset, where that was moved.")] = None,
    split: Annotated[str, typer.Option(help="'test', 'validation' or 'train'.")] = "test",
    fill_below: Annotated[
        str,
        typer.Option(
            help="Users of fewer events than this have virtual events beside their own; 'auto' "
            "lets validation choose the number."
        ),
    ] = "1",
    as_json: AsJson = False,
) -> None:
    """Measure a model, new and old users apart."""
    given = Dataset.open(dataset) if dataset else None
    if fill_below != AUTO and not fill_below.isdecimal():
        told = f"{fill_below!r} must be a whole number from 1, or '{AUTO}'"
        raise typer.BadParameter(told, param_hint="--fill-below")
    below = 1 if fill_below == AUTO else int(fill_below)
    recommender = Recommender.load(run, dataset=given, fill_below=below)
    known = recommender.dataset
    if known is None:
        was = recommender.facts["dataset"]
        raise DataError(f"{run}: its dataset is no longer at {was}; give it with --dataset")
    if split not in SPLITS:
        raise DataError(f"split: {split!r} is none; there are {', '.join(SPLITS)}")
    if not has_ended(run):
        typer.echo(f"thaw: {run} is not finished; this is its best epoch so far", err=True)
    if fill_below == AUTO:
        below = choose_fill_below(recommender, known)
        recommender = Recommender.load(run, dataset=known, fill_below=below)
        typer.echo(f"thaw: validation chooses fill_below={below}", err=True)
    tasks = recommender.schema.tasks
    found = with_conditionals(recommender.predict(known, split), tasks)
    results = [
        {"task": task, "segment": segment, **vars(measure(found, segment, number))}
        for number, task in enumerate(measured_names(tasks))
        for segment in SEGMENTS
    ]
    if as_json:
        show_json({"run": str(run), "split": split, "fill_below": below, "results": results})
    else:
        filled = f", virtual events beside fewer than {below} real ones" if below > 1 else ""
        show_table(f"{run}, {split} split{filled}", results)


@app.command("compare")
def compare_command(
    what: Annotated[
        str, typer.Argument(help="A prepared dataset, a schema's YAML, or a known data set's name.")
    ],
    methods: Annotated[
        str, typer.Option(help="Their names, with commas between.")
    ] = "base-dnn,base-dnn+dropout,base-dnn+fm,lookalike-base,mail-base,mail-base+dropout,"
    "mail-base+dropout+fm",
    against: Annotated[
        str | None,
        typer.Option(
            help="A method, or a column of other scores, that all methods are tested against too."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 3,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="For dataset, runs and report; a comparison that was stopped goes on in it."
        ),
    ] = None,
    new_users: Rule = None,
    memory: Memory = "4GB",
    max_rejects: Rejects = 0.01,
    seed: Seed = DEFAULTS.seed,
    max_epochs: Epochs = DEFAULTS.max_epochs,
    patience: Patience = DEFAULTS.patience,
    max_events: Events = DEFAULTS.max_events,
    dim: Dim = DEFAULTS.dim,
    batch_size: BatchSize = DEFAULTS.batch_size,
    learning_rate: Rate = DEFAULTS.learning_rate,
    device: Device = DEFAULTS.device,
    jobs: Jobs = 1,
    report: Annotated[bool, typer.Option(help="Write OUT/report.html.")] = True,
    quiet: Quietly = False,
    as_json: AsJson = False,
) -> None:
    """Compare methods, new and old users apart.

    Every method trains until validation stops improving. The table shows AUC and GAUC side by
    side, the relative improvement over the base, a paired test, and the share of the gap to the
    ceiling (the same ranker, given new users' real behavior) that a method closes.
    """
    folder = comparison_folder(out or Path(f"{Path(what).stem}-comparison"))
    options = Training(
        seed=seed,
        max_epochs=max_epochs,
        patience=patience,
        max_events=max_events,
        dim=dim,
        batch_size=batch_size,
        learning_rate=learning_rate,
        device=device,
    )
    with hint("the same command goes on where it stopped"):
        dataset = dataset_of(what, folder / "dataset", data, new_users, memory, max_rejects)
        result = compare(
            dataset,
            [name.strip() for name in methods.split(",")],
            out=folder / "runs",
            seeds=seeds,
            training=options,
            references=standard_references(),
            against=against,
            jobs=jobs,
            progress=shown(quiet, jobs),
        )
    show_comparison(result, dataset, folder, report=report, as_json=as_json)


@app.command("simulate")
def simulate_command(
    name: Annotated[
        Literal["simulated", "industrial", "alimama"],
        typer.Argument(help="A known data set that can be."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    scale: Annotated[
        float | None,
        typer.Option(
            help="Times its size. By default 1 for 'simulated' and 'industrial' (20,000 "
            "users), and 0.01 for 'alimama' (11,417 users; at 1 it is 20 GB)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
) -> None:
    """Write the files of a simulated data set.

    Those of 'alimama' have exactly the form of the public data set's, which may not be passed on.
    A file beside them says that nothing in them is real.
    """
    known = KNOWN[name]
    assert known.simulate is not None
    folder = known.simulate(out, known.scale if scale is None else scale, seed)
    for path in sorted(folder.iterdir()):
        typer.echo(f"{path.stat().st_size / 1e6:10,.1f} MB  {path}")


app.command("demo")(demo_command)


@app.command("datasets")
def datasets_command(as_json: AsJson = False) -> None:
    """List the data sets that thaw knows.

    With where their files come from, and what their licences allow.
    """
    if as_json:
        kept = ("name", "about", "source", "unpack", "licence")
        show_json([{key: getattr(each, key) for key in kept} for each in KNOWN.values()])
        return
    for each in KNOWN.values():
        typer.echo(f"{each.name}\n  {each.about}")
        if each.source:
            typer.echo(f"  download {each.source}, {each.unpack}\n  licence: {each.licence}")
        if each.simulate is not None:
            typer.echo(f"  thaw simulate {each.name} --out DIR writes simulated files of its form")


@app.command("inspect")
def inspect_command(
    path: Annotated[Path, typer.Argument(help="A prepared dataset or a run.")],
    verify: Annotated[
        bool, typer.Option(help="Read all of a dataset and compare it with its checksums.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe a dataset or a run."""
    if is_run(path):
        show_run(Recommender.load(path), path, as_json=as_json)
        return
    dataset = Dataset.open(path)
    if verify:
        dataset.verify()
    show_dataset(dataset, as_json=as_json)
