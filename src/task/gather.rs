//! [`Gather`]: the results of a map, all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::async_result::AsyncResult;
use super::core::Core;
use super::error::TaskError;
use super::future::Future;
use super::launch::Launch;
use super::options::Checked;
use super::sink::{Outcomes, Sink};

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
    results: Vec<Option<R>>,
    /// Where a chunk's results come together.
    chunk: Vec<R>,
    /// The first that came.
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
    let mut first = 0;
    loop {
        // Before they are launched: a result may come at once.
        gather.expect(first, chunk);
        let launched = launch.launch(first, &mut items.by_ref().take(chunk), &sink);
        first += launched as u64;
        if launched < chunk {
            gather.expect_no_more(chunk - launched);
            break;
        }
    }
    launch.flush();
    drop(sink);
    let progress = Arc::clone(&gather.progress);
    AsyncResult::new(Future::new(Arc::clone(&gather.core)), Some(progress))
}

impl<R: Send + Sync + 'static> Gather<R> {
    fn new<A>(launch: &dyn Launch<A, R>, count: usize) -> Self {
        let gathered = Gathered {
            results: Vec::with_capacity(count),
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

    /// So many items more are launched.
    fn expect(&self, first: u64, items: usize) {
        let mut gathered = self.gathered();
        gathered.outstanding += items;
        let end = usize::try_from(first).unwrap_or(usize::MAX).saturating_add(items);
        gathered.results.resize_with(end, || None);
    }

    /// No more are, and so many of the last did not exist.
    fn expect_no_more(&self, missing: usize) {
        let mut gathered = self.gathered();
        gathered.outstanding -= missing;
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
        let Gathered { results, chunk, error, .. } = &mut *gathered;
        if let Err(failure) = next_many(items, chunk) {
            error.get_or_insert(failure);
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let places = results.iter_mut().skip(first);
        places.zip(chunk.drain(..)).for_each(|(place, result)| *place = Some(result));
        // Relaxed: a count for who is curious.
        self.progress.completed.fetch_add(items, Ordering::Relaxed);
        gathered.outstanding = gathered.outstanding.saturating_sub(items);
        self.finish_if_all(gathered);
    }

    fn finish_if_all(&self, mut gathered: MutexGuard<'_, Gathered<R>>) {
        if !gathered.is_complete || gathered.outstanding > 0 {
            return;
        }
        let results = std::mem::take(&mut gathered.results);
        let error = gathered.error.take();
        drop(gathered);
        self.core.finish(match error {
            None => Ok(results.into_iter().flatten().collect()),
            Some(error) => Err(error),
        });
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered<R>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Send + Sync + 'static> Sink<R> for Gather<R> {
    fn begin(&self, _: u64) -> bool {
        self.core.outcome().is_none()
    }

    fn deliver(self: Arc<Self>, chunk: u64, items: usize, results: &mut dyn Outcomes<R>) {
        self.take_in(chunk, items, |items, into| results.next_many(items, into));
    }

    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError) {
        self.take_in(chunk, items, |_, _| Err(error));
    }
}
