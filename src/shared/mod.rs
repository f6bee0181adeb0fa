//! Layer 3: plain data that processes share.

mod array;
mod array_error;
mod array_guard;
mod array_iter;
mod value;
mod value_guard;

pub use array::Array;
pub use array_error::ArrayError;
pub use array_guard::ArrayGuard;
pub use array_iter::ArrayIter;
pub use value::Value;
pub use value_guard::ValueGuard;
