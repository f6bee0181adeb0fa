//! Layer 3: plain data that processes share.

mod array;
mod array_error;
mod array_guard;
mod array_iter;
mod array_memory;
mod cell;
mod claim;
mod dyn_array;
mod dyn_array_guard;
mod dyn_error;
mod dyn_value;
mod dyn_value_guard;
mod hold;
#[cfg(feature = "inspect")]
mod look;
mod raw_array;
mod raw_integer;
mod raw_value;
#[cfg(feature = "serde")]
mod reference;
mod span;
mod unlocked;
mod value;
mod value_guard;
mod value_memory;

pub use array::Array;
pub use array_error::ArrayError;
pub use array_guard::ArrayGuard;
pub use array_iter::ArrayIter;
pub use dyn_array::DynArray;
pub use dyn_array_guard::DynArrayGuard;
pub use dyn_error::DynError;
pub use dyn_value::DynValue;
pub use dyn_value_guard::DynValueGuard;
pub use raw_array::RawArray;
pub use raw_integer::RawInteger;
pub use raw_value::RawValue;
pub use value::Value;
pub use value_guard::ValueGuard;

#[cfg(feature = "inspect")]
pub(crate) use look::look;
