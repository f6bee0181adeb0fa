//! loom's atomics, each operation a step of its thread.

pub(crate) use loom::sync::atomic::Ordering;

use super::futex::Futex;
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
        }

        impl Futex for $name {
            fn by_kernel(&self, change: &mut dyn FnMut(u32) -> Option<u32>) -> Result<u32, u32> {
                let low = |wide: $int| u32::try_from(wide & <$int>::from(u32::MAX)).unwrap();
                self.0
                    .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |wide| {
                        change(low(wide)).map(|new| wide & !<$int>::from(u32::MAX) | <$int>::from(new))
                    })
                    .map(low)
                    .map_err(low)
            }

            fn newest(&self) -> u32 {
                u32::try_from(self.0.fetch_add(0, Ordering::Relaxed) & <$int>::from(u32::MAX)).unwrap()
            }

            fn address(&self) -> usize {
                std::ptr::from_ref(self).addr()
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
