//! [`BarrierTicket`]: that a barrier was passed, and in which place.

/// Says that a [`Barrier`](crate::Barrier) was passed.
///
/// # Examples
/// ```
/// let barrier = multiproc::Barrier::new(1)?;
/// let ticket = barrier.wait()?;
/// assert_eq!(ticket.index(), 0);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierTicket {
    index: u32,
}

impl BarrierTicket {
    pub(super) fn new(index: u32) -> Self {
        Self { index }
    }

    /// The place in the order of arrival: from 0 to one less than the number of parties, a different one for each.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(1)?;
    /// assert_eq!(barrier.wait()?.index(), 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }
}
