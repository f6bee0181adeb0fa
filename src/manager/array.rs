//! [`ArrayProxy`]: an array on a server.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body::{Body, answer, answer_items, check_copies};
use super::error::ManagerError;
use super::fault::Fault;
use super::list::items;
use super::list_object::{place, span, store_all};
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::{Item, Kind};
use crate::segment::name_of;

/// What an array is asked.
#[derive(Debug, Serialize, Deserialize)]
enum ArrayCall<'a> {
    /// -> `u64`
    Len,
    /// -> `Vec<Item>`
    Read(u64, u64),
    /// From a place on. -> `()`
    Write(u64, #[serde(borrow)] Vec<Item<'a>>),
    /// -> `()`
    Fill(Item<'a>),
    /// Changes an element from the first to the second. -> `bool`: whether it was the first.
    Exchange(u64, Item<'a>, Item<'a>),
}

/// An array on the server.
pub(super) struct ArrayObject {
    state: Monitor<Box<[Stored]>>,
}

impl ArrayObject {
    pub(super) fn new(elements: Vec<Stored>) -> Self {
        Self { state: Monitor::new(elements.into()) }
    }
}

impl Served for ArrayObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            ArrayCall::Len => answer(reply, &self.state.look(|elements| elements.len())),
            ArrayCall::Read(start, end) => self.state.look(|elements| {
                let span = span(start, end, elements.len())?;
                answer_items(reply, caller, || elements[span.clone()].iter())
            }),
            ArrayCall::Write(start, values) => {
                let values = store_all(caller, &values)?;
                let end = start.saturating_add(values.len() as u64);
                let _before = self.state.change(|elements| {
                    let span = span(start, end, elements.len())?;
                    let pairs = elements[span].iter_mut().zip(values);
                    Ok::<Vec<Stored>, Fault>(
                        pairs.map(|(now, value)| std::mem::replace(now, value)).collect(),
                    )
                })?;
                Ok(())
            }
            ArrayCall::Fill(value) => {
                let len = self.state.look(|elements| elements.len());
                check_copies(&value, len, caller.host.longest)?;
                let values = (0..len).map(|_| caller.store(&value)).collect::<Result<Box<[_]>, _>>()?;
                drop(self.state.change(|elements| std::mem::replace(elements, values)));
                Ok(())
            }
            ArrayCall::Exchange(index, from, to) => {
                let to = caller.store(&to)?;
                let (done, _other) = self.state.change(|elements| {
                    let index = place(index, elements.len())?;
                    let is_same = elements[index].is(&from);
                    let other = if is_same { std::mem::replace(&mut elements[index], to) } else { to };
                    Ok::<_, Fault>((is_same, other))
                })?;
                answer(reply, &done)
            }
        }
    }
}

/// An array on a manager's server: as many elements as at the start.
///
/// # Process death
/// A client killed in a call has made it or not.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let array = manager.array([1.0, 2.0, 3.0])?;
/// array.write(1, [5.0, 6.0])?;
/// assert_eq!(array.update_at(0, |element| *element *= 4.0)?, 4.0);
/// assert_eq!(array.to_vec()?, [4.0, 5.0, 6.0]);
/// assert!(array.set(3, &0.0).is_err());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct ArrayProxy<T> {
    remote: Typed<Array<T>>,
}

/// What an [`ArrayProxy`] is of.
#[doc(hidden)]
pub struct Array<T>(PhantomData<T>);

impl<T> Mark for Array<T> {
    const KIND: Kind = Kind::Array;

    fn of() -> String {
        name_of::<T>()
    }
}

impl<T: Serialize + DeserializeOwned> ArrayProxy<T> {
    /// How many elements there are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// assert_eq!(array.len()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.remote.ask(&ArrayCall::Len)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert!(manager.array::<f64>([])?.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// The element at a place.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// assert_eq!(array.get(2)?, 3);
    /// assert!(array.get(3).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<T, ManagerError> {
        let one = self.read(index..index.saturating_add(1)).map_err(|error| at(index, error))?.pop();
        one.ok_or(ManagerError::OutOfRange { index: index as u64, len: 0 })
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
    /// let array = manager.array([1, 2, 3])?;
    /// array.set(0, &7)?;
    /// assert_eq!(array.to_vec()?, [7, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        let packed = [self.remote.pack(value)?];
        self.remote.ask(&ArrayCall::Write(index as u64, items(&packed))).map_err(|error| at(index, error))
    }

    /// The elements of a range.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// assert_eq!(array.read(1..3)?, [2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, ManagerError> {
        let answer = self.remote.call(&ArrayCall::Read(range.start as u64, range.end as u64))?;
        self.remote.unpack_all(&answer.read::<Vec<Item<'_>>>()?)
    }

    /// Sets elements from a place on, together.
    ///
    /// # Errors
    /// [`ManagerError::OutOfRange`]; those of a call. Nothing is set then.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// array.write(1, [8, 9])?;
    /// assert_eq!(array.to_vec()?, [1, 8, 9]);
    /// assert!(array.write(2, [0, 0]).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn write(&self, start: usize, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        let packed: Result<Vec<_>, _> = values.into_iter().map(|value| self.remote.pack(&value)).collect();
        self.remote.ask(&ArrayCall::Write(start as u64, items(&packed?)))
    }

    /// Sets all elements.
    ///
    /// # Errors
    /// [`TooLong`](ManagerError::TooLong), also where all copies together are more than a message takes, and none was set;
    /// those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// array.fill(&0)?;
    /// assert_eq!(array.to_vec()?, [0; 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn fill(&self, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&ArrayCall::Fill(self.remote.pack(value)?.item()))
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
    /// let array = manager.array([1, 2, 3])?;
    /// assert_eq!(array.update_at(1, |element| *element += 40)?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update_at(&self, index: usize, mut change: impl FnMut(&mut T)) -> Result<T, ManagerError> {
        let place = index as u64;
        loop {
            let answer = self.remote.call(&ArrayCall::Read(place, place.saturating_add(1)));
            let answer = answer.map_err(|error| at(index, error))?;
            let found: Vec<Item<'_>> = answer.read()?;
            let now = found.into_iter().next().ok_or(ManagerError::OutOfRange { index: place, len: 0 })?;
            let mut value = self.remote.unpack(&now)?;
            change(&mut value);
            let to = self.remote.pack(&value)?;
            if self.remote.ask(&ArrayCall::Exchange(place, now, to.item()))? {
                return Ok(value);
            }
        }
    }

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    /// Those of a call; [`TooLong`](ManagerError::TooLong) where they are more than a message takes.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// assert_eq!(array.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        // It never changes.
        self.read(0..self.len()?)
    }
}

/// The error of a range that is one element.
fn at(index: usize, error: ManagerError) -> ManagerError {
    match error {
        ManagerError::OutOfRange { len, .. } => ManagerError::OutOfRange { index: index as u64, len },
        error => error,
    }
}

impl<T> Clone for ArrayProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T> Proxy for ArrayProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T> Named for ArrayProxy<T> {
    type Mark = Array<T>;

    fn remote(&self) -> &Typed<Array<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<Array<T>>) -> Self {
        Self { remote }
    }
}

/// Shows the first elements, which it asks the server for.
impl<T: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for ArrayProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let first = self.len().and_then(|len| Ok((len, self.read(0..len.min(SHOWN))?)));
        let Ok((len, elements)) = first else { return self.remote.debug(f, "ArrayProxy") };
        let mut list = f.debug_list();
        list.entries(&elements);
        if len > SHOWN { list.finish_non_exhaustive() } else { list.finish() }
    }
}
