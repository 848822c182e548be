import threading
import time
from collections.abc import Iterator

import pytest

from lake.threads import in_threads


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_results_come_in_the_order_of_the_tasks(threads: int, n: int) -> None:
    def late_if_even(i: int) -> int:
        time.sleep(0.001 * (i % 2 == 0))
        return i * i

    assert list(in_threads(late_if_even, range(n), threads)) == [i * i for i in range(n)]


def test_no_more_tasks_are_taken_than_there_is_room_for() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    stream = in_threads(str, numbers(), 2, ahead=3)
    assert next(stream) == "0"
    assert len(taken) == 4, "three ahead, and one in place of the first"
    stream.close()
    assert len(taken) == 4


def test_an_error_is_raised_in_its_turn_and_ends_the_rest() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def third_fails(i: int) -> int:
        if i == 2:
            raise ValueError("third")
        with lock:
            done.append(i)
        return i

    stream = in_threads(third_fails, range(1000), 2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(stream)
    assert len(done) < 12
