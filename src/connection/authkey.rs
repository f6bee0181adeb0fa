//! [`AuthKey`]: the secret by which the processes of a program know each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A secret that a program's processes share: 32 random bytes, inherited by children, unless it is set. `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthKey(Vec<u8>);

impl AuthKey {
    /// 32 random bytes of the system's.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn random() -> Result<Self> {
        let mut key = vec![0; 32];
        let mut filled = 0;
        while let Some(rest) = key.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::os("make a random key", errno)),
            }
        }
        Ok(Self(key))
    }

    /// A key of these bytes.
    ///
    /// # Examples
    /// ```
    /// let key = multiproc::AuthKey::new(b"secret");
    /// assert_eq!(format!("{key:?}"), "AuthKey(..)");
    /// ```
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}
