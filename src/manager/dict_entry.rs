//! [`DictEntry`]: an entry of a dictionary on a server, to be changed and filled.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::dict::DictProxy;
use super::error::ManagerError;

/// An entry of a [`DictProxy`], which may not be there: [`DictProxy::entry`].
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let hits = manager.dict::<String, u32>()?;
/// let home = "/".to_owned();
/// let entry = hits.entry(&home);
/// assert_eq!(entry.and_modify(|count| *count += 1).or_insert(1)?, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "nothing happens before `or_insert`, `or_insert_with`, `or_default` or `or_nothing`"]
pub struct DictEntry<'a, K, V, M> {
    dict: &'a DictProxy<K, V>,
    key: &'a K,
    modify: M,
}

impl<'a, K, V, M> DictEntry<'a, K, V, M>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
    M: FnMut(&mut V),
{
    pub(super) fn new(dict: &'a DictProxy<K, V>, key: &'a K, modify: M) -> Self {
        Self { dict, key, modify }
    }

    /// Changes the value, if there is one. It may be called several times, each time with what is there.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// hits.set(&home, &1)?;
    /// assert_eq!(hits.entry(&home).and_modify(|count| *count += 1).or_insert(1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn and_modify(mut self, mut change: impl FnMut(&mut V)) -> DictEntry<'a, K, V, impl FnMut(&mut V)> {
        let modify = move |value: &mut V| {
            (self.modify)(value);
            change(value);
        };
        DictEntry { dict: self.dict, key: self.key, modify }
    }

    /// Sets the value, if there is none; the value afterwards.
    ///
    /// # Errors
    /// As [`DictProxy::update`].
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// assert_eq!(hits.entry(&home).or_insert(1)?, 1);
    /// assert_eq!(hits.entry(&home).or_insert(9)?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn or_insert(self, value: V) -> Result<V, ManagerError>
    where
        V: Clone,
    {
        self.or_insert_with(|| value.clone())
    }

    /// As [`or_insert`](Self::or_insert), with what `make` returns, which may be called several times.
    ///
    /// # Errors
    /// As [`DictProxy::update`].
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// assert_eq!(hits.entry(&home).or_insert_with(|| 6 * 7)?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn or_insert_with(mut self, mut make: impl FnMut() -> V) -> Result<V, ManagerError> {
        let change = |value: Option<V>| match value {
            Some(mut value) => {
                (self.modify)(&mut value);
                Some(value)
            }
            None => Some(make()),
        };
        self.dict.update(self.key, change)?.ok_or_else(|| ManagerError::NotFound("entry".to_owned()))
    }

    /// As [`or_insert`](Self::or_insert), with the type's default.
    ///
    /// # Errors
    /// As [`DictProxy::update`].
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// assert_eq!(hits.entry(&home).or_default()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn or_default(self) -> Result<V, ManagerError>
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Leaves it at the changes; the value afterwards, if there is one.
    ///
    /// # Errors
    /// As [`DictProxy::update`].
    ///
    /// # Process death
    /// As `update`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict::<String, u32>()?;
    /// let home = "/".to_owned();
    /// assert_eq!(hits.entry(&home).and_modify(|count| *count += 1).or_nothing()?, None);
    /// assert!(hits.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn or_nothing(mut self) -> Result<Option<V>, ManagerError> {
        self.dict.update(self.key, |value| {
            value.map(|mut value| {
                (self.modify)(&mut value);
                value
            })
        })
    }
}
