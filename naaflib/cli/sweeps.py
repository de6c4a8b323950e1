"""`naaf sweep`, `naaf variant`, `naaf rerun`."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from ..errors import NaafError, UsageError
from ..files import shown
from ..messages import say
from .arguments import add_command, add_tls, path, rows, show_json, show_table, table_text, tls

SWEEP = """\
Train and measure many runs: every variant of a YAML file with every seed, each executed as notebooks with
papermill into a run folder of its own, several at once. OUT/sweep.csv grows as runs finish.

Stop it with Ctrl-C and start it again: finished runs are recognised by their recorded settings and data,
wherever they lie below OUT, and left alone; a half-trained one goes on from its last checkpoint. A run that
failed stays and is tried again with --retry. With --scheduler the runs go to a Dask cluster that sees the
same files; a worker that dies loses its run only, and another one goes on with it. Without, Dask's workers
are started on this machine, where they take orders from this command alone (temporary certificates), and the
address of their dashboard is printed. A cluster that other people's machines reach needs certificates too:
--tls-ca, --tls-cert, --tls-key, or Dask's configuration.

examples:
  naaf sweep experiments/claims.yaml --dry-run
  naaf sweep experiments/claims.yaml --workers 2
  naaf sweep experiments/claims.yaml --scheduler tcp://10.0.0.5:8786

a sweep's YAML:
  name: claims                      # OUT is outputs/claims, unless --out names another folder
  data: data/flickr8k_precomp       # as a path of a command; --data wins
  preset: flickr8k                  # by default the one named like the data, else general or general-small
  set: {train.epochs: 2}            # settings of every run
  seeds: [0, 1, 2]                  # 0 alone by default
  processes: 2                      # that train a run together, each with a GPU or cores; 1 by default
  notebooks: ["02", "03"]           # the default: training and evaluation
  parameters: {split: dev}          # of the notebooks
  runs:                             # variants: a name (letters, digits, . _ + = -), and what it sets
    naaf: {}
    scan: {model.method: scan-t2i}
    no-propagation: {weights: naaf, model.lambda_intra: null}   # at inference
  grid: {mining.alpha: [1, 4]}      # every combination is a variant too: alpha-1, alpha-4"""

VARIANT = """\
A trained run under other settings of inference, as a run folder of its own: evaluation, explanation and
notebooks then go by them. Nothing is trained, but the dev split is scored anew; of a whole dev split the
scores are kept for `naaf compare`. The source stays as it is.

examples:
  naaf variant outputs/demo/members/0 --set model.lambda_intra=null --out outputs/no-propagation
  naaf variant outputs/first --set mining.fixed_boundary=0 --out outputs/boundary-0

settings: model.lambda_softmax, lambda_intra, lambda_lse, pooling, negative_effect, feature_effect,
relevance_effect, and mining.fixed_boundary"""

SHORT = ("variant", "seed", "state", "epoch", "dev_rsum", "split", "i2t_at_1", "t2i_at_1", "rsum", "folder")

RERUN = """\
Repeat a run from its record (settings, data, vocabulary, what it started from, threads) in a fresh folder and
compare: weights, history and steps, and every metric that the run holds. On the machine that made it, on its
CPU, all are equal to the last digit; the exit status is 1 where anything differs.

A folder of members is repeated member by member. Data that is not what the record says is refused.

examples:
  naaf rerun outputs/demo/members/0
  naaf rerun outputs/demo --out outputs/demo-again
  naaf rerun moved/from/elsewhere --data data/flickr8k_precomp --keep"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the command line."""
    _add_sweep(commands)
    _add_variant(commands)
    _add_rerun(commands)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    advice = "the same command goes on where it stopped"
    parser = add_command(commands, "sweep", "many runs from one file", SWEEP, sweep, advice=advice)
    add = parser.add_argument
    add("spec", type=path, metavar="SPEC.yaml", help="which variants, seeds and notebooks")
    add("--data", type=path, metavar="DIR", help="data set; by default the file's")
    add("--out", type=path, metavar="DIR", help="folder of the runs; by default outputs/NAME")
    dry = "show the runs and what is done, ask a --scheduler; start nothing"
    add("--dry-run", action="store_true", help=dry)
    at_once = "runs at once on this machine; by default one for two cores, or for the processes of a run"
    add("--workers", type=int, metavar="N", help=at_once)
    add("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, tcp://HOST:PORT or tls://...")
    add_tls(parser)
    add("--retry", action="store_true", help="run what failed again")
    add("--json", action="store_true", help="the table as JSON")


def _add_variant(commands: argparse._SubParsersAction) -> None:
    what = "a trained run with other settings of inference"
    add = add_command(commands, "variant", what, VARIANT, variant).add_argument
    add("source", type=path, metavar="RUN", help="a trained run")
    add("--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="changes")
    add("--out", type=path, required=True, metavar="RUN", help="run folder to write")
    add("--data", type=path, metavar="DIR", help="data set; by default where the run's was")


def _add_rerun(commands: argparse._SubParsersAction) -> None:
    advice = "nothing of the run itself was touched"
    add = add_command(commands, "rerun", "repeat a run and compare", RERUN, rerun, advice=advice).add_argument
    add("source", type=path, metavar="RUN", help="a trained run, a variant or their group")
    add("--out", type=path, metavar="DIR", help="keep the repetition here; by default it is removed")
    add("--keep", action="store_true", help="keep it without --out too, in a folder that is said")
    add("--data", type=path, metavar="DIR", help="data set; by default where the run's was")


def sweep(arguments: argparse.Namespace) -> int:
    from ..batch.sweep.cluster import check_cluster, check_gpus
    from ..batch.sweep.plan import plan_sweep
    from ..batch.sweep.run import compare_variants, run_sweep
    from ..batch.sweep.table import plan_table
    from ..data.manifest import preset_sentence

    if arguments.workers is not None and arguments.workers < 1:
        raise UsageError(f"--workers is {arguments.workers}; at least 1 is needed")
    plan = plan_sweep(arguments.spec, data=arguments.data, out=arguments.out, retry=arguments.retry)
    if plan.spec.preset is None:
        say(preset_sentence(plan.data))
    table = plan_table(plan)
    if arguments.dry_run:
        if arguments.scheduler is not None:
            with tls(arguments):
                check_cluster(arguments.workers, arguments.scheduler)
        else:
            check_gpus(arguments.workers, plan.spec.processes)
        _show(table, as_json=arguments.json)
        return 0
    say(table_text(table))
    with tls(arguments):
        table = run_sweep(plan, workers=arguments.workers, scheduler=arguments.scheduler)
    _show(table if arguments.json else table[[*SHORT]], as_json=arguments.json)
    say(f"table: {shown(plan.out / 'sweep.csv')}")
    record = compare_variants(plan, table)
    if record is not None:
        say(f"comparison: {record.sentence() if record.failed else shown(plan.out / 'report.html')}")
    failed = table[table["state"] == "failed"]
    if len(failed):
        first = failed.iloc[0]
        raise NaafError(
            f"{len(failed)} of {len(table)} runs failed, {first['variant']}/{first['seed']} first: "
            f"{first['error']}; --retry runs them again"
        )
    return 0


def variant(arguments: argparse.Namespace) -> int:
    from ..batch import runs_table
    from ..config import assignments
    from ..training.variants import make_variant

    overrides = assignments(arguments.set, "--set")
    run = make_variant(arguments.source, overrides, arguments.out, data=arguments.data)
    show_table(runs_table(run.path))
    if not run.scores_path("dev").is_file():
        say(
            f"validated on the first {run.settings.data.validation_images} dev images, whose scores are not "
            f"kept; for `naaf compare`: `naaf evaluate {shown(run.path)} --data {shown(run.data_folder)} "
            "--split dev`"
        )
    return 0


def rerun(arguments: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory, mkdtemp

    from ..runs import members
    from ..training.rerun import changes_since
    from ..training.rerun import rerun as repeat

    with ExitStack() as stack:
        out = arguments.out
        if out is None and arguments.keep:
            out = Path(mkdtemp(prefix="naaf-rerun-")) / arguments.source.name
        elif out is None:
            out = Path(stack.enter_context(TemporaryDirectory(prefix="naaf-rerun-"))) / arguments.source.name
        table = repeat(arguments.source, out, arguments.data)
    show_table(table)
    if arguments.out or arguments.keep:
        say(f"the repetition: {shown(out)}")
    unequal = table[~table["equal"]]
    if unequal.empty:
        return 0
    first = unequal.iloc[0]
    changes = "; ".join(changes_since(members(arguments.source)[0]))
    raise NaafError(
        f"{first['run']} is not the same again: {first['what']}, {first['first difference']}"
        + (f" (what is not as it was: {changes})" if changes else "")
    )


def _show(table, *, as_json: bool) -> None:
    if as_json:
        show_json(rows(table))
    else:
        show_table(table)
