import logging

from deploy.repeats import FORGET_S, MAX_CHARS, MAX_KINDS, PAUSE_FIRST_S, RepeatFilter


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def a_record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, args, None)


def passes(repeats: RepeatFilter, text: str, *args: object) -> str | None:
    record = a_record(text, *args)
    return record.getMessage() if repeats.filter(record) else None


def test_a_kind_of_line_is_logged_once_and_then_at_growing_intervals() -> None:
    clock = Clock()
    repeats = RepeatFilter(clock)
    assert passes(repeats, "node %s is gone", 1) == "node 1 is gone"
    assert passes(repeats, "another line") == "another line"
    assert [passes(repeats, "node %s is gone", i) for i in range(1000)] == [None] * 1000
    clock.now_s += PAUSE_FIRST_S
    assert passes(repeats, "node %s is gone", 7) == "node 7 is gone (and 1000 more like it)"
    clock.now_s += PAUSE_FIRST_S
    assert passes(repeats, "node %s is gone", 8) is None
    clock.now_s += PAUSE_FIRST_S
    assert passes(repeats, "node %s is gone", 9) == "node 9 is gone (and 1 more like it)"


def test_a_line_counts_as_new_after_a_time_without_it() -> None:
    clock = Clock()
    repeats = RepeatFilter(clock)
    passes(repeats, "lost")
    passes(repeats, "lost")
    clock.now_s += FORGET_S + 1
    assert passes(repeats, "lost") == "lost"
    assert passes(repeats, "lost") is None


def test_a_long_line_is_shortened() -> None:
    said = passes(RepeatFilter(), "body %s", "x" * 100_000)
    assert said is not None
    assert len(said) < MAX_CHARS + 40
    assert "100005 characters" in said


def test_kinds_in_memory_are_limited() -> None:
    repeats = RepeatFilter()
    for number in range(2 * MAX_KINDS + 1):
        assert passes(repeats, "line " + "x" * (number % 100) + "y" * (number // 100))
    assert len(repeats._kinds) <= MAX_KINDS


def test_failures_differ_by_function_and_exception() -> None:
    repeats = RepeatFilter()

    def fails(text: str, error: Exception) -> bool:
        record = a_record(text)
        record.exc_info = (type(error), error, None)
        return repeats.filter(record)

    assert fails("Failed to process message fetch([b'1', 'x'])", OSError())
    assert not fails("Failed to process message fetch([b'something else'])", OSError())
    assert fails("Failed to process message fetch([b'1'])", KeyError())
    assert fails("Failed to process message persist([b'1'])", OSError())
