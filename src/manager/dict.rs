//! [`DictProxy`]: a dictionary on a server.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dict_entry::DictEntry;
use super::dict_object::DictCall;
use super::error::ManagerError;
use super::proxy::{Mark, Named, Proxy, Typed, pack_key, unpack_key};
use super::wire::{Bytes, Item, Kind, Packed};
use crate::segment::name_of;

/// Entries that `Debug` shows.
const SHOWN: u64 = 16;

/// A dictionary on a manager's server. Entries are in the order in which their keys came.
///
/// Keys are the same when serde encodes them alike: no sets, maps or floating-point numbers, and no proxies. Each method is one
/// call to the server, and atomic, but for those that say otherwise. Iteration is over a copy.
///
/// A value is a copy, too: what is done to it here does nothing there. A proxy in it is the object itself, so that
/// a `DictProxy<String, ListProxy<u64>>` has lists that change.
///
/// # Process death
/// A client killed in a call has made it or not. A server that is killed is [`ManagerError::Disconnected`], then
/// [`ManagerError::Unreachable`].
///
/// # Examples
/// ```
/// use multiproc::{Manager, Process};
/// use multiproc::manager::DictProxy;
///
/// fn count(words: DictProxy<String, u64>) {
///     for word in ["to", "be", "or", "not", "to", "be"] {
///         words.update(&word.to_owned(), |count| Some(count.unwrap_or(0) + 1)).unwrap();
///     }
/// }
///
/// let manager = Manager::start()?;
/// let words = manager.dict::<String, u64>()?;
/// let mut processes = [Process::spawn(count, words.clone())?, Process::spawn(count, words.clone())?];
/// for process in &mut processes {
///     process.join()?;
/// }
/// assert_eq!(words.get(&"be".to_owned())?, Some(4));
/// assert_eq!(words.len()?, 4);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
#[doc(alias = "dict")]
pub struct DictProxy<K, V> {
    remote: Typed<Dict<K, V>>,
}

/// What a [`DictProxy`] is of.
#[doc(hidden)]
pub struct Dict<K, V>(PhantomData<(K, V)>);

impl<K, V> Mark for Dict<K, V> {
    const KIND: Kind = Kind::Dict;

    fn of() -> String {
        name_of::<(K, V)>()
    }
}

impl<K, V> DictProxy<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// The value of a key.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.set(&"Ada".to_owned(), &36)?;
    /// assert_eq!(ages.get(&"Ada".to_owned())?, Some(36));
    /// assert_eq!(ages.get(&"Bob".to_owned())?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self, key: &K) -> Result<Option<V>, ManagerError> {
        let answer = self.remote.call(&DictCall::Get(Bytes(&pack_key(key)?)))?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// The values of several keys, by one message.
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
    /// let squares = manager.dict::<u64, u64>()?;
    /// squares.set_many((0..10).map(|n| (n, n * n)))?;
    /// assert_eq!(squares.get_many(&[3, 30, 5])?, [Some(9), None, Some(25)]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_many<'a>(&self, keys: impl IntoIterator<Item = &'a K>) -> Result<Vec<Option<V>>, ManagerError>
    where
        K: 'a,
    {
        let keys = keys.into_iter().map(pack_key).collect::<Result<Vec<_>, _>>()?;
        let call = DictCall::GetMany(keys.iter().map(|key| Bytes(key)).collect());
        let answer = self.remote.call(&call)?;
        let values: Vec<Option<Item<'_>>> = answer.read()?;
        let values: Vec<_> = values.iter().map(|value| self.remote.unpack_option(value.as_ref())).collect();
        values.into_iter().collect()
    }

    /// Sets the value of a key.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert_eq!(ages.get(&ada)?, Some(36));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, key: &K, value: &V) -> Result<(), ManagerError> {
        let (key, value) = (pack_key(key)?, self.remote.pack(value)?);
        self.remote.ask(&DictCall::Set(Bytes(&key), value.item()))
    }

    /// Sets the values of several keys, by one message, together.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`]. Nothing is set then.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.set_many([("Ada".to_owned(), 36), ("Bob".to_owned(), 7)])?;
    /// assert_eq!(ages.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "extend")]
    pub fn set_many(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        let pack = |(key, value): (K, V)| Ok((pack_key(&key)?, self.remote.pack(&value)?));
        let entries = entries.into_iter().map(pack).collect::<Result<Vec<_>, ManagerError>>()?;
        let call = entries.iter().map(|(key, value)| (Bytes(key), value.item())).collect();
        self.remote.ask(&DictCall::SetMany(call))
    }

    /// Sets the value of a key, and returns the one before.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// assert_eq!(ages.insert(&ada, &36)?, None);
    /// assert_eq!(ages.insert(&ada, &37)?, Some(36));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn insert(&self, key: &K, value: &V) -> Result<Option<V>, ManagerError> {
        let (key, value) = (pack_key(key)?, self.remote.pack(value)?);
        let answer = self.remote.call(&DictCall::Insert(Bytes(&key), value.item()))?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// Sets the value of a key that has none; the value afterwards.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// assert_eq!(ages.set_default(&ada, &36)?, 36);
    /// assert_eq!(ages.set_default(&ada, &1)?, 36);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn set_default(&self, key: &K, value: &V) -> Result<V, ManagerError> {
        let (key, value) = (pack_key(key)?, self.remote.pack(value)?);
        let answer = self.remote.call(&DictCall::SetDefault(Bytes(&key), value.item()))?;
        self.remote.unpack(&answer.read()?)
    }

    /// Changes an entry: `change` makes of its value, if there is one, what it is to be, if it is to be. Returns that.
    ///
    /// It is atomic: `change` is called here, and again if somebody else has changed the entry meanwhile. Nobody is kept waiting
    /// for it.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// A client killed in it has changed the entry or not.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let stock = manager.dict::<String, u32>()?;
    /// let pears = "pears".to_owned();
    /// assert_eq!(stock.update(&pears, |count| Some(count.unwrap_or(0) + 2))?, Some(2));
    /// // Takes one, and the entry with the last.
    /// let take = |count: Option<u32>| count.and_then(|count| count.checked_sub(1)).filter(|count| *count > 0);
    /// assert_eq!(stock.update(&pears, take)?, Some(1));
    /// assert_eq!(stock.update(&pears, take)?, None);
    /// assert!(stock.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update(
        &self,
        key: &K,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, ManagerError> {
        let key = pack_key(key)?;
        loop {
            let answer = self.remote.call(&DictCall::Get(Bytes(&key)))?;
            let now: Option<Item<'_>> = answer.read()?;
            let changed = change(self.remote.unpack_option(now.as_ref())?);
            let to: Option<Packed> = changed.as_ref().map(|value| self.remote.pack(value)).transpose()?;
            let call = DictCall::Exchange(Bytes(&key), now, to.as_ref().map(Packed::item));
            if self.remote.ask(&call)? {
                return Ok(changed);
            }
        }
    }

    /// The entry of a key, to be changed and filled.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// assert_eq!(hits.entry(&home).or_insert(1)?, 1);
    /// assert_eq!(hits.entry(&home).and_modify(|count| *count += 1).or_insert(1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn entry<'a>(&'a self, key: &'a K) -> DictEntry<'a, K, V, impl FnMut(&mut V)> {
        DictEntry::new(self, key, |_: &mut V| ())
    }

    /// Removes an entry; its value.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert_eq!(ages.remove(&ada)?, Some(36));
    /// assert_eq!(ages.remove(&ada)?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "pop")]
    pub fn remove(&self, key: &K) -> Result<Option<V>, ManagerError> {
        let answer = self.remote.call(&DictCall::Remove(Bytes(&pack_key(key)?)))?;
        self.remote.unpack_option(answer.read::<Option<Item<'_>>>()?.as_ref())
    }

    /// Removes the entry whose key came last.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.set_many([("Ada".to_owned(), 36), ("Bob".to_owned(), 7)])?;
    /// assert_eq!(ages.pop_item()?, Some(("Bob".to_owned(), 7)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "popitem")]
    pub fn pop_item(&self) -> Result<Option<(K, V)>, ManagerError> {
        let answer = self.remote.call(&DictCall::PopItem)?;
        let popped: Option<(Bytes<'_>, Item<'_>)> = answer.read()?;
        popped.map(|(key, value)| Ok((unpack_key(key.0)?, self.remote.unpack(&value)?))).transpose()
    }

    /// Whether there is a key.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert!(ages.contains_key(&ada)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn contains_key(&self, key: &K) -> Result<bool, ManagerError> {
        self.remote.ask(&DictCall::Contains(Bytes(&pack_key(key)?)))
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// assert_eq!(ages.len()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.remote.ask(&DictCall::Len)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// assert!(ages.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Removes all entries.
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
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// ages.clear()?;
    /// assert!(ages.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.remote.ask(&DictCall::Clear)
    }

    /// The keys.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert_eq!(ages.keys()?, ["Ada"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        let answer = self.remote.call(&DictCall::Keys)?;
        answer.read::<Vec<Bytes<'_>>>()?.into_iter().map(|key| unpack_key(key.0)).collect()
    }

    /// The values.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert_eq!(ages.values()?, [36]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        let answer = self.remote.call(&DictCall::Values)?;
        self.remote.unpack_all(&answer.read::<Vec<Item<'_>>>()?)
    }

    /// The entries, as they were at one moment.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`]; [`TooLong`](ManagerError::TooLong) where they are more than a message takes.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.set_many([("Ada".to_owned(), 36), ("Bob".to_owned(), 7)])?;
    /// for (name, _) in ages.items()? {
    ///     // It may change meanwhile.
    ///     ages.remove(&name)?;
    /// }
    /// assert!(ages.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "iter")]
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        self.first(u64::MAX)
    }

    fn first(&self, most: u64) -> Result<Vec<(K, V)>, ManagerError> {
        let answer = self.remote.call(&DictCall::Items(most))?;
        let entries: Vec<(Bytes<'_>, Item<'_>)> = answer.read()?;
        let unpack = |(key, value): &(Bytes<'_>, Item<'_>)| {
            let value = self.remote.unpack(value);
            Ok((unpack_key(key.0)?, value?))
        };
        let entries: Vec<_> = entries.iter().map(unpack).collect();
        entries.into_iter().collect()
    }

    /// A copy of it, as it was at one moment.
    ///
    /// # Errors
    /// As [`items`](Self::items).
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let ada = "Ada".to_owned();
    /// ages.set(&ada, &36)?;
    /// assert_eq!(ages.to_map()?.get("Ada"), Some(&36));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "copy")]
    pub fn to_map(&self) -> Result<HashMap<K, V>, ManagerError>
    where
        K: Eq + Hash,
    {
        Ok(self.items()?.into_iter().collect())
    }
}

impl<K, V> Clone for DictProxy<K, V> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<K, V> Proxy for DictProxy<K, V> {}

#[expect(private_interfaces, reason = "sealed")]
impl<K, V> Named for DictProxy<K, V> {
    type Mark = Dict<K, V>;

    fn remote(&self) -> &Typed<Dict<K, V>> {
        &self.remote
    }

    fn of_typed(remote: Typed<Dict<K, V>>) -> Self {
        Self { remote }
    }
}

/// Shows the first entries, which it asks the server for.
impl<K, V> fmt::Debug for DictProxy<K, V>
where
    K: Serialize + DeserializeOwned + fmt::Debug,
    V: Serialize + DeserializeOwned + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(entries) = self.first(SHOWN + 1) else { return self.remote.debug(f, "DictProxy") };
        let mut map = f.debug_map();
        for (key, value) in entries.iter().take(SHOWN as usize) {
            map.entry(key, value);
        }
        if entries.len() as u64 > SHOWN { map.finish_non_exhaustive() } else { map.finish() }
    }
}
