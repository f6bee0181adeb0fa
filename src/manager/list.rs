//! [`ListProxy`]: a list on a server.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::list_object::{END, ListCall};
use super::proxy::{Mark, Named, Proxy, Typed};
use super::wire::{Item, Kind, Packed};
use crate::segment::name_of;

/// Elements that `Debug` shows.
const SHOWN: usize = 16;

/// A list on a manager's server.
///
/// Each method is one call to the server, and atomic, but for those that say otherwise. What is looked for is found by its
/// bytes: elements are the same when serde encodes them alike. Iteration is over a copy. An element is a copy, too; a proxy in
/// it is the object itself.
///
/// # Process death
/// A client killed in a call has made it or not. A server that is killed is [`ManagerError::Disconnected`], then
/// [`ManagerError::Unreachable`].
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let list = manager.list([3, 1, 2])?;
/// list.push(&7)?;
/// list.extend([5, 1])?;
/// assert_eq!(list.to_vec()?, [3, 1, 2, 7, 5, 1]);
/// assert_eq!(list.slice(1..3)?, [1, 2]);
/// assert!(list.contains(&7)? && !list.contains(&8)?);
/// assert_eq!((list.count(&1)?, list.index_of(&2)?), (2, Some(2)));
/// list.sort()?;
/// assert_eq!(list.splice(1..3, [10, 20, 30])?, [1, 2]);
/// assert_eq!(list.to_vec()?, [1, 10, 20, 30, 3, 5, 7]);
/// assert_eq!((list.pop()?, list.remove(0)?, list.len()?), (Some(7), 1, 5));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
#[doc(alias = "list")]
pub struct ListProxy<T> {
    remote: Typed<List<T>>,
}

/// What a [`ListProxy`] is of.
#[doc(hidden)]
pub struct List<T>(PhantomData<T>);

impl<T> Mark for List<T> {
    const KIND: Kind = Kind::List;

    fn of() -> String {
        name_of::<T>()
    }
}

impl<T: Serialize + DeserializeOwned> ListProxy<T> {
    /// The element at a place.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.get(0)?, 3);
    /// assert!(list.get(3).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<T, ManagerError> {
        self.item(&ListCall::Get(index as u64))
    }

    /// Sets the element at a place.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.set(0, &9)?;
    /// assert_eq!(list.to_vec()?, [9, 1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Set(index as u64, self.remote.pack(value)?.item()))
    }

    /// Changes the element at a place, and returns what it has become.
    ///
    /// It is atomic: `change` is called here, and again if somebody else has changed the element meanwhile.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// A client killed in it has changed the element or not.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list(["a".to_owned(), "b".to_owned()])?;
    /// assert_eq!(list.update_at(1, |text| text.push('!'))?, "b!");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update_at(&self, index: usize, mut change: impl FnMut(&mut T)) -> Result<T, ManagerError> {
        let index = index as u64;
        loop {
            let answer = self.remote.call(&ListCall::Get(index))?;
            let now: Item<'_> = answer.read()?;
            let mut value = self.remote.unpack(&now)?;
            change(&mut value);
            let to = self.remote.pack(&value)?;
            if self.remote.ask(&ListCall::Exchange(index, now, to.item()))? {
                return Ok(value);
            }
        }
    }

    /// Changes the list as a whole: by any method of a vector.
    ///
    /// It is atomic: the elements are brought here, `change` is called, and again if somebody else has changed the list meanwhile.
    /// What it returned last is returned.
    ///
    /// # Errors
    /// Those of a call; [`TooLong`](ManagerError::TooLong) where the elements are more than a message takes.
    ///
    /// # Process death
    /// A client killed in it has changed the list or not.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 3, 2])?;
    /// let removed = list.update(|numbers| {
    ///     let before = numbers.len();
    ///     numbers.retain(|number| *number != 3);
    ///     before - numbers.len()
    /// })?;
    /// assert_eq!((removed, list.to_vec()?), (2, vec![1, 2]));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<R>(&self, mut change: impl FnMut(&mut Vec<T>) -> R) -> Result<R, ManagerError> {
        loop {
            let (version, mut elements) = self.snapshot()?;
            let done = change(&mut elements);
            let packed = self.remote.pack_all(&elements)?;
            if self.remote.ask(&ListCall::Replace(version, items(&packed)))? {
                return Ok(done);
            }
        }
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.push(&4)?;
    /// assert_eq!(list.to_vec()?, [3, 1, 2, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "append")]
    pub fn push(&self, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Push(self.remote.pack(value)?.item()))
    }

    /// Adds elements at the end, together.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`]. Nothing is added then.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.extend(7..9)?;
    /// assert_eq!(list.to_vec()?, [3, 1, 2, 7, 8]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        let packed = self.packed(values)?;
        self.remote.ask(&ListCall::Extend(items(&packed)))
    }

    /// Adds an element before the one at a place.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.insert(1, &9)?;
    /// assert_eq!(list.to_vec()?, [3, 9, 1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn insert(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Insert(index as u64, self.remote.pack(value)?.item()))
    }

    /// Removes the last element.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.pop()?, Some(2));
    /// assert_eq!(list.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        let answer = self.remote.call(&ListCall::Pop)?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// Removes the element at a place.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.remove(0)?, 3);
    /// assert_eq!(list.to_vec()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn remove(&self, index: usize) -> Result<T, ManagerError> {
        self.item(&ListCall::Remove(index as u64))
    }

    /// Removes the element at a place, where the last one comes: however long the list is.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.swap_remove(0)?, 3);
    /// assert_eq!(list.to_vec()?, [2, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn swap_remove(&self, index: usize) -> Result<T, ManagerError> {
        self.item(&ListCall::SwapRemove(index as u64))
    }

    /// Removes the first element that is `value`; whether there is one.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert!(list.remove_item(&1)?);
    /// assert!(!list.remove_item(&1)?);
    /// assert_eq!(list.to_vec()?, [3, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn remove_item(&self, value: &T) -> Result<bool, ManagerError> {
        self.remote.ask(&ListCall::RemoveItem(self.remote.pack(value)?.item()))
    }

    /// Whether `value` is among the elements.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert!(list.contains(&1)? && !list.contains(&7)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn contains(&self, value: &T) -> Result<bool, ManagerError> {
        self.index_of(value).map(|index| index.is_some())
    }

    /// The place of the first element that is `value`.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!((list.index_of(&2)?, list.index_of(&7)?), (Some(2), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "index")]
    pub fn index_of(&self, value: &T) -> Result<Option<usize>, ManagerError> {
        self.remote.ask(&ListCall::IndexOf(self.remote.pack(value)?.item()))
    }

    /// How many of the elements are `value`.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([1, 2, 1])?;
    /// assert_eq!(list.count(&1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn count(&self, value: &T) -> Result<usize, ManagerError> {
        self.remote.ask(&ListCall::Count(self.remote.pack(value)?.item()))
    }

    /// How many elements there are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.len()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.remote.ask(&ListCall::Len)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert!(!list.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// The first element.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.first()?, Some(3));
    /// list.clear()?;
    /// assert_eq!(list.first()?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn first(&self) -> Result<Option<T>, ManagerError> {
        match self.get(0) {
            Err(ManagerError::OutOfRange { .. }) => Ok(None),
            first => first.map(Some),
        }
    }

    /// The last element.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.last()?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn last(&self) -> Result<Option<T>, ManagerError> {
        let answer = self.remote.call(&ListCall::Last)?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// Removes all elements.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.clear()?;
    /// assert!(list.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Clear)
    }

    /// Turns the order round.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.reverse()?;
    /// assert_eq!(list.to_vec()?, [2, 1, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Reverse)
    }

    /// Swaps two elements.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.swap(0, 2)?;
    /// assert_eq!(list.to_vec()?, [2, 1, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn swap(&self, one: usize, other: usize) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Swap(one as u64, other as u64))
    }

    /// Keeps the first `len` elements at most.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.truncate(1)?;
    /// assert_eq!(list.to_vec()?, [3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn truncate(&self, len: usize) -> Result<(), ManagerError> {
        self.remote.ask(&ListCall::Truncate(len as u64))
    }

    /// The elements of a range.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.slice(1..)?, [1, 2]);
    /// assert!(list.slice(1..4).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        let (start, end) = bounds(&range);
        self.all(&ListCall::Slice(start, end))
    }

    /// Replaces the elements of a range, and returns them.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.splice(..2, [7, 8, 9])?, [3, 1]);
    /// assert_eq!(list.to_vec()?, [7, 8, 9, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn splice(
        &self,
        range: impl RangeBounds<usize>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Vec<T>, ManagerError> {
        let (start, end) = bounds(&range);
        let packed = self.packed(values)?;
        self.all(&ListCall::Splice(start, end, items(&packed)))
    }

    /// Removes the elements of a range, and returns them.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// assert_eq!(list.drain(1..)?, [1, 2]);
    /// assert_eq!(list.to_vec()?, [3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn drain(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        self.splice(range, [])
    }

    /// Sorts the elements: an [`update`](Self::update).
    ///
    /// # Errors
    /// As `update`.
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.sort()?;
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.update(|elements| elements.sort())
    }

    /// Sorts the elements by a key: an [`update`](Self::update).
    ///
    /// # Errors
    /// As `update`.
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list(["pear", "fig"].map(str::to_owned))?;
    /// list.sort_by_key(|fruit| fruit.len())?;
    /// assert_eq!(list.to_vec()?, ["fig", "pear"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sort_by_key<K: Ord>(&self, mut key: impl FnMut(&T) -> K) -> Result<(), ManagerError> {
        self.update(|elements| elements.sort_by_key(&mut key))
    }

    /// Sorts the elements by a comparison: an [`update`](Self::update).
    ///
    /// # Errors
    /// As `update`.
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([0.5_f64, 2.5, 1.5])?;
    /// list.sort_by(|a, b| b.total_cmp(a))?;
    /// assert_eq!(list.to_vec()?, [2.5, 1.5, 0.5]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sort_by(&self, mut compare: impl FnMut(&T, &T) -> Ordering) -> Result<(), ManagerError> {
        self.update(|elements| elements.sort_by(&mut compare))
    }

    /// Keeps the elements for which `keep` is true: an [`update`](Self::update).
    ///
    /// # Errors
    /// As `update`.
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.retain(|number| *number > 1)?;
    /// assert_eq!(list.to_vec()?, [3, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) -> Result<(), ManagerError> {
        self.update(|elements| elements.retain(&mut keep))
    }

    /// Of elements that are equal and follow each other, keeps the first: an [`update`](Self::update).
    ///
    /// # Errors
    /// As `update`.
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([1, 1, 2, 1])?;
    /// list.dedup()?;
    /// assert_eq!(list.to_vec()?, [1, 2, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn dedup(&self) -> Result<(), ManagerError>
    where
        T: PartialEq,
    {
        self.update(Vec::dedup)
    }

    /// The elements, as they were at one moment.
    ///
    /// # Errors
    /// Those of a call; [`TooLong`](ManagerError::TooLong) where they are more than a message takes.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// for number in list.to_vec()? {
    ///     // The list may change meanwhile.
    ///     list.remove_item(&number)?;
    /// }
    /// assert!(list.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "iter")]
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.snapshot().map(|(_, elements)| elements)
    }

    fn snapshot(&self) -> Result<(u64, Vec<T>), ManagerError> {
        let answer = self.remote.call(&ListCall::Snapshot)?;
        let (version, elements): (u64, Vec<Item<'_>>) = answer.read()?;
        Ok((version, self.remote.unpack_all(&elements)?))
    }

    fn packed(&self, values: impl IntoIterator<Item = T>) -> Result<Vec<Packed>, ManagerError> {
        values.into_iter().map(|value| self.remote.pack(&value)).collect()
    }

    fn item(&self, call: &ListCall<'_>) -> Result<T, ManagerError> {
        self.remote.unpack(&self.remote.call(call)?.read()?)
    }

    fn all(&self, call: &ListCall<'_>) -> Result<Vec<T>, ManagerError> {
        self.remote.unpack_all(&self.remote.call(call)?.read::<Vec<Item<'_>>>()?)
    }
}

/// The places of a range; one that has no end goes to where the list ends then.
fn bounds(range: &impl RangeBounds<usize>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&start) => start as u64,
        Bound::Excluded(&start) => (start as u64).saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        // There is no place that is so far.
        Bound::Included(&end) => (end as u64).saturating_add(1).min(END - 1),
        Bound::Excluded(&end) => (end as u64).min(END - 1),
        Bound::Unbounded => END,
    };
    (start, end)
}

pub(super) fn items(packed: &[Packed]) -> Vec<Item<'_>> {
    packed.iter().map(Packed::item).collect()
}

impl<T> Clone for ListProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T> Proxy for ListProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T> Named for ListProxy<T> {
    type Mark = List<T>;

    fn remote(&self) -> &Typed<List<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<List<T>>) -> Self {
        Self { remote }
    }
}

/// Shows the first elements, which it asks the server for.
impl<T: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for ListProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.len().and_then(|len| Ok((len, self.slice(..len.min(SHOWN))?)));
        let Ok((len, elements)) = first else { return self.remote.debug(f, "ListProxy") };
        let mut list = f.debug_list();
        list.entries(&elements);
        if len > SHOWN { list.finish_non_exhaustive() } else { list.finish() }
    }
}
