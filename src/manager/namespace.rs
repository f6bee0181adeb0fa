//! [`NamespaceProxy`]: attributes on a server, each of its own type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body::{Body, Sequence, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::{Item, Kind, Packed};
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
    /// Name, type: changes the value from the first to the second, none being that there is none. -> `bool`: whether it was the
    /// first.
    Exchange(&'a str, &'a str, Option<Item<'a>>, Option<Item<'a>>),
}

/// Attributes on the server: their types, and their values.
#[derive(Default)]
pub(super) struct NamespaceObject {
    state: Monitor<BTreeMap<String, (String, Stored)>>,
}

impl Served for NamespaceObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            NamespaceCall::Get(name, of) => self.state.look(|attributes| {
                let Some((found, value)) = attributes.get(name) else {
                    return answer(reply, &None::<Item<'_>>);
                };
                check(name, of, found)?;
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
            NamespaceCall::Exchange(name, of, from, to) => {
                let to = to.map(|to| caller.store(&to)).transpose()?;
                let (done, _before) = self.state.change(|attributes| {
                    let now = attributes.get(name);
                    let is_same = match (now, &from) {
                        (Some((found, now)), Some(from)) => {
                            check(name, of, found)?;
                            now.is(from)
                        }
                        (None, None) => true,
                        _ => false,
                    };
                    Ok::<_, Fault>(match to {
                        Some(to) if is_same => {
                            let before = attributes.insert(name.to_owned(), (of.to_owned(), to));
                            (true, before.map(|(_, before)| before))
                        }
                        None if is_same => (true, attributes.remove(name).map(|(_, before)| before)),
                        to => (false, to),
                    })
                })?;
                answer(reply, &done)
            }
            NamespaceCall::Names => {
                self.state.look(|attributes| answer(reply, &Sequence(|| attributes.keys())))
            }
        }
    }
}

/// Whether an attribute is of the type that is asked for.
fn check(name: &str, expected: &str, found: &str) -> Result<(), Fault> {
    if expected == found {
        return Ok(());
    }
    let attribute = |of: &str| format!("attribute \"{name}\" of type {of}");
    Err(Fault::Mismatch { expected: attribute(expected), found: attribute(found) })
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
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let settings = manager.namespace()?;
    /// settings.set("retries", &3_u32)?;
    /// assert_eq!(settings.get("retries")?, Some(3_u32));
    /// assert!(settings.get::<String>("retries").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let settings = manager.namespace()?;
    /// settings.set("host", "localhost")?;
    /// assert_eq!(settings.get::<String>("host")?.as_deref(), Some("localhost"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        self.remote.ask(&NamespaceCall::Set(name, &type_of::<T>(), self.remote.pack(value)?.item()))
    }

    /// Changes an attribute: `change` makes of its value, if there is one, what it is to be, if it is to be. Returns that.
    ///
    /// It is atomic: `change` is called here, and again if somebody else has changed the attribute meanwhile.
    ///
    /// # Errors
    /// [`ManagerError::Mismatch`]: it is of another type. Those of a call.
    ///
    /// # Process death
    /// A client killed in it has changed the attribute or not.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let totals = manager.namespace()?;
    /// for _ in 0..3 {
    ///     totals.update("jobs", |jobs: Option<u32>| Some(jobs.unwrap_or(0) + 1))?;
    /// }
    /// assert_eq!(totals.get::<u32>("jobs")?, Some(3));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>, ManagerError> {
        let of = type_of::<T>();
        loop {
            let answer = self.remote.call(&NamespaceCall::Get(name, &of))?;
            let now: Option<Item<'_>> = answer.read()?;
            let changed = change(self.remote.unpack_option(now.as_ref())?);
            let to: Option<Packed> = changed.as_ref().map(|value| self.remote.pack(value)).transpose()?;
            let call = NamespaceCall::Exchange(name, &of, now, to.as_ref().map(Packed::item));
            if self.remote.ask(&call)? {
                return Ok(changed);
            }
        }
    }

    /// Removes an attribute; whether there was one.
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
    /// let settings = manager.namespace()?;
    /// settings.set("retries", &3_u32)?;
    /// assert!(settings.remove("retries")? && !settings.remove("retries")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        self.remote.ask(&NamespaceCall::Remove(name))
    }

    /// The attributes' names, sorted.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let settings = manager.namespace()?;
    /// settings.set("port", &80_u16)?;
    /// settings.set("host", "localhost")?;
    /// assert_eq!(settings.names()?, ["host", "port"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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
