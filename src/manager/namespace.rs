//! [`NamespaceProxy`]: attributes on a server, each of its own type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served, answer};
use super::table::Stored;
use super::wire::{Item, Kind};
use crate::segment::name_of;

/// What a namespace is asked. Types are told apart by their names.
#[derive(Debug, Serialize, Deserialize)]
enum NamespaceCall<'a> {
    /// Name, type. -> `Option<Item>`
    Get(&'a str, &'a str),
    /// Name, type. -> `()`
    Set(&'a str, &'a str, #[serde(borrow)] Item<'a>),
    /// -> `bool`: whether there was one.
    Remove(&'a str),
    /// -> `Vec<String>`
    Names,
}

/// Attributes on the server: their types, and their values.
#[derive(Default)]
pub(super) struct NamespaceObject {
    state: Monitor<BTreeMap<String, (String, Stored)>>,
}

impl Served for NamespaceObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            NamespaceCall::Get(name, of) => self.state.look(|attributes| {
                let Some((found, value)) = attributes.get(name) else {
                    return answer(reply, &None::<Item<'_>>);
                };
                if found != of {
                    let attribute = |of: &str| format!("attribute \"{name}\" of type {of}");
                    return Err(Fault::Mismatch { expected: attribute(of), found: attribute(found) });
                }
                answer(reply, &Some(caller.item(value)))
            }),
            NamespaceCall::Set(name, of, value) => {
                let value = (of.to_owned(), caller.store(&value)?);
                drop(self.state.change(|attributes| attributes.insert(name.to_owned(), value)));
                Ok(())
            }
            NamespaceCall::Remove(name) => {
                let removed = self.state.change(|attributes| attributes.remove(name));
                answer(reply, &removed.is_some())
            }
            NamespaceCall::Names => {
                self.state.look(|attributes| answer(reply, &attributes.keys().collect::<Vec<_>>()))
            }
        }
    }
}

/// Attributes on a manager's server, each of its own type.
///
/// # Process death
/// A client killed in a call has made it or not.
///
/// # Examples
/// ```
/// use multiproc::Manager;
/// use multiproc::manager::ManagerError;
/// let manager = Manager::start()?;
/// let settings = manager.namespace()?;
/// settings.set("retries", &3_u32)?;
/// settings.set("host", "localhost")?;
/// assert_eq!(settings.get::<u32>("retries")?, Some(3));
/// assert_eq!(settings.get::<String>("host")?.as_deref(), Some("localhost"));
/// assert_eq!(settings.get::<u32>("port")?, None);
/// assert!(matches!(settings.get::<u64>("retries"), Err(ManagerError::Mismatch { .. })));
/// assert_eq!(settings.names()?, ["host", "retries"]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceProxy {
    remote: Typed<Namespace>,
}

/// What a [`NamespaceProxy`] is of.
#[doc(hidden)]
pub enum Namespace {}

impl Mark for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn of() -> String {
        String::new()
    }
}

/// The name of a type. A text is one whether it is borrowed or not.
fn type_of<T: ?Sized>() -> String {
    let name = name_of::<T>();
    if name == "str" { "String".to_owned() } else { name }
}

impl NamespaceProxy {
    /// The attribute of a name, if there is one.
    ///
    /// # Errors
    /// [`ManagerError::Mismatch`]: it is of another type. Those of a call.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let answer = self.remote.call(&NamespaceCall::Get(name, &type_of::<T>()))?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// Sets an attribute, of whatever type it was.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&NamespaceCall::Set(name, &type_of::<T>(), self.remote.pack(value)?.item()))
    }

    /// Removes an attribute; whether there was one.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        self.remote.ask(&NamespaceCall::Remove(name))
    }

    /// The attributes' names, sorted.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        self.remote.ask(&NamespaceCall::Names)
    }
}

impl Proxy for NamespaceProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for NamespaceProxy {
    type Mark = Namespace;

    fn remote(&self) -> &Typed<Namespace> {
        &self.remote
    }

    fn of_typed(remote: Typed<Namespace>) -> Self {
        Self { remote }
    }
}

/// Shows the attributes' names, which it asks the server for.
impl fmt::Debug for NamespaceProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            Ok(names) => f.debug_tuple("NamespaceProxy").field(&names).finish(),
            Err(_) => self.remote.debug(f, "NamespaceProxy"),
        }
    }
}
