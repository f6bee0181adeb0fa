//! [`ListenerOptions`]: how a listener is made.

use std::time::Duration;

use super::address::Address;
use super::authkey::AuthKey;
use super::doorkeeper::HANDSHAKE;
use super::listener::Listener;
use crate::Result;

/// What a new listener is like.
///
/// # Examples
/// ```
/// use multiproc::{Address, AuthKey, Listener};
/// use std::time::Duration;
/// let options = Listener::options().authkey(AuthKey::random()?).handshake_timeout(Duration::from_secs(1));
/// let listener = options.bind(Address::Abstract("multiproc-options".to_owned()))?;
/// assert_eq!(listener.address().to_string(), "abstract:multiproc-options");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make nothing by themselves"]
pub struct ListenerOptions {
    pub(super) key: Option<AuthKey>,
    pub(super) handshake_timeout: Duration,
}

impl ListenerOptions {
    /// Those of a listener without a key.
    pub(super) fn new() -> Self {
        Self { key: None, handshake_timeout: HANDSHAKE }
    }

    /// Only clients that have this key get in, and they know that this is who has it. Default: anybody.
    pub fn authkey(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How long a client may take for its handshake, from when it is let in. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Listens at `address`.
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    ///
    /// # Process death
    /// As for `Listener::bind`.
    pub fn bind(self, address: Address) -> Result<Listener> {
        Listener::with_options(address, self)
    }
}
