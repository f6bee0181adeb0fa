"""CPython's multiprocessing: does an operation N times for each line "operation N", and prints the nanoseconds."""

import multiprocessing
import os
import sys
import time

fork = multiprocessing.get_context("fork")


def lock(count):
    mutex = fork.Lock()
    begun = time.thread_time_ns()
    for _ in range(count):
        mutex.acquire()
        mutex.release()
    return time.thread_time_ns() - begun


def value_get(count):
    value = fork.Value("Q", 0)
    begun = time.thread_time_ns()
    for _ in range(count):
        value.value
    return time.thread_time_ns() - begun


def value_add(count):
    value = fork.Value("Q", 0)
    begun = time.thread_time_ns()
    for _ in range(count):
        with value.get_lock():
            value.value += 1
    return time.thread_time_ns() - begun


def array_get(count):
    array = fork.Array("Q", 1000)
    begun = time.thread_time_ns()
    for _ in range(count):
        array[500]
    return time.thread_time_ns() - begun


def array_copy(count):
    # 64 KiB.
    array = fork.Array("Q", 8192)
    begun = time.thread_time_ns()
    for _ in range(count):
        array[:]
    return time.thread_time_ns() - begun


def event(count):
    ping, pong = fork.Event(), fork.Event()

    def answer():
        for _ in range(count + 1):
            ping.wait()
            ping.clear()
            pong.set()

    def ask():
        ping.set()
        pong.wait()
        pong.clear()

    return round_trips(count, answer, ask)


def condition(count):
    turn, condition = fork.RawValue("i", 0), fork.Condition()

    def pass_on(own):
        with condition:
            while turn.value != own:
                condition.wait()
            turn.value = 1 - own
            condition.notify()

    # The one who asks has the first turn, and a round trip ends when it has the next one.
    def answer():
        for _ in range(count + 1):
            pass_on(1)

    return round_trips(count, answer, lambda: pass_on(0))


def round_trips(count, answer, ask):
    # On one core, where a wake-up costs the same in each round.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    partner = fork.Process(target=answer)
    partner.start()
    ask()
    begun = time.monotonic_ns()
    for _ in range(count):
        ask()
    nanos = time.monotonic_ns() - begun
    partner.join()
    return nanos


OPERATIONS = {
    operation.__name__: operation
    for operation in (lock, value_get, value_add, array_get, array_copy, event, condition)
}

print("%d.%d.%d" % sys.version_info[:3], flush=True)
for line in sys.stdin:
    name, count = line.split()
    print(OPERATIONS[name](int(count)), flush=True)
