//! The atomics that the algorithms of `raw/` are written in: std's, or loom's with a death at every step.

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(all(test, loom))]
pub(crate) use super::model::atomic::{AtomicU32, AtomicU64, fence};
