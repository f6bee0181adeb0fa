//! [`Remote`]: what all proxies are made of.
//!
//! A proxy travels by serde. Inside a value that is put into an object of the same server it is the object's number, and the
//! server sees to it that the object stays there. Elsewhere it is the address of the server too, and a ticket: for a minute the
//! server keeps the object for whoever it is sent to. The key does not travel. The receiver has it as its process's key, which
//! children inherit, or has connected to the server itself.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::client::{Answer, Client};
use super::error::ManagerError;
use super::wire::{Item, Kind, Packed, ServerCall};
use crate::{Address, Error, transfer};

/// A reference to an object of a server.
pub(super) struct Remote {
    client: Arc<Client>,
    number: u64,
    kind: Kind,
    of: String,
}

/// How a proxy travels.
#[derive(Serialize, Deserialize)]
enum Portable {
    /// In an object of the same server.
    Inside(u64),
    Outside {
        address: Address,
        incarnation: u64,
        number: u64,
        ticket: u64,
    },
}

/// What is being encoded or decoded on this thread.
enum Scope {
    Outside,
    Key,
    /// A value for the server of this client, and the objects in it so far.
    Packing(Arc<Client>, Vec<u64>),
    Unpacking(Arc<Client>),
}

thread_local! {
    static SCOPE: RefCell<Scope> = const { RefCell::new(Scope::Outside) };
}

/// Runs `run` in a scope, and returns what has become of that.
fn within<R>(scope: Scope, run: impl FnOnce() -> R) -> (R, Scope) {
    /// The scope further out, put back also by unwinding.
    struct Outer(Option<Scope>);
    impl Drop for Outer {
        fn drop(&mut self) {
            if let Some(outer) = self.0.take() {
                let _ = SCOPE.try_with(|scope| scope.replace(outer));
            }
        }
    }
    let replace = |scope| SCOPE.try_with(|current| current.replace(scope)).unwrap_or(Scope::Outside);
    let mut outer = Outer(Some(replace(scope)));
    let done = run();
    let inner = replace(outer.0.take().unwrap_or(Scope::Outside));
    (done, inner)
}

impl Remote {
    /// Makes an object on the server.
    pub(super) fn create<O: Serialize>(
        client: &Arc<Client>,
        kind: Kind,
        of: String,
        options: &O,
    ) -> Result<Self, ManagerError> {
        let mut bytes = Vec::new();
        transfer::append(options, &mut bytes).map_err(ManagerError::Encode)?;
        let options = super::wire::Bytes(&bytes);
        let call = ServerCall::Create { kind, of: of.as_str().into(), options };
        let number = client.ask_server(&call)?;
        Ok(Self::referred(client, number, kind, of))
    }

    /// The object of that name.
    pub(super) fn find(
        client: &Arc<Client>,
        name: &str,
        kind: Kind,
        of: String,
    ) -> Result<Self, ManagerError> {
        let call = ServerCall::Find { name: name.into(), kind, of: of.as_str().into() };
        let number = client.ask_server(&call)?;
        Ok(Self::referred(client, number, kind, of))
    }

    /// A proxy of an object that the server has counted a reference to.
    fn referred(client: &Arc<Client>, number: u64, kind: Kind, of: String) -> Self {
        client.add_proxy(number);
        client.referred(&[number]);
        Self { client: Arc::clone(client), number, kind, of }
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn call<C: Serialize>(&self, call: &C) -> Result<Answer, ManagerError> {
        self.client.call(self.number, call)
    }

    /// As [`call`](Self::call), of what carries no values of the user's.
    pub(super) fn ask<C: Serialize, R: DeserializeOwned>(&self, call: &C) -> Result<R, ManagerError> {
        self.client.ask(self.number, call)
    }

    /// Encodes a value for the server, with the proxies in it.
    pub(super) fn pack<T: Serialize + ?Sized>(&self, value: &T) -> Result<Packed, ManagerError> {
        pack(&self.client, value)
    }

    /// Encodes values for the server.
    pub(super) fn pack_all<'a, T: Serialize + 'a>(
        &self,
        values: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<Packed>, ManagerError> {
        values.into_iter().map(|value| self.pack(value)).collect()
    }

    /// Decodes a value of the server's.
    pub(super) fn unpack<T: DeserializeOwned>(&self, item: &Item<'_>) -> Result<T, ManagerError> {
        self.client.referred(&item.refs);
        let scope = Scope::Unpacking(Arc::clone(&self.client));
        let (value, _) = within(scope, || transfer::decode_item(item.bytes.0));
        self.client.sweep(&item.refs);
        value.map_err(|error| ManagerError::Decode(*error))
    }

    /// Decodes values of the server's; all of them are taken in if one can't be.
    pub(super) fn unpack_all<T: DeserializeOwned>(&self, items: &[Item<'_>]) -> Result<Vec<T>, ManagerError> {
        let values: Vec<_> = items.iter().map(|item| self.unpack(item)).collect();
        values.into_iter().collect()
    }

    /// Decodes a value that may not be there.
    pub(super) fn unpack_option<T: DeserializeOwned>(
        &self,
        item: Option<&Item<'_>>,
    ) -> Result<Option<T>, ManagerError> {
        item.map(|item| self.unpack(item)).transpose()
    }

    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.portable().map_err(transfer::ser_error)?.serialize(serializer)
    }

    fn portable(&self) -> Result<Portable, Error> {
        let inside = SCOPE.try_with(|scope| match &mut *scope.borrow_mut() {
            Scope::Packing(client, refs) if client.incarnation() == self.client.incarnation() => {
                refs.push(self.number);
                Ok(Some(Portable::Inside(self.number)))
            }
            Scope::Key => Err(Error::Encode("a proxy is no key".to_owned())),
            _ => Ok(None),
        });
        if let Some(inside) = inside.unwrap_or(Ok(None))? {
            return Ok(inside);
        }
        let ticket = self.client.ask_server(&ServerCall::Ticket(self.number))?;
        let (address, incarnation) = (self.client.address.clone(), self.client.incarnation());
        Ok(Portable::Outside { address, incarnation, number: self.number, ticket })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        kind: Kind,
        of: String,
    ) -> Result<Self, D::Error> {
        let portable = Portable::deserialize(deserializer)?;
        Self::arrived(portable, kind, of).map_err(transfer::de_error)
    }

    fn arrived(portable: Portable, kind: Kind, of: String) -> Result<Self, Error> {
        match portable {
            Portable::Inside(number) => {
                let client = SCOPE.try_with(|scope| match &*scope.borrow() {
                    Scope::Unpacking(client) => Some(Arc::clone(client)),
                    _ => None,
                });
                let elsewhere = || Error::Decode("a proxy that lay in an object of its server".to_owned());
                let client = client.ok().flatten().ok_or_else(elsewhere)?;
                client.add_proxy(number);
                Ok(Self { client, number, kind, of })
            }
            Portable::Outside { address, incarnation, number, ticket } => {
                let client = Client::at(&address, None)?;
                if client.incarnation() != incarnation {
                    return Err(ManagerError::Restarted.into());
                }
                let call = ServerCall::Claim { object: number, ticket, kind, of: of.as_str().into() };
                client.call(super::wire::SERVER, &call)?;
                Ok(Self::referred(&client, number, kind, of))
            }
        }
    }

    /// The name of its type, for `Debug`.
    pub(super) fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name).field("object", &self.number).field("address", &self.client.address).finish()
    }
}

/// Encodes a value for a server, with the proxies in it.
pub(super) fn pack<T: Serialize + ?Sized>(client: &Arc<Client>, value: &T) -> Result<Packed, ManagerError> {
    let scope = Scope::Packing(Arc::clone(client), Vec::new());
    let (bytes, scope) = within(scope, || transfer::encode_item(value, <[u8]>::to_vec));
    let refs = match scope {
        Scope::Packing(_, refs) => refs,
        _ => Vec::new(),
    };
    Ok(Packed { refs, bytes: bytes.map_err(|error| ManagerError::Encode(*error))? })
}

/// Encodes a key, in which there are no proxies.
pub(super) fn pack_key<K: Serialize + ?Sized>(key: &K) -> Result<Vec<u8>, ManagerError> {
    with_key(key, <[u8]>::to_vec)
}

/// Encodes a key and passes its bytes to `use_key`, which encodes no values of the user's.
pub(super) fn with_key<K: Serialize + ?Sized, R>(
    key: &K,
    use_key: impl FnOnce(&[u8]) -> R,
) -> Result<R, ManagerError> {
    let (done, _) = within(Scope::Key, || transfer::encode_item(key, use_key));
    done.map_err(|error| ManagerError::Encode(*error))
}

/// Decodes a key.
pub(super) fn unpack_key<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, ManagerError> {
    transfer::decode_item(bytes).map_err(|error| ManagerError::Decode(*error))
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        self.client.add_proxy(self.number);
        Self { client: Arc::clone(&self.client), number: self.number, kind: self.kind, of: self.of.clone() }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.client.remove_proxy(self.number);
    }
}

/// What a proxy is of.
pub trait Mark {
    /// The kind of object.
    const KIND: Kind;
    /// The names of the types in it.
    fn of() -> String;
}

/// A [`Remote`] of a known kind and type.
pub(super) struct Typed<M>(Remote, PhantomData<fn() -> M>);

impl<M: Mark> Typed<M> {
    pub(super) fn create<O: Serialize>(client: &Arc<Client>, options: &O) -> Result<Self, ManagerError> {
        Remote::create(client, M::KIND, M::of(), options).map(Self::of_remote)
    }

    pub(super) fn find(client: &Arc<Client>, name: &str) -> Result<Self, ManagerError> {
        Remote::find(client, name, M::KIND, M::of()).map(Self::of_remote)
    }
}

impl<M> Typed<M> {
    fn of_remote(remote: Remote) -> Self {
        Self(remote, PhantomData)
    }
}

impl<M> Deref for Typed<M> {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.0
    }
}

impl<M> Clone for Typed<M> {
    fn clone(&self) -> Self {
        Self::of_remote(self.0.clone())
    }
}

impl<M> Serialize for Typed<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, M: Mark> Deserialize<'de> for Typed<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Remote::deserialize(deserializer, M::KIND, M::of()).map(Self::of_remote)
    }
}

/// A proxy of an object of a server's: what [`Manager::publish`](super::Manager::publish) and
/// [`Manager::find`](super::Manager::find) take. Nothing else implements it.
///
/// # Examples
/// ```
/// use multiproc::Manager;
/// use multiproc::manager::{ListProxy, ManagerError, Proxy};
///
/// /// Finds an object, or makes and names it.
/// fn find_or_make<P: Proxy>(
///     manager: &Manager,
///     name: &str,
///     make: fn(&Manager) -> Result<P, ManagerError>,
/// ) -> Result<P, ManagerError> {
///     match manager.publish(name, &make(manager)?) {
///         Ok(()) | Err(ManagerError::AlreadyExists(_)) => manager.find(name),
///         Err(error) => Err(error),
///     }
/// }
///
/// let manager = Manager::start()?;
/// let list = || find_or_make(&manager, "numbers", |manager| manager.list([1]));
/// list()?.push(&2)?;
/// assert_eq!(list()?.to_vec()?, [1, 2]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Proxy: Named {}

/// Sealed.
#[doc(hidden)]
pub trait Named: Sized {
    /// What it is of.
    type Mark: Mark;
    #[expect(private_interfaces, reason = "sealed")]
    fn remote(&self) -> &Typed<Self::Mark>;
    #[expect(private_interfaces, reason = "sealed")]
    fn of_typed(remote: Typed<Self::Mark>) -> Self;
}
