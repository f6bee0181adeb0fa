//! [`ObjectProxy`]: an object of a type of one's own on a server.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::registry::RemoteObject;
use super::wire::Kind;

/// An object of a type of one's own on a manager's server: [`RemoteObject`] has an example.
///
/// # Process death
/// A client killed in a call has made it or not.
///
/// # Examples
/// ```
/// # use multiproc::manager::RemoteObject;
/// # struct Sum(u64);
/// # impl RemoteObject for Sum {
/// #     type Args = u64;
/// #     type Request = u64;
/// #     type Reply = u64;
/// #     const NAME: &'static str = "Sum";
/// #     fn new(start: u64) -> Self {
/// #         Self(start)
/// #     }
/// #     fn call(&mut self, more: u64) -> u64 {
/// #         self.0 += more;
/// #         self.0
/// #     }
/// # }
/// // `Sum` is a `RemoteObject`.
/// let manager = multiproc::Manager::builder().register::<Sum>().start()?;
/// let sum = manager.object::<Sum>(&40)?;
/// let same = sum.clone();
/// sum.call(&1)?;
/// assert_eq!(same.call(&1)?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "T: RemoteObject")]
pub struct ObjectProxy<T> {
    remote: Typed<Custom<T>>,
}

/// What an [`ObjectProxy`] is of.
#[doc(hidden)]
pub struct Custom<T>(PhantomData<T>);

impl<T: RemoteObject> Mark for Custom<T> {
    const KIND: Kind = Kind::Custom;

    fn of() -> String {
        T::NAME.to_owned()
    }
}

impl<T: RemoteObject> ObjectProxy<T> {
    /// Has the object do what is asked, on the server, and waits for its answer.
    ///
    /// # Errors
    /// [`ManagerError::Panicked`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::manager::RemoteObject;
    /// # struct Sum(u64);
    /// # impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// # }
    /// // `Sum` is a `RemoteObject`.
    /// let manager = multiproc::Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&0)?;
    /// assert_eq!((sum.call(&1)?, sum.call(&2)?), (1, 3));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn call(&self, request: &T::Request) -> Result<T::Reply, ManagerError> {
        self.remote.ask(request)
    }
}

impl<T> Clone for ObjectProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T: RemoteObject> Proxy for ObjectProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T: RemoteObject> Named for ObjectProxy<T> {
    type Mark = Custom<T>;

    fn remote(&self) -> &Typed<Custom<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<Custom<T>>) -> Self {
        Self { remote }
    }
}

impl<T> fmt::Debug for ObjectProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "ObjectProxy")
    }
}
