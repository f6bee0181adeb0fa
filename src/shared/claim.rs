//! [`Claim`]: the calling thread works on an object, under a lock that would let it in a second time.
//!
//! A lock that nests keeps other threads out, and not its holder's second guard of the same object: that one's slice
//! would alias the first one's, and its change be lost when the first one commits. So each thread notes what it has open,
//! by address: a process maps a segment once.

use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    static OPEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The calling thread's only work on an object, until it is dropped.
pub(super) struct Claim {
    address: usize,
    thread_bound: PhantomData<*const ()>,
}

impl Claim {
    /// The claim to the object at `address`, if this thread does not have it already.
    pub(super) fn new(address: usize) -> Option<Self> {
        let claim = |open: &RefCell<Vec<usize>>| {
            let mut open = open.borrow_mut();
            let is_new = !open.contains(&address);
            if is_new {
                open.push(address);
            }
            is_new
        };
        // A thread that has destroyed its list does not know what it has open.
        let claimed = OPEN.try_with(claim).unwrap_or(false);
        // Made only then: dropping a claim ends it.
        claimed.then(|| Self { address, thread_bound: PhantomData })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A list that is gone needs no entry less.
        let _ = OPEN.try_with(|open| open.borrow_mut().retain(|&address| address != self.address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_claimed_once_by_each_thread() {
        let first = Claim::new(64).unwrap();
        assert!(Claim::new(64).is_none());
        assert!(Claim::new(64).is_none(), "a refusal takes nothing away");
        let other = Claim::new(128).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(Claim::new(64).is_some()));
        });
        drop(first);
        assert!(Claim::new(64).is_some());
        drop(other);
    }
}
