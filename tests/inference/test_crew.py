"""Tests that results depend neither on the number of workers nor on the distribution of the batch."""

import gc
import os
import threading

import numpy as np
import pytest

from pitcore import machine
from pitcore.inference.crew import Crew, piece_size
from pitcore.inference.session import Session
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore.preprocess._core import flushes_subnormals


def infer_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pitcore-infer")]


@pytest.fixture
def crew():
    made = []

    def make(size):
        made.append(Crew(size))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("pieces", [0, 1, 2, 5, 64])
def test_every_piece_is_done_once(crew, size, pieces):
    done = []
    crew(size).run(done.append, pieces)
    assert sorted(done) == list(range(pieces))


def test_a_worker_that_is_held_up_leaves_its_pieces_to_the_others(crew):
    rest_is_done = threading.Event()
    done = []

    def task(piece):
        if threading.current_thread() is not threading.main_thread():
            assert rest_is_done.wait(60), "one piece that takes long keeps the others from being done"
        done.append(piece)
        if len(done) == 19:
            rest_is_done.set()

    crew(2).run(task, 20)
    assert sorted(done) == list(range(20))


def test_all_threads_flush_subnormals_and_the_caller_gets_its_own_mode_back(crew):
    meeting = threading.Barrier(3)
    flushed = []

    def task(_piece):
        meeting.wait(60)  # each of three threads holds one piece
        flushed.append(flushes_subnormals())

    before = flushes_subnormals()
    crew(3).run(task, 3)
    assert flushed == [True, True, True]
    assert flushes_subnormals() == before


def test_an_exception_of_a_worker_reaches_the_caller_and_the_workers_continue(crew):
    ours = crew(2)
    meeting = threading.Barrier(2)

    def fails_beside(_piece):
        meeting.wait(60)
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("piece is bad")

    with pytest.raises(ValueError, match="piece is bad"):
        ours.run(fails_beside, 2)
    done = []
    ours.run(done.append, 4)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("count", "workers", "size"), [(16, 3, 3), (16, 2, 4), (16, 4, 4), (17, 4, 4), (1, 3, 4), (0, 3, 4)]
)
def test_pieces_are_of_a_size_with_which_all_workers_end_together(count, workers, size):
    assert piece_size(count, workers, 4) == size


def judged_by_the_busiest(count, workers, size):
    judged = [0] * workers
    for start in range(0, count, size):  # equal cores: the worker that is free first takes the next piece
        judged[judged.index(min(judged))] += min(size, count - start)
    assert sum(judged) == count
    return max(judged)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_no_worker_judges_many_more_crops_than_its_share_nor_more_than_with_the_largest_pieces(workers):
    for count in range(1, 129):
        size = piece_size(count, workers, 4)
        assert 1 <= size <= 4
        busiest = judged_by_the_busiest(count, workers, size)
        assert busiest <= -(-count // workers) + 2, f"{count} crops"
        assert busiest <= judged_by_the_busiest(count, workers, 4), f"{count} crops"


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_logits_are_equal_to_the_bit_for_any_number_of_workers(workers):
    bundle = load_bundle(DEFAULT_BUNDLE)
    with np.load(bundle.golden_path) as golden:
        crops = golden["crops"][:27]
    alone, shared = Session(bundle, capacity=32), Session(bundle, capacity=32, workers=workers)
    for session in (alone, shared):
        session.batch[: len(crops)] = crops
    for count in (27, 1, 4, 5, 0, 27):
        assert alone.run(count).tobytes() == shared.run(count).tobytes()


def test_the_threads_of_a_model_end_with_it(tiny_bundle):
    others = set(infer_threads())
    session = Session(load_bundle(tiny_bundle), capacity=8, workers=3)
    session.run(8)
    threads = set(infer_threads()) - others
    assert len(threads) == 2
    del session
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert not threads & set(infer_threads())


@pytest.mark.skipif(machine.usable_cores() < 2, reason="a machine of one core has no other core")
def test_the_workers_leave_the_core_of_the_caller_to_it():
    """Linux may leave two threads on one core for milliseconds although another core is idle."""
    allowed = os.sched_getaffinity(0)
    core, others = max(allowed), set(infer_threads())
    with Crew(3) as crew:
        os.sched_setaffinity(threading.get_native_id(), {core})
        try:
            crew.run(lambda _: None, 8)
        finally:
            os.sched_setaffinity(threading.get_native_id(), allowed)
        helpers = set(infer_threads()) - others
        assert len(helpers) == 2
        assert all(os.sched_getaffinity(thread.native_id) == allowed - {core} for thread in helpers)
