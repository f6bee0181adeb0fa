"""CPython's multiprocessing: does an operation N times for each line "operation N", and prints the nanoseconds."""

import concurrent.futures
import functools
import gc
import multiprocessing
import os
import sys
import time

try:
    import faster_fifo
except ImportError:
    faster_fifo = None

try:
    import loky
except ImportError:
    loky = None

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
    receiver, sender = fork.Pipe()
    return through(count, size, sender.send_bytes, receiver.recv_bytes)


def queue_8(count):
    return queued(fork.Queue(1000), count, 8)


def queue_64(count):
    return queued(fork.Queue(1000), count, 64)


def queue_1k(count):
    return queued(fork.Queue(1000), count, 1 << 10)


def queue_64k(count):
    return queued(fork.Queue(100), count, 1 << 16)


def queue_1m(count):
    return queued(fork.Queue(10), count, 1 << 20)


def fifo_8(count):
    return queued(fifo(), count, 8)


def fifo_64(count):
    return queued(fifo(), count, 64)


def fifo_1k(count):
    return queued(fifo(), count, 1 << 10)


def fifo_64k(count):
    return queued(fifo(), count, 1 << 16)


def fifo_1m(count):
    return queued(fifo(), count, 1 << 20)


def fifo():
    # Its default time limit is 10 s.
    return faster_fifo.Queue(max_size_bytes=8 << 20, maxsize=1000) if faster_fifo else None


def queued(queue, count, size):
    """0 if there is no such queue."""
    return through(count, size, queue.put, queue.get) if queue is not None else 0


def through(count, size, send, receive):
    """Messages from one process to another, on another core."""
    cores = sorted(os.sched_getaffinity(0))
    message = b"x" * size

    def send_all():
        os.sched_setaffinity(0, {cores[-1]})
        for _ in range(count + 1):
            send(message)

    partner = fork.Process(target=send_all)
    partner.start()
    os.sched_setaffinity(0, {cores[0]})
    receive()
    begun = time.monotonic_ns()
    for _ in range(count):
        receive()
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


def same(n):
    return n


def has_loky(count):
    return count if loky else 0


@functools.cache
def pool():
    return fork.Pool(2)


def new_executor():
    return concurrent.futures.ProcessPoolExecutor(2, mp_context=fork)


executor = functools.cache(new_executor)


@functools.cache
def loky_executor():
    return loky.ProcessPoolExecutor(2)


def timed(work):
    begun = time.monotonic_ns()
    work()
    return time.monotonic_ns() - begun


def pool_one(count):
    return timed(lambda: pool().map(same, range(count), chunksize=1))


def pool_automatic(count):
    return timed(lambda: pool().map(same, range(count)))


def pool_apply(count):
    return timed(lambda: [pool().apply(same, (n,)) for n in range(count)])


def pool_start(count):
    def one():
        new = fork.Pool(2)
        new.apply(same, (3,))
        new.close()
        new.join()

    return timed(lambda: [one() for _ in range(count)])


def executor_map(of, count, chunk):
    return timed(lambda: list(of().map(same, range(count), chunksize=chunk)))


def executor_trips(of, count):
    return timed(lambda: [of().submit(same, n).result() for n in range(count)])


def executor_one(count):
    return executor_map(executor, count, 1)


def executor_chunks(count):
    return executor_map(executor, count, -(-count // 8))


def executor_submit(count):
    return executor_trips(executor, count)


def executor_start(count):
    def one():
        with new_executor() as new:
            new.submit(same, 3).result()

    return timed(lambda: [one() for _ in range(count)])


def loky_one(count):
    return executor_map(loky_executor, count, 1)


def loky_chunks(count):
    return executor_map(loky_executor, count, -(-count // 8))


def loky_submit(count):
    return executor_trips(loky_executor, count)


def shutdown(_):
    """Ends what operations before have started and later ones were to use."""

    def end():
        if pool.cache_info().currsize:
            pool().terminate()
            pool().join()
        if executor.cache_info().currsize:
            executor().shutdown()
        if loky_executor.cache_info().currsize:
            loky_executor().shutdown(kill_workers=True)
        for started in (pool, executor, loky_executor):
            started.cache_clear()
        # Semaphores have names until nobody refers to them.
        gc.collect()

    return timed(end)


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
        has_loky,
        pool_one,
        pool_automatic,
        pool_apply,
        pool_start,
        executor_one,
        executor_chunks,
        executor_submit,
        executor_start,
        loky_one,
        loky_chunks,
        loky_submit,
        shutdown,
    )
}

# Processes that are not forked import this file, too.
if __name__ == "__main__":
    print("%d.%d.%d" % sys.version_info[:3], flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(OPERATIONS[name](int(count)), flush=True)
