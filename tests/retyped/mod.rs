//! A handle that is sent as one type and received as another.

use std::time::Duration;

use multiproc::Process;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longer than anything takes that works, on a loaded machine too.
const SOON: Duration = Duration::from_secs(20);

/// A `T` to who sends it and a `U` to who receives it.
pub(crate) enum Retyped<T, U> {
    Sent(T),
    Received(U),
}

impl<T: Serialize, U> Serialize for Retyped<T, U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sent(value) => value.serialize(serializer),
            Self::Received(_) => Err(serde::ser::Error::custom("received")),
        }
    }
}

impl<'de, T, U: DeserializeOwned> Deserialize<'de> for Retyped<T, U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        U::deserialize(deserializer).map(Self::Received)
    }
}

/// Runs `f` on a `U` in another process, which is sent it as a `T`.
pub(crate) fn receive_as<T, U>(sent: T, f: fn(Retyped<T, U>)) -> Result<(), String>
where
    T: Serialize + DeserializeOwned,
    U: Serialize + DeserializeOwned,
{
    let mut process = Process::spawn(f, Retyped::Sent(sent)).map_err(|error| error.to_string())?;
    process.join_timeout(SOON).map_err(|error| error.to_string())
}

pub(crate) fn received<T, U>(retyped: Retyped<T, U>) -> U {
    match retyped {
        Retyped::Received(value) => value,
        Retyped::Sent(_) => panic!("it did not travel"),
    }
}

/// For [`receive_as`]: receives it, and no more.
pub(crate) fn accept<T, U>(retyped: Retyped<T, U>) {
    drop(received(retyped));
}
