//! loom's atomics, each operation a step of its thread.

pub(crate) use loom::sync::atomic::Ordering;

use super::life::{Sabotage, step};

/// The ordering that a sound or a sabotaged machine gives.
fn given(order: Ordering) -> Ordering {
    match order {
        Ordering::Release if Sabotage::NoRelease.is_on() => Ordering::Relaxed,
        Ordering::AcqRel if Sabotage::NoRelease.is_on() => Ordering::Acquire,
        order => order,
    }
}

macro_rules! atomic {
    ($name:ident, $int:ty) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $int) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $int {
                if step() { self.0.load(order) } else { 0 }
            }

            pub(crate) fn store(&self, value: $int, order: Ordering) {
                if step() {
                    self.0.store(value, given(order));
                }
            }

            pub(crate) fn swap(&self, value: $int, order: Ordering) -> $int {
                if step() { self.0.swap(value, given(order)) } else { 0 }
            }

            pub(crate) fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                if step() { self.0.fetch_add(value, given(order)) } else { 0 }
            }

            pub(crate) fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                if step() { self.0.fetch_sub(value, given(order)) } else { 0 }
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                if step() {
                    self.0.compare_exchange(current, new, given(success), failure)
                } else {
                    Ok(current)
                }
            }

            /// What the kernel does to the word in a system call or at a death: not a step.
            pub(super) fn by_kernel(&self, change: impl FnMut($int) -> Option<$int>) -> Result<$int, $int> {
                self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change)
            }

            /// What the kernel reads in a system call: not a step. A load and no update, which loom would take for a
            /// store that a concurrent one need not come after.
            pub(super) fn seen_by_kernel(&self) -> $int {
                self.0.load(Ordering::Relaxed)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

/// The kernel takes these words' memory: whoever looks finds zero. One system call, which others see word by word.
pub(crate) fn punch(words: &[AtomicU64]) {
    if step() {
        words.iter().for_each(|word| _ = word.by_kernel(|_| Some(0)));
    }
}

/// The kernel gives these words memory, which must not be in use: all zero. One system call.
pub(crate) fn reserve(words: &[AtomicU64]) {
    if step() {
        let is_zero = |word: &AtomicU64| word.by_kernel(|now| (now != 0).then_some(now)).is_err();
        assert!(words.iter().all(is_zero), "memory in use is given out again");
    }
}

/// A fence, a step of its thread.
#[allow(dead_code)]
pub(crate) fn fence(order: Ordering) {
    if step() && !(order == Ordering::SeqCst && Sabotage::NoFence.is_on()) {
        loom::sync::atomic::fence(order);
    }
}
