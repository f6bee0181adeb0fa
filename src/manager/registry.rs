//! [`Registry`]: the types of one's own that a server makes objects of, and [`RemoteObject`], what they are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{Body, answer};
use super::fault::Fault;
use super::served::{Caller, Served};

/// A type of one's own, of which a manager's server has objects: [`ManagerBuilder::register`](super::ManagerBuilder::register),
/// [`Manager::object`](super::Manager::object).
///
/// Requests and replies travel by serde, as enums of one's own as a rule. They carry no proxies. One call of an object is made
/// at a time, on a thread of the server's; one that waits keeps others of the same object waiting, and no one else.
///
/// # Panics
/// A call that panics fails, with [`ManagerError::Panicked`](super::ManagerError::Panicked), and nothing else does: the object
/// stays as it was left.
///
/// # Process death
/// A client killed in a call has made it or not. The object goes when nobody refers to it any more.
///
/// # Examples
/// ```
/// use multiproc::manager::{ManagerError, RemoteObject};
/// use multiproc::Manager;
/// use serde::{Deserialize, Serialize};
///
/// struct Account {
///     cents: u64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Request {
///     Deposit(u64),
///     Withdraw(u64),
/// }
///
/// impl RemoteObject for Account {
///     type Args = u64;
///     type Request = Request;
///     type Reply = u64;
///     const NAME: &'static str = "Account";
///
///     fn new(cents: u64) -> Self {
///         Self { cents }
///     }
///
///     fn call(&mut self, request: Request) -> u64 {
///         self.cents = match request {
///             Request::Deposit(cents) => self.cents + cents,
///             Request::Withdraw(cents) => self.cents.checked_sub(cents).expect("no overdraft"),
///         };
///         self.cents
///     }
/// }
///
/// let manager = Manager::builder().register::<Account>().start()?;
/// let account = manager.object::<Account>(&100)?;
/// assert_eq!(account.call(&Request::Deposit(50))?, 150);
/// let overdrawn = account.call(&Request::Withdraw(1000));
/// assert!(matches!(overdrawn, Err(ManagerError::Panicked(why)) if why.contains("no overdraft")));
/// assert_eq!(account.call(&Request::Withdraw(30))?, 120);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait RemoteObject: Send + Sized + 'static {
    /// What it is made of.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    ///     type Args = u64;
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
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!(sum.call(&2)?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    type Args: Serialize + DeserializeOwned;
    /// What it is asked.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    /// #     type Args = u64;
    ///     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!(sum.call(&2)?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    type Request: Serialize + DeserializeOwned;
    /// What it answers.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    ///     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!(sum.call(&2)?, 42_u64);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    type Reply: Serialize + DeserializeOwned;
    /// By which clients name it. Another program's client may have another type of that name: they have to agree on what the
    /// requests are.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    ///     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// manager.publish("sum", &manager.object::<Sum>(&1)?)?;
    /// let mistaken = manager.find::<multiproc::manager::EventProxy>("sum");
    /// assert!(mistaken.is_err_and(|error| error.to_string().contains("Sum")));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    const NAME: &'static str;

    /// Makes an object, on the server.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    ///     fn new(start: u64) -> Self {
    ///         Self(start)
    ///     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!(sum.call(&0)?, 40);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn new(args: Self::Args) -> Self;

    /// Does what is asked, on the server.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// # use multiproc::manager::RemoteObject;
    /// struct Sum(u64);
    /// impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    ///     fn call(&mut self, more: u64) -> u64 {
    ///         self.0 += more;
    ///         self.0
    ///     }
    /// }
    ///
    /// let manager = Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!((sum.call(&2)?, sum.call(&3)?), (42, 45));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn call(&mut self, request: Self::Request) -> Self::Reply;
}

type Make = fn(&[u8]) -> Result<Box<dyn Served>, Fault>;

/// The types of one's own that a server makes objects of.
#[derive(Clone, Default)]
pub(super) struct Registry {
    types: HashMap<&'static str, Make>,
}

impl Registry {
    /// With one more type.
    pub(super) fn with<T: RemoteObject>(mut self) -> Self {
        self.types.insert(T::NAME, make::<T>);
        self
    }

    pub(super) fn make(&self, name: &str, args: &[u8]) -> Result<Box<dyn Served>, Fault> {
        let make = self.types.get(name).ok_or_else(|| Fault::NotFound(format!("type {name}")))?;
        make(args)
    }
}

fn make<T: RemoteObject>(args: &[u8]) -> Result<Box<dyn Served>, Fault> {
    let args = postcard::from_bytes(args).map_err(|error| Fault::malformed(&error))?;
    Ok(Box::new(Hosted(Mutex::new(T::new(args)))))
}

/// An object of a user's type.
struct Hosted<T>(Mutex<T>);

impl<T: RemoteObject> Served for Hosted<T> {
    fn call(&self, _: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let request = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        // A call that panicked has not spoiled it for others.
        let answered = self.0.lock().unwrap_or_else(PoisonError::into_inner).call(request);
        answer(reply, &answered)
    }
}
