//! [`Gather`]: the results of a map, all of them.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::async_result::AsyncResult;
use super::core::Core;
use super::error::TaskError;
use super::future::Future;
use super::launch::Launch;
use super::options::Checked;
use super::sink::{Chunks, Outcomes, Sink, missing};

/// How far a map is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(super) completed: AtomicUsize,
    pub(super) total: AtomicUsize,
}

/// Collects the results of a map in the order of its items.
struct Gather<R> {
    core: Arc<Core<Vec<R>>>,
    progress: Arc<Progress>,
    gathered: Mutex<Gathered<R>>,
}

struct Gathered<R> {
    /// Of the first so many items.
    results: Vec<R>,
    /// Of those behind them: the first is missing, or all are.
    ahead: VecDeque<Option<R>>,
    /// Where the results of a chunk that is ahead come together.
    chunk: Vec<R>,
    /// The first that came. From then on results are of no use.
    error: Option<TaskError>,
    /// Items without a result so far.
    outstanding: usize,
    /// Whether all chunks were launched.
    is_complete: bool,
}

/// Launches a map over `items`. Nothing that knows of its result is left here when this returns.
pub(crate) fn gather<A, R: Send + Sync + 'static>(
    mut launch: impl Launch<A, R>,
    items: impl IntoIterator<Item = A>,
    options: &Checked,
) -> AsyncResult<Vec<R>> {
    let items = items.into_iter();
    match items.size_hint() {
        (least, Some(most)) if least == most => gather_known(&mut launch, items, least, options),
        _ => {
            // The chunk depends on how many there are.
            let items: Vec<A> = items.collect();
            let count = items.len();
            gather_known(&mut launch, items.into_iter(), count, options)
        }
    }
}

fn gather_known<A, R: Send + Sync + 'static>(
    launch: &mut dyn Launch<A, R>,
    mut items: impl Iterator<Item = A>,
    count: usize,
    options: &Checked,
) -> AsyncResult<Vec<R>> {
    let gather = Arc::new(Gather::new(launch, count));
    let chunk = options.chunk_of(count, launch.workers());
    let sink: Arc<dyn Sink<R>> = gather.clone();
    let (mut first, mut batch) = (0, Vec::with_capacity(chunk.min(count)));
    loop {
        batch.extend(items.by_ref().take(chunk));
        let taken = batch.len();
        if taken == 0 {
            break;
        }
        // Before they are launched: a result may come at once.
        gather.gathered().outstanding += taken;
        launch.launch(first, &mut batch, &sink);
        first += taken as u64;
    }
    gather.expect_no_more();
    launch.flush();
    drop(sink);
    let progress = Arc::clone(&gather.progress);
    AsyncResult::new(Future::new(Arc::clone(&gather.core)), Some(progress))
}

impl<R: Send + Sync + 'static> Gather<R> {
    fn new<A>(launch: &dyn Launch<A, R>, count: usize) -> Self {
        let gathered = Gathered {
            results: Vec::with_capacity(count),
            ahead: VecDeque::new(),
            chunk: Vec::new(),
            error: None,
            outstanding: 0,
            is_complete: false,
        };
        let progress = Progress { total: AtomicUsize::new(count), ..Progress::default() };
        Self {
            core: Core::new(launch.driver()),
            progress: Arc::new(progress),
            gathered: Mutex::new(gathered),
        }
    }

    /// All items are launched.
    fn expect_no_more(&self) {
        let mut gathered = self.gathered();
        gathered.is_complete = true;
        self.finish_if_all(gathered);
    }

    fn take_in(
        &self,
        first: u64,
        items: usize,
        next_many: impl FnOnce(usize, &mut Vec<R>) -> Result<(), TaskError>,
    ) {
        let mut gathered = self.gathered();
        gathered.take_in(first, items, next_many);
        self.count(&mut gathered, items);
        self.finish_if_all(gathered);
    }

    /// So many items are done.
    fn count(&self, gathered: &mut Gathered<R>, items: usize) {
        // Relaxed: a count for who is curious.
        self.progress.completed.fetch_add(items, Ordering::Relaxed);
        gathered.outstanding = gathered.outstanding.saturating_sub(items);
    }

    fn finish_if_all(&self, mut gathered: MutexGuard<'_, Gathered<R>>) {
        if !gathered.is_complete || gathered.outstanding > 0 {
            return;
        }
        let Gathered { results, ahead, chunk, error, .. } = &mut *gathered;
        let (results, rest, error) = (take(results), (take(ahead), take(chunk)), error.take());
        drop(gathered);
        self.core.finish(match error {
            None if rest.0.is_empty() => Ok(results),
            None => Err(missing()),
            Some(error) => Err(error),
        });
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered<R>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Gathered<R> {
    /// The results of so many items, from number `first` on.
    fn take_in(
        &mut self,
        first: u64,
        items: usize,
        next_many: impl FnOnce(usize, &mut Vec<R>) -> Result<(), TaskError>,
    ) {
        if self.error.is_some() {
            return;
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let distance = first.checked_sub(self.results.len());
        let into = if distance == Some(0) { &mut self.results } else { &mut self.chunk };
        if let Err(failure) = next_many(items, into) {
            self.error = Some(failure);
            return;
        }
        match distance {
            Some(0) => {
                // Their places are empty, if there are any.
                self.ahead.drain(..items.min(self.ahead.len()));
                while let Some(Some(_)) = self.ahead.front() {
                    self.results.extend(self.ahead.pop_front().flatten());
                }
            }
            Some(distance) => {
                let end = distance.saturating_add(items);
                if self.ahead.len() < end {
                    self.ahead.resize_with(end, || None);
                }
                let places = self.ahead.iter_mut().skip(distance);
                places.zip(self.chunk.drain(..)).for_each(|(place, result)| *place = Some(result));
            }
            // Those of a chunk come once.
            None => self.error = Some(missing()),
        }
    }
}

impl<R: Send + Sync + 'static> Sink<R> for Gather<R> {
    fn begin(&self, _: u64) -> bool {
        self.core.outcome().is_none()
    }

    fn deliver(self: Arc<Self>, chunk: u64, items: usize, results: &mut dyn Outcomes<R>) {
        self.take_in(chunk, items, |items, into| results.next_many(items, into));
    }

    fn deliver_all(self: Arc<Self>, chunks: &mut dyn Chunks<R>) {
        let mut gathered = self.gathered();
        let mut done = 0;
        while let Some((chunk, items)) = chunks.next_chunk() {
            gathered.take_in(chunk, items, |items, into| chunks.next_many(items, into));
            done += items;
        }
        self.count(&mut gathered, done);
        self.finish_if_all(gathered);
    }

    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError) {
        self.take_in(chunk, items, |_, _| Err(error));
    }
}
