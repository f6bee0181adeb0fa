//! The words a thread holds, beside a naive list of them; what the kernel marks says that the real list is right too.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{CAPACITY, Node, Thread, holds_any_in};

const OWNER_DIED: u32 = 1 << 30;

/// Kept for ever, since threads end while they hold them.
fn nodes(count: usize) -> &'static [Node] {
    Box::leak((0..count).map(|_| Node::new()).collect())
}

fn take(thread: Thread, node: &Node) {
    thread.set_pending(node);
    node.word.store(thread.tid(), Ordering::Relaxed);
    thread.push(node);
    thread.clear_pending();
}

/// Releases as `Lease::release` does.
fn release(thread: Thread, node: &Node) -> bool {
    thread.set_pending(node);
    let held = thread.pop_only(node) || thread.pop(node);
    if held {
        node.word.store(0, Ordering::Relaxed);
    }
    thread.clear_pending();
    held
}

/// xorshift.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as usize
}

/// Takes and releases nodes in random order, and returns the indices of those it holds at its end.
fn walk(nodes: &'static [Node], mut random: u64, steps: usize) -> Vec<usize> {
    let thread = Thread::current().unwrap();
    let mut held = Vec::new();
    for _ in 0..steps {
        let index = next(&mut random) % nodes.len();
        let node = &nodes[index];
        match held.iter().position(|&other| other == index) {
            Some(position) => {
                held.remove(position);
                assert!(release(thread, node));
            }
            None => {
                assert!(!release(thread, node), "released what it does not hold");
                // Few are held at a time, so that one, two and none alternate.
                if held.len() < 1 + next(&mut random) % 6 {
                    take(thread, node);
                    held.push(index);
                }
            }
        }
        assert_eq!(thread.held(), held.len());
        assert_eq!(thread.holds_none(), held.is_empty());
        for (index, node) in nodes.iter().enumerate() {
            assert_eq!(thread.holds(node), held.contains(&index));
        }
    }
    held
}

#[test]
fn words_released_in_any_order_leave_a_list_that_the_kernel_walks() {
    for seed in 1..=200 {
        let nodes = nodes(8);
        let walker = std::thread::spawn(move || walk(nodes, (seed << 32) + 0x9e37_79b9, 60));
        let held = walker.join().unwrap();
        for (index, node) in nodes.iter().enumerate() {
            let expected = if held.contains(&index) { OWNER_DIED } else { 0 };
            assert_eq!(node.word.load(Ordering::Acquire), expected, "node {index} of seed {seed}");
        }
    }
}

#[test]
fn as_many_words_as_the_capacity_are_marked() {
    let nodes = nodes(CAPACITY);
    std::thread::spawn(|| {
        let thread = Thread::current().unwrap();
        nodes.iter().for_each(|node| take(thread, node));
        assert_eq!(thread.held(), CAPACITY);
        // The oldest, the newest and one between: the list closes up.
        assert!(release(thread, &nodes[0]) && release(thread, &nodes[500]));
        assert!(release(thread, &nodes[CAPACITY - 1]));
    })
    .join()
    .unwrap();
    let marked = nodes.iter().filter(|node| node.word.load(Ordering::Acquire) == OWNER_DIED).count();
    assert_eq!(marked, CAPACITY - 3);
}

#[test]
fn a_word_held_all_the_while_is_found_whatever_its_thread_does() {
    let nodes = nodes(20);
    let done = AtomicBool::new(false);
    let ready = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let thread = Thread::current().unwrap();
            let (older, newer) = nodes[1..].split_at(15);
            while !done.load(Ordering::Relaxed) {
                older.iter().for_each(|node| take(thread, node));
                take(thread, &nodes[0]);
                ready.store(1, Ordering::Release);
                for node in older {
                    newer.iter().for_each(|node| take(thread, node));
                    assert!(release(thread, node));
                    newer.iter().rev().for_each(|node| assert!(release(thread, node)));
                }
                ready.store(0, Ordering::Release);
                while ready.load(Ordering::Acquire) != 2 && !done.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                assert!(release(thread, &nodes[0]));
            }
        });
        let address = std::ptr::from_ref(&nodes[0]).addr();
        let range = address..address + size_of::<Node>();
        let (mut looks, mut missed) = (0, 0);
        while looks < 100_000 {
            while ready.load(Ordering::Acquire) == 0 {
                // The walker waits to be told that nobody looks before it lets go.
                let _ = ready.compare_exchange(0, 2, Ordering::AcqRel, Ordering::Relaxed);
                std::thread::yield_now();
            }
            if ready.load(Ordering::Acquire) == 1 {
                missed += u32::from(!holds_any_in(range.clone()));
                looks += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(missed, 0, "of {looks} looks");
    });
}
