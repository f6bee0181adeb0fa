//! [`AuthKey`]: the secret by which the processes of a program know each other.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::nonce;
use crate::Result;

/// A secret that a program's processes share: 32 random bytes, inherited by children, unless it is set. `Debug` does not
/// show it, and comparing two takes the same time whatever they are.
///
/// # Examples
/// ```
/// use multiproc::AuthKey;
/// let key = AuthKey::new(*b"a secret that both ends know");
/// assert_eq!(key, AuthKey::new(key.as_bytes()));
/// assert!(!format!("{key:?}").contains("secret"));
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct AuthKey(Vec<u8>);

impl AuthKey {
    /// 32 random bytes of the system's.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os).
    ///
    /// # Examples
    /// ```
    /// use multiproc::AuthKey;
    /// let key = AuthKey::random()?;
    /// assert_eq!(key.as_bytes().len(), 32);
    /// assert_ne!(key, AuthKey::random()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn random() -> Result<Self> {
        nonce::random::<32>().map(Self::new)
    }

    /// A key of these bytes.
    ///
    /// # Examples
    /// ```
    /// let key = multiproc::AuthKey::new(b"secret");
    /// assert_eq!(format!("{key:?}"), "AuthKey(..)");
    /// assert!(key == multiproc::AuthKey::new(b"secret") && key != multiproc::AuthKey::new(b"other"));
    /// ```
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::AuthKey::new(*b"secret").as_bytes(), b"secret");
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// An authenticator of `parts`, one after the other, by this key: HMAC-SHA256.
    pub(super) fn authenticator(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

/// In a time that does not depend on the bytes.
impl PartialEq for AuthKey {
    fn eq(&self, other: &Self) -> bool {
        let own = self.authenticator(&[]).finalize().into_bytes();
        other.authenticator(&[]).verify(&own).is_ok()
    }
}

impl Eq for AuthKey {}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}
