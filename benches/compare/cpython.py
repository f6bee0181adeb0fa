"""CPython's multiprocessing: does an operation N times for each line "operation N", and prints the nanoseconds."""

import multiprocessing
import os
import sys
import time

try:
    import faster_fifo
except ImportError:
    faster_fifo = None

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


def pipe_8(count):
    return one_way(count, 8)


def pipe_64k(count):
    return one_way(count, 1 << 16)


def pipe_1m(count):
    return one_way(count, 1 << 20)


def one_way(count, size):
    cores = sorted(os.sched_getaffinity(0))
    receiver, sender = fork.Pipe()
    message = b"x" * size

    def send():
        os.sched_setaffinity(0, {cores[-1]})
        for _ in range(count + 1):
            sender.send_bytes(message)

    partner = fork.Process(target=send)
    partner.start()
    os.sched_setaffinity(0, {cores[0]})
    receiver.recv_bytes()
    begun = time.monotonic_ns()
    for _ in range(count):
        receiver.recv_bytes()
    nanos = time.monotonic_ns() - begun
    partner.join()
    os.sched_setaffinity(0, set(cores))
    return nanos


def queue_8(count):
    return through(fork.Queue(1000), count, 8)


def queue_64(count):
    return through(fork.Queue(1000), count, 64)


def queue_1k(count):
    return through(fork.Queue(1000), count, 1 << 10)


def queue_64k(count):
    return through(fork.Queue(100), count, 1 << 16)


def queue_1m(count):
    return through(fork.Queue(10), count, 1 << 20)


def fifo_8(count):
    return through(fifo(), count, 8)


def fifo_64(count):
    return through(fifo(), count, 64)


def fifo_1k(count):
    return through(fifo(), count, 1 << 10)


def fifo_64k(count):
    return through(fifo(), count, 1 << 16)


def fifo_1m(count):
    return through(fifo(), count, 1 << 20)


def fifo():
    # Its default time limit is 10 s.
    return faster_fifo.Queue(max_size_bytes=8 << 20, maxsize=1000) if faster_fifo else None


def through(queue, count, size):
    """Messages from one process to another; 0 if there is no such queue."""
    if queue is None:
        return 0
    cores = sorted(os.sched_getaffinity(0))
    message = b"x" * size

    def send():
        os.sched_setaffinity(0, {cores[-1]})
        for _ in range(count + 1):
            queue.put(message)

    partner = fork.Process(target=send)
    partner.start()
    os.sched_setaffinity(0, {cores[0]})
    queue.get()
    begun = time.monotonic_ns()
    for _ in range(count):
        queue.get()
    nanos = time.monotonic_ns() - begun
    partner.join()
    os.sched_setaffinity(0, set(cores))
    return nanos


def pipe_trip(count):
    return pipe_trips(count, 0)


def pipe_trip_apart(count):
    return pipe_trips(count, -1)


def pipe_trips(count, core):
    cores = sorted(os.sched_getaffinity(0))
    here, there = fork.Pipe()

    def answer():
        os.sched_setaffinity(0, {cores[core]})
        for _ in range(count + 1):
            there.send_bytes(there.recv_bytes())

    partner = fork.Process(target=answer)
    partner.start()
    os.sched_setaffinity(0, {cores[0]})
    here.send_bytes(b"12345678")
    here.recv_bytes()
    begun = time.monotonic_ns()
    for _ in range(count):
        here.send_bytes(b"12345678")
        here.recv_bytes()
    nanos = time.monotonic_ns() - begun
    partner.join()
    os.sched_setaffinity(0, set(cores))
    return nanos


def manager_get(count):
    return manager_calls(count, 0, lambda shared, key: shared.get(key))


def manager_get_apart(count):
    return manager_calls(count, -1, lambda shared, key: shared.get(key))


def manager_set(count):
    return manager_calls(count, 0, lambda shared, key: shared.__setitem__(key, "value:" + key))


def manager_set_apart(count):
    return manager_calls(count, -1, lambda shared, key: shared.__setitem__(key, "value:" + key))


def manager_calls(count, core, call):
    """Calls of a dictionary whose server is on that core."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core]})
    with fork.Manager() as manager:
        os.sched_setaffinity(0, {cores[0]})
        shared = manager.dict({"key:%08d" % n: "value:%026d" % n for n in range(1000)})
        call(shared, "key:%08d" % 0)
        begun = time.monotonic_ns()
        for n in range(count):
            call(shared, "key:%08d" % (n % 1000))
        nanos = time.monotonic_ns() - begun
    os.sched_setaffinity(0, set(cores))
    return nanos


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


def nothing():
    pass


def start(method, count):
    context = multiprocessing.get_context(method)
    begun = time.monotonic_ns()
    for _ in range(count):
        process = context.Process(target=nothing)
        process.start()
        process.join()
    return time.monotonic_ns() - begun


def start_fork(count):
    return start("fork", count)


def start_forkserver(count):
    return start("forkserver", count)


def start_spawn(count):
    return start("spawn", count)


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        lock,
        value_get,
        value_add,
        array_get,
        array_copy,
        event,
        condition,
        pipe_8,
        pipe_64k,
        pipe_1m,
        queue_8,
        queue_64,
        queue_1k,
        queue_64k,
        queue_1m,
        fifo_8,
        fifo_64,
        fifo_1k,
        fifo_64k,
        fifo_1m,
        pipe_trip,
        pipe_trip_apart,
        manager_get,
        manager_get_apart,
        manager_set,
        manager_set_apart,
        start_fork,
        start_forkserver,
        start_spawn,
    )
}

# Processes that are not forked import this file, too.
if __name__ == "__main__":
    print("%d.%d.%d" % sys.version_info[:3], flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(OPERATIONS[name](int(count)), flush=True)
