//! [`ValueProxy`]: a value on a server.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::{Item, Kind};
use crate::segment::name_of;

/// What a value is asked.
#[derive(Debug, Serialize, Deserialize)]
enum ValueCall<'a> {
    /// -> `Item`
    Get,
    /// -> `()`
    #[serde(borrow)]
    Set(Item<'a>),
    /// Changes it from the first to the second. -> `bool`: whether it was the first.
    Exchange(Item<'a>, Item<'a>),
}

/// A value on the server.
pub(super) struct ValueObject {
    state: Monitor<Stored>,
}

impl ValueObject {
    pub(super) fn new(value: Stored) -> Self {
        Self { state: Monitor::new(value) }
    }
}

impl Served for ValueObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            ValueCall::Get => self.state.look(|value| answer(reply, &caller.item(value))),
            ValueCall::Set(value) => {
                let value = caller.store(&value)?;
                drop(self.state.change(|now| std::mem::replace(now, value)));
                Ok(())
            }
            ValueCall::Exchange(from, to) => {
                let to = caller.store(&to)?;
                let (done, _other) = self.state.change(|now| {
                    let is_same = now.is(&from);
                    (is_same, if is_same { std::mem::replace(now, to) } else { to })
                });
                answer(reply, &done)
            }
        }
    }
}

/// A value on a manager's server, of any type that serde knows.
///
/// # Process death
/// A client killed in a call has made it or not.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let best = manager.value(&("nobody".to_owned(), 0))?;
/// best.update(|best| {
///     if best.1 < 7 {
///         *best = ("Ada".to_owned(), 7);
///     }
/// })?;
/// assert_eq!(best.get()?, ("Ada".to_owned(), 7));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct ValueProxy<T> {
    remote: Typed<Value<T>>,
}

/// What a [`ValueProxy`] is of.
#[doc(hidden)]
pub struct Value<T>(PhantomData<T>);

impl<T> Mark for Value<T> {
    const KIND: Kind = Kind::Value;

    fn of() -> String {
        name_of::<T>()
    }
}

impl<T: Serialize + DeserializeOwned> ValueProxy<T> {
    /// The value.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let best = manager.value(&7)?;
    /// assert_eq!(best.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self) -> Result<T, ManagerError> {
        self.remote.unpack(&self.remote.call(&ValueCall::Get)?.read()?)
    }

    /// Sets the value.
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
    /// let best = manager.value(&7)?;
    /// best.set(&9)?;
    /// assert_eq!(best.get()?, 9);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&ValueCall::Set(self.remote.pack(value)?.item()))
    }

    /// Changes the value, and returns what `change` returned last.
    ///
    /// It is atomic: `change` is called here, and again if somebody else has changed the value meanwhile.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// A client killed in it has changed the value or not.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let best = manager.value(&7)?;
    /// let before = best.update(|best| std::mem::replace(best, 9))?;
    /// assert_eq!((before, best.get()?), (7, 9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<R, ManagerError> {
        loop {
            let answer = self.remote.call(&ValueCall::Get)?;
            let now: Item<'_> = answer.read()?;
            let mut value = self.remote.unpack(&now)?;
            let done = change(&mut value);
            let to = self.remote.pack(&value)?;
            if self.remote.ask(&ValueCall::Exchange(now, to.item()))? {
                return Ok(done);
            }
        }
    }
}

impl<T> Clone for ValueProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T> Proxy for ValueProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T> Named for ValueProxy<T> {
    type Mark = Value<T>;

    fn remote(&self) -> &Typed<Value<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<Value<T>>) -> Self {
        Self { remote }
    }
}

/// Shows the value, which it asks the server for.
impl<T: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for ValueProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Ok(value) => f.debug_tuple("ValueProxy").field(&value).finish(),
            Err(_) => self.remote.debug(f, "ValueProxy"),
        }
    }
}
