"""The faults of the storm, by kind: what each does to a run, and what is promised after it.

"equal": the same command ends like the undisturbed run. "error": it prints one error and changes nothing that is good.
"either": one of both, depending on where the fault has hit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import checkpoints, documents, places, processes
from tests.faults.scene import Scene


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        act: Disturbs a run.
        promise: What the same command does then.
        processes: With how many processes the run trains.
        rare: Whether it takes seconds, for it needs launchers or waits.
    """

    act: Callable[[Scene], None]
    promise: str
    processes: tuple[int | None, ...] = (None,)
    rare: bool = False

    @property
    def name(self) -> str:
        """Its name in the table."""
        return self.act.__name__.replace("_", " ")

    @property
    def group(self) -> str:
        """What it disturbs."""
        return self.act.__module__.rpartition(".")[2]


_ONE_OR_TWO = (None, None, None, 2)

KINDS = [
    Kind(checkpoints.cut_file, "equal", _ONE_OR_TWO),
    Kind(checkpoints.flipped_bit, "either"),
    Kind(checkpoints.empty_file, "equal"),
    Kind(checkpoints.zeros_in_file, "equal"),
    Kind(checkpoints.folder_for_file, "either"),
    Kind(checkpoints.pipe_for_file, "equal"),
    Kind(checkpoints.looping_link_for_file, "either"),
    Kind(checkpoints.missing_file, "equal"),
    Kind(checkpoints.extra_file, "equal"),
    Kind(checkpoints.swapped_files, "equal"),
    Kind(checkpoints.older_file, "equal"),
    Kind(checkpoints.junk_manifest, "equal"),
    Kind(checkpoints.wrong_types_in_manifest, "either"),
    Kind(checkpoints.newest_removed, "equal"),
    Kind(checkpoints.all_removed, "error", _ONE_OR_TWO),
    Kind(checkpoints.all_damaged, "error"),
    Kind(checkpoints.renamed, "equal"),
    Kind(checkpoints.two_renamed, "either"),
    Kind(checkpoints.torn_write, "equal"),
    Kind(checkpoints.stale_new, "equal"),
    Kind(checkpoints.file_for_checkpoint, "equal"),
    Kind(checkpoints.empty_checkpoint, "equal"),
    Kind(checkpoints.file_for_checkpoints, "error"),
    Kind(checkpoints.of_another_variant, "error"),
    Kind(checkpoints.of_another_seed, "error"),
    Kind(checkpoints.signed_junk, "error"),
    Kind(checkpoints.signed_without_a_file, "error"),
    Kind(documents.cut_document, "either"),
    Kind(documents.flipped_bit_in_document, "either"),
    Kind(documents.junk_document, "error", _ONE_OR_TWO),
    Kind(documents.no_file_for_document, "error"),
    Kind(documents.missing_document, "error"),
    Kind(documents.missing_document_and_checkpoints, "error"),
    Kind(documents.wrong_value_in_run_json, "either"),
    Kind(documents.not_finite_in_run_json, "error"),
    Kind(documents.unknown_keys_in_run_json, "equal"),
    Kind(documents.wrong_value_in_config, "either"),
    Kind(documents.unknown_key_in_config, "error"),
    Kind(documents.document_of_another_variant, "error"),
    Kind(documents.document_of_another_seed, "either"),
    Kind(documents.metrics_cut_in_the_last_line, "equal"),
    Kind(documents.metrics_with_junk_after, "equal"),
    Kind(documents.metrics_cut, "error"),
    Kind(documents.metrics_flipped_bit, "error"),
    Kind(documents.metrics_without_a_line, "error"),
    Kind(documents.metrics_removed, "error"),
    Kind(documents.metrics_is_no_file, "error"),
    Kind(documents.metrics_of_another_seed, "error"),
    Kind(places.lock_left_behind, "equal"),
    Kind(places.lock_is_no_file, "error"),
    Kind(places.other_times, "equal"),
    Kind(places.left_temporary_files, "equal"),
    Kind(places.other_files, "equal"),
    Kind(places.file_for_samples, "error", _ONE_OR_TWO),
    Kind(places.moved, "equal"),
    Kind(places.copied, "equal"),
    Kind(places.moved_away, "equal"),
    Kind(places.out_of_another_variant, "error"),
    Kind(places.read_only, "error"),
    Kind(places.full_disk, "error", _ONE_OR_TWO),
    Kind(places.immutable, "either"),
    Kind(processes.killed, "equal", _ONE_OR_TWO),
    Kind(processes.terminated, "equal", _ONE_OR_TWO),
    Kind(processes.interrupted, "equal"),
    Kind(processes.warned, "equal"),
    Kind(processes.killed_while_it_starts, "equal"),
    Kind(processes.killed_again_and_again, "equal", _ONE_OR_TWO),
    Kind(processes.killed_and_damaged, "equal"),
    Kind(processes.second_start, "equal"),
    Kind(processes.removed_while_it_trains, "equal"),
    Kind(processes.junk_while_it_trains, "equal"),
    Kind(processes.newest_lost_while_it_trains, "equal"),
    Kind(processes.launcher_killed, "equal", (None, 2), rare=True),
    Kind(processes.rank_killed, "equal", (2,), rare=True),
    Kind(processes.launcher_and_rank_killed, "equal", (2,), rare=True),
    Kind(processes.launcher_terminated, "equal", (None, 2), rare=True),
    Kind(processes.rank_stopped, "equal", (2,), rare=True),
]
