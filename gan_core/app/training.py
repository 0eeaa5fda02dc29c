"""One training run from start to end: set up processes, check, read data, build, train, and record the outcome."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.text import Text

from gan_core.app.data import real_data
from gan_core.app.initial import described_initial, initialise
from gan_core.app.job import Job, check_evaluation, check_job, run_metadata
from gan_core.app.outcome import measured, print_outcome
from gan_core.app.setup import build_state, find_checkpoint, find_initial, make_batch_source, read_tables
from gan_core.app.tracking import keep_generators, start_trackers
from gan_core.app.watching import make_view, make_watches
from gan_core.console import printable
from gan_core.distributed.launcher import started_processes
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.distributed.world import describe, join_world, leave_world, wait_for_all
from gan_core.errors import UserError
from gan_core.evaluation.evaluator import Evaluator, make_evaluator
from gan_core.evaluation.record import as_terms, record_in_training
from gan_core.game.game import Game
from gan_core.observers.alarms.alarms import Alarms
from gan_core.observers.alarms.collapse import GridSampler
from gan_core.observers.listener import Listener
from gan_core.observers.live import LiveView
from gan_core.observers.notebook import NotebookView
from gan_core.observers.recorder import Recorder
from gan_core.observers.tracker import Trackers
from gan_core.precision import arithmetic
from gan_core.runs.checkpoint import Checkpoint, set_aside
from gan_core.runs.disk import explain_full_disk
from gan_core.runs.folder import RunFolder
from gan_core.runs.lock import RunLock
from gan_core.runs.process import this_process
from gan_core.runs.resume import move_away
from gan_core.sampling.files import sample_grid
from gan_core.sampling.given import GivenRows, given_count, given_rows, output_named, samples_of
from gan_core.training.batch_source import BatchSource
from gan_core.training.compiled import compiled
from gan_core.training.loop import Status, Training, train
from gan_core.training.observer import Observer
from gan_core.training.state import TrainingState

ShowPlan = Callable[[Job, Game, int, Console], None]
"""`show_plan(job, game, length, console)` prints the plan of the run; `length` is in images."""


def start(
    job: Job,
    allowed: Collection[str],
    console: Console,
    show_plan: ShowPlan | None = None,
    observers: Sequence[Observer] = (),
) -> Status:
    """Trains until the run's length or a request to stop; resumes if the folder has a checkpoint.

    Args:
        job: What to train.
        allowed: Settings that may differ from those of the run in the folder.
        console: Where the main process prints.
        show_plan: Prints the plan before the training begins; None prints none.
        observers: Called after the run's own, on the main process.

    Raises:
        UserError: Something is wrong that the user can fix; nothing in the folder was changed.
        TrainingError: Training diverged, the disk is full, or another process ended.
    """
    settings = job.settings
    check_job(job, started_processes(), allowed)
    rendezvous = Rendezvous(settings.deadline)
    with rendezvous.explaining(), explain_full_disk(settings.folder):
        return _join(job, allowed, rendezvous, console, show_plan, observers)


def _join(
    job: Job,
    allowed: Collection[str],
    rendezvous: Rendezvous,
    console: Console,
    show_plan: ShowPlan | None,
    more: Sequence[Observer],
) -> Status:
    settings = job.settings
    rendezvous.compare("settings", job.identity())
    accelerator = join_world(rendezvous, precision=settings.precision, threads=settings.threads)
    try:
        heard = console if accelerator.is_main_process else Console(quiet=True)
        # After `join_world`: accelerate sets such flags too.
        flags = arithmetic(**settings.arithmetic)
        with rendezvous.telling(), ExitStack() as locks, flags:
            rendezvous.from_main("lock", partial(_lock, RunFolder(settings.folder), locks))
            return _run(job, allowed, accelerator, rendezvous, heard, show_plan, more, locks)
    finally:
        # The wrapped phases are freed before their process group, and the group before the interpreter ends.
        accelerator.free_memory()
        leave_world(accelerator)


def _run(
    job: Job,
    allowed: Collection[str],
    accelerator: Accelerator,
    rendezvous: Rendezvous,
    console: Console,
    show_plan: ShowPlan | None,
    more: Sequence[Observer],
    locks: ExitStack,
) -> Status:
    settings, folder = job.settings, RunFolder(job.settings.folder)
    console.print(Text.assemble(("processes", "bold"), "  ", printable(describe(accelerator))), soft_wrap=True)
    game = compiled(job.build(), accelerator.device) if settings.compile else job.build()
    check_evaluation(job, game)
    tables = read_tables(job, accelerator)
    fingerprints = {name: rows.fingerprint for name, rows in tables.items()}
    rendezvous.compare("data", {f"fingerprint of {name}": value for name, value in fingerprints.items()})
    length = job.length(settings.batch * game.batches_per_step)
    source = make_batch_source(job, accelerator, game, tables, length)
    if show_plan is not None:
        show_plan(job, game, length, console)

    metadata = run_metadata(job, length, fingerprints, accelerator)
    saved = find_checkpoint(job, folder, rendezvous, metadata, allowed)
    state = build_state(job, accelerator, game, source, length)
    if saved is not None:
        state.load(saved)
        console.print(f"resuming at {state.images_seen / 1000:g} kimg from {saved.path}", soft_wrap=True)
    elif (initial := find_initial(job, folder, rendezvous)) is not None:
        initialise(state, initial)
        metadata["init"] = described_initial(initial)
        console.print(f"starting from the networks of {initial.path}", soft_wrap=True)
    if state.images_seen >= length:
        console.print("nothing to do: the run has its full length. Use a greater one to continue", soft_wrap=True)
        if accelerator.is_main_process:
            folder.write_metadata(status="finished", images_seen=state.images_seen)
        return "finished"

    make_sampler = partial(_sampler, job, game, state, source)
    for name in game.outputs:
        make_sampler(seed=0, output=name, rows={}).check()
    first_seen, view = state.images_seen, make_view(console, length, state.images_seen)
    evaluator = None
    if settings.evaluate_every is not None:
        sampler = make_sampler(seed=0)
        evaluator = make_evaluator(
            real_data(job.dataset, sampler.output.like, accelerator.device, source.tables),
            sampler,
            samples=samples_of(settings.evaluate_samples, given_count(job.dataset, sampler.output)),
            features=settings.evaluate_features,
            accelerator=accelerator,
            console=console,
        )
    grid_sampler = make_sampler(seed=settings.seed)
    wait_for_all(accelerator)  # All processes have read the folder; now the main process may write to it.
    with ExitStack() as stack:
        observers: list[Observer] = []
        trackers = Trackers()
        if accelerator.is_main_process:
            if settings.resume == "restart":
                move_away(folder)
                _lock(folder, locks)
            _open_folder(job, folder, metadata, saved)
        if settings.track:
            started = partial(_start_trackers, job, game, folder, metadata, saved, trackers)
            rendezvous.from_main("trackers", started)
            stack.callback(trackers.finish)
        if accelerator.is_main_process:
            stack.enter_context(view)
            stack.enter_context(rendezvous.if_lost(view.close))
            watches = make_watches(job, source, grid_sampler, state.images_seen, length)
            # Trackers send the file of a grid, which the recorder writes first.
            observers += [Recorder(folder), view, trackers, Alarms(watches, folder, [trackers])]
        listeners = [observer for observer in observers if isinstance(observer, Listener)]
        status = _train(
            Training(
                accelerator=accelerator,
                settings=settings,
                length=length,
                state=state,
                source=source,
                folder=folder,
                draw_grid=partial(sample_grid, grid_sampler),
                observers=(*observers, *more),
                evaluate=None if evaluator is None else partial(_evaluate, evaluator, state, folder, view, listeners),
            ),
            rendezvous,
        )
        if status == "finished":
            keep_generators(trackers, job, folder)
    print_outcome(console, status, state.images_seen, folder, seconds=view.elapsed, first_seen=first_seen)
    wait_for_all(accelerator)  # No process exits while another may still need it.
    return status


def _evaluate(
    evaluator: Evaluator,
    state: TrainingState,
    folder: RunFolder,
    view: LiveView | NotebookView,
    listeners: Sequence[Listener],
) -> dict[str, float]:
    """Evaluates on all processes, and tells the listeners of the main one. Returns the metrics for the log."""
    evaluation = evaluator.evaluate()
    if evaluation is None:
        return {}
    record_in_training(evaluation, state.images_seen, folder)
    view.evaluated(state.images_seen, measured(evaluation))
    written = evaluation.to_json()
    for listener in listeners:
        listener.evaluated(state.images_seen, written)
    return as_terms(evaluation)


def _start_trackers(
    job: Job,
    game: Game,
    folder: RunFolder,
    metadata: Mapping[str, Any],
    saved: Checkpoint | None,
    trackers: Trackers,
) -> None:
    """Starts the trackers; a run that cannot start because of one is marked as failed."""
    try:
        start_trackers(trackers, job, game, folder, metadata, saved)
    except UserError:
        folder.write_metadata(status="failed", images_seen=0 if saved is None else saved.images_seen)
        raise


def _sampler(
    job: Job,
    game: Game,
    state: TrainingState,
    source: BatchSource,
    *,
    seed: int,
    output: str | None = None,
    rows: Mapping[str, GivenRows] | None = None,
) -> GridSampler:
    """Returns a sampler of the current averages; without `rows`, reads those that the output is given."""
    networks = {name: average.network for name, average in state.averages.items()}
    if rows is None:
        rows = given_rows(job.dataset, output_named(game, output)[1])
    options = job.loaded.variant.sampling()
    return GridSampler(
        game,
        job.dataset.spec,
        networks,
        seed,
        source.device,
        source.dtype,
        output=output,
        options=options,
        rows=rows,
    )


def _lock(folder: RunFolder, locks: ExitStack) -> None:
    """Holds the lock of a run's folder as long as `locks`."""
    locks.enter_context(RunLock(folder))


def _open_folder(job: Job, folder: RunFolder, metadata: Mapping[str, Any], saved: Checkpoint | None) -> None:
    """Writes settings and metadata, and drops what was logged after the checkpoint from which the run resumes."""
    folder.create()
    # `restart` is for this start only.
    folder.write_config(job.config() | ({"resume": "auto"} if job.settings.resume == "restart" else {}))
    seen, logged = (-1, None) if saved is None else (saved.images_seen, saved.logged)
    set_aside(folder.checkpoints, seen)
    process = this_process()
    metadata = {**metadata, "status": "running", "process": process, "images_saved": max(0, seen)}
    if alarms := folder.read_metadata().get("alarms"):
        metadata["alarms"] = [alarm for alarm in alarms if isinstance(alarm, dict) and alarm.get("at", 0) <= seen]
    # Without a checkpoint, what is there is of a run that left none.
    folder.write_metadata(anew=saved is None, **metadata)
    folder.rewind_metrics(seen, logged)


def _train(run: Training, rendezvous: Rendezvous) -> Status:
    """Trains, and records in the folder how training ended."""
    writes = run.accelerator.is_main_process

    def fail() -> None:
        if writes:
            with suppress(OSError):  # A full disk is the error to report, not that its status cannot be written.
                run.folder.write_metadata(status="failed", images_seen=run.state.images_seen)

    try:
        with rendezvous.if_lost(fail):
            status = train(run)
    except BaseException:
        fail()
        raise
    if writes:
        run.folder.write_metadata(status=status, images_seen=run.state.images_seen)
    return status
