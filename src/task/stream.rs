//! [`Stream`]: the results of a map, one after the other.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::driver::Driver;
use super::error::TaskError;
use super::sink::{Outcomes, Sink};
use crate::sys::Deadline;

/// The results of a map that have come and were not asked for yet.
pub(super) struct Stream<R> {
    is_ordered: bool,
    state: Mutex<State<R>>,
    came: Condvar,
    driver: Option<Arc<dyn Driver>>,
}

struct State<R> {
    /// In the order of the items, from number `first` on, with room for those that are missing; or in that of their coming.
    results: VecDeque<Option<Result<R, TaskError>>>,
    first: u64,
    is_abandoned: bool,
    /// Threads that wait for the next one and that the driver counts.
    counted: u32,
}

impl<R> Stream<R> {
    pub(super) fn new(is_ordered: bool, driver: Option<Arc<dyn Driver>>) -> Self {
        let state = State { results: VecDeque::new(), first: 0, is_abandoned: false, counted: 0 };
        Self { is_ordered, state: Mutex::new(state), came: Condvar::new(), driver }
    }

    /// The next result, waiting for it at most until `deadline`; the caller knows that one will come.
    pub(super) fn next(&self, deadline: Option<Deadline>) -> Option<Result<R, TaskError>> {
        let mut is_counted = false;
        if let Some(driver) = &self.driver
            && !self.has_next()
        {
            is_counted = !driver.help(&|| self.has_next(), deadline);
        }
        let mut state = self.state();
        state.counted += u32::from(is_counted);
        while !state.has_next() {
            state = match deadline.map(Deadline::remaining) {
                None => self.came.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        // Unless whoever brought the result has.
        self.let_go(take(&mut state.counted));
        let result = state.results.pop_front_if(|next| next.is_some()).flatten()?;
        state.first += 1;
        Some(result)
    }

    fn has_next(&self) -> bool {
        self.state().has_next()
    }

    fn let_go(&self, threads: u32) {
        if threads > 0
            && let Some(driver) = &self.driver
        {
            driver.let_go(threads);
        }
    }

    /// Nobody asks for results any more.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.is_abandoned = true;
        let results = std::mem::take(&mut state.results);
        drop(state);
        drop(results);
    }

    fn take_in(&self, chunk: u64, items: usize, mut next: impl FnMut() -> Result<R, TaskError>) {
        let mut state = self.state();
        if state.is_abandoned {
            return;
        }
        for number in (chunk..).take(items) {
            let result = Some(next());
            if !self.is_ordered {
                state.results.push_back(result);
                continue;
            }
            let ahead = number.checked_sub(state.first).and_then(|ahead| usize::try_from(ahead).ok());
            // One that was delivered twice would be behind.
            let Some(index) = ahead else { continue };
            if index >= state.results.len() {
                state.results.resize_with(index + 1, || None);
            }
            state.results[index] = result;
        }
        let counted = if state.has_next() { take(&mut state.counted) } else { 0 };
        drop(state);
        self.let_go(counted);
        self.came.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    fn has_next(&self) -> bool {
        matches!(self.results.front(), Some(Some(_)))
    }
}

impl<R: Send + Sync> Sink<R> for Stream<R> {
    fn begin(&self, _: u64) -> bool {
        !self.state().is_abandoned
    }

    fn deliver(self: Arc<Self>, chunk: u64, items: usize, results: &mut dyn Outcomes<R>) {
        self.take_in(chunk, items, || results.next());
    }

    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError) {
        self.take_in(chunk, items, || Err(error.clone()));
    }
}
