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

            /// The newest value, without what reading it through an atomic of the program would order.
            pub(super) fn newest(&self) -> $int {
                self.0.fetch_add(0, Ordering::Relaxed)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

/// A fence, a step of its thread.
#[allow(dead_code)]
pub(crate) fn fence(order: Ordering) {
    if step() {
        loom::sync::atomic::fence(order);
    }
}
