//! Layer 0: what an element can be: C types by their codes, and numbers that are not yet of one.

mod c_char;
mod c_long;
mod c_type;
mod c_ulong;
mod number;
mod out_of_range;
mod type_code;
mod w_char;

pub use c_char::CChar;
pub use c_long::CLong;
pub use c_type::CType;
pub use c_ulong::CULong;
pub(crate) use number::ElementBytes;
pub use number::Number;
pub use out_of_range::OutOfRange;
pub use type_code::{TypeCode, UnknownTypeCode};
pub use w_char::WChar;
