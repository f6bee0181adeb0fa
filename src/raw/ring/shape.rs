//! [`RingShape`]: how a ring's words are used.

use super::slot::MOST_SLOTS;

/// Words of a slot before its payload, in a ring of payloads of varying length; in the other there is one.
const HEADERS: usize = 2;
/// Data positions are compared modulo 2^32, with a sign.
const MOST_DATA: usize = 1 << 30;
const MOST_SLOT_WORDS: usize = 1 << 29;

/// How a ring's words are used: slots for the items, and behind them the data that is too long for its slot.
///
/// A ring for payloads of one length has no data: a payload of 8 bytes takes 16, with its state on the same cache line.
///
/// # Examples
/// ```
/// use multiproc::raw::RingShape;
/// let shape = RingShape::varying(8, 32, 4096).expect("it is small");
/// assert_eq!(shape.items(), 8);
/// assert!(shape.max_payload() > 32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    slots: usize,
    slot_words: usize,
    /// Words of all slots: the product.
    slot_area: usize,
    data_words: usize,
    /// The length of every payload, in bytes, if they all have one.
    fixed: Option<u32>,
}

impl RingShape {
    /// For `items` payloads of `bytes` each, all of that length; rounded up to a power of two of items.
    /// `None` if that is none, or too much.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// let shape = RingShape::fixed(8, 24).expect("it is small");
    /// assert_eq!((shape.items(), shape.max_payload()), (8, 24));
    /// assert_eq!(RingShape::fixed(0, 24), None);
    /// ```
    #[must_use]
    pub fn fixed(items: usize, bytes: u32) -> Option<Self> {
        let payload = usize::try_from(bytes).ok()?.div_ceil(8);
        Self::new(items, payload.checked_add(1)?, 0, Some(bytes))
    }

    /// For `items` payloads of any length: up to `inline` bytes lie in the item's slot, longer ones in `data` bytes that
    /// all of them share. Rounded up: the items and the data to powers of two.
    /// `None` if that is none, or too much.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// let shape = RingShape::varying(8, 32, 4096).expect("it is small");
    /// assert_eq!(shape.items(), 8);
    /// ```
    #[must_use]
    pub fn varying(items: usize, inline: usize, data: usize) -> Option<Self> {
        let data_words = match data.div_ceil(8) {
            0 => 0,
            words => words.checked_next_power_of_two()?,
        };
        Self::new(items, inline.div_ceil(8).checked_add(HEADERS)?, data_words, None)
    }

    fn new(items: usize, slot_words: usize, data_words: usize, fixed: Option<u32>) -> Option<Self> {
        let slots = items.checked_next_power_of_two()?;
        let slot_area = slots.checked_mul(slot_words)?;
        let shape = Self { slots, slot_words, slot_area, data_words, fixed };
        let fits = shape.slots <= MOST_SLOTS && slot_words <= MOST_SLOT_WORDS && data_words <= MOST_DATA;
        (items > 0 && fits && shape.checked_words().is_some()).then_some(shape)
    }

    /// The four numbers that make up the shape, for keeping it in shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// let shape = RingShape::fixed(8, 24).expect("it is small");
    /// assert_eq!(RingShape::from_words(shape.to_words()), Some(shape));
    /// ```
    #[must_use]
    pub fn to_words(self) -> [u64; 4] {
        let fixed = self.fixed.map_or(0, |bytes| u64::from(bytes).saturating_add(1));
        let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        [wide(self.slots), wide(self.slot_words), wide(self.data_words), fixed]
    }

    /// The shape with these four numbers, if there is one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// let shape = RingShape::fixed(8, 24).expect("it is small");
    /// assert_eq!(RingShape::from_words(shape.to_words()), Some(shape));
    /// assert_eq!(RingShape::from_words([3, 0, 0, 0]), None);
    /// ```
    #[must_use]
    pub fn from_words([slots, slot_words, data_words, fixed]: [u64; 4]) -> Option<Self> {
        let narrow = |length: u64| usize::try_from(length).ok();
        let (slots, slot_words, data_words) = (narrow(slots)?, narrow(slot_words)?, narrow(data_words)?);
        let least = if fixed == 0 { HEADERS } else { 1 };
        let fixed = fixed.checked_sub(1).map(u32::try_from).transpose().ok()?;
        let shape = Self::new(slots, slot_words, data_words, fixed)?;
        let inline = slot_words.checked_sub(least)?.checked_mul(8)?;
        let is_power = data_words == 0 || data_words.is_power_of_two();
        let holds =
            fixed.is_none_or(|bytes| data_words == 0 && usize::try_from(bytes).is_ok_and(|b| b <= inline));
        (shape.slots == slots && is_power && holds).then_some(shape)
    }

    /// How many words a ring of this shape has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// // Each slot has a word of state and one of payload.
    /// assert_eq!(RingShape::fixed(8, 8).expect("it is small").words(), 16);
    /// ```
    #[must_use]
    #[inline]
    pub fn words(self) -> usize {
        // Checked when the shape was made.
        self.slot_area.saturating_add(self.data_words)
    }

    fn checked_words(self) -> Option<usize> {
        let words = self.slot_area.checked_add(self.data_words)?;
        (words <= usize::MAX / 8).then_some(words)
    }

    /// Words of all slots.
    #[inline(always)]
    pub(super) fn slot_area(self) -> usize {
        self.slot_area
    }

    /// How many items the ring can hold.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// assert_eq!(RingShape::fixed(8, 24).expect("it is small").items(), 8);
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn items(self) -> usize {
        self.slots
    }

    #[inline(always)]
    pub(super) fn slot_words(self) -> usize {
        self.slot_words
    }

    #[inline(always)]
    pub(crate) fn data_words(self) -> usize {
        self.data_words
    }

    /// The length of every payload, if they all have one.
    #[inline(always)]
    pub(crate) fn fixed_bytes(self) -> Option<u32> {
        self.fixed
    }

    /// Bytes of a payload that lie in its slot.
    #[inline(always)]
    pub(super) fn inline_bytes(self) -> usize {
        let headers = if self.fixed.is_some() { 1 } else { HEADERS };
        self.slot_words.saturating_sub(headers).saturating_mul(8)
    }

    /// Bytes of the longest payload, up to 4 GiB: it fits into an empty ring.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RingShape;
    /// assert_eq!(RingShape::fixed(8, 24).expect("it is small").max_payload(), 24);
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn max_payload(self) -> u64 {
        let bytes = match self.fixed {
            Some(bytes) => return u64::from(bytes),
            None => self.inline_bytes().max(self.data_words.saturating_mul(8)),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX).min(u64::from(u32::MAX))
    }
}
