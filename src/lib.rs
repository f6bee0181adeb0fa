
mod error;
mod sys;
#[cfg(feature = "serde")]
mod transfer;

pub use error::{Error, Result};
