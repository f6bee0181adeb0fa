//! What can't be shared, and why not.

use quote::ToTokens;
use syn::{Attribute, Error, Ident, LifetimeParam, Result, Type};

/// An error at `tokens`.
pub(crate) fn because(tokens: impl ToTokens, why: &str) -> Error {
    Error::new_spanned(tokens, why)
}

/// Why a structure with a lifetime is refused.
pub(crate) fn borrowed(lifetime: &LifetimeParam) -> Error {
    because(lifetime, "a shared structure can't borrow: what it refers to lies in the memory of one process")
}

/// # Errors
/// What is not `repr(C)`, or packed.
pub(crate) fn check_repr(name: &Ident, attributes: &[Attribute]) -> Result<()> {
    let mut is_c = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            is_c |= meta.path.is_ident("C");
            if meta.path.is_ident("packed") {
                return Err(meta.error("a packed structure can't be shared: atomics have to be aligned"));
            }
            // `align(64)`: the compiler has checked what is in the parentheses.
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<proc_macro2::TokenStream>()?;
            }
            Ok(())
        })?;
    }
    if is_c {
        return Ok(());
    }
    Err(because(
        name,
        "a shared structure needs `#[repr(C)]`: without it another program may have its fields in another order",
    ))
}

/// Refuses types that are recognised as they are written. Others are refused where they are not `Share`.
///
/// # Errors
/// The first such type.
pub(crate) fn check_type(ty: &Type) -> Result<()> {
    match ty {
        Type::Ptr(_) => {
            Err(because(ty, "a pointer can't be shared: its address means nothing in another process"))
        }
        Type::Reference(_) => {
            Err(because(ty, "a reference can't be shared: its address means nothing in another process"))
        }
        Type::BareFn(_) => {
            Err(because(ty, "a function pointer can't be shared: functions lie elsewhere in another process"))
        }
        Type::Array(array) => check_type(&array.elem),
        Type::Paren(inner) => check_type(&inner.elem),
        Type::Group(inner) => check_type(&inner.elem),
        Type::Tuple(_) => {
            Err(because(ty, "a tuple can't be shared: it has no fixed layout. Use a `repr(C)` structure"))
        }
        Type::Path(path) => {
            let why = path.path.segments.last().and_then(|segment| why_not(&segment.ident.to_string()));
            why.map_or(Ok(()), |why| Err(because(ty, why)))
        }
        _ => Ok(()),
    }
}

/// Why a type of this name can't be shared, if it is known.
fn why_not(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => {
            "a `bool` can't be shared: another process may write a byte that is neither `false` nor `true`. \
             Use `AtomicU8` or `RawEvent`"
        }
        "char" => {
            "a `char` can't be shared: another process may write a number that is no character. Use `AtomicU32`"
        }
        "usize" | "isize" | "AtomicUsize" | "AtomicIsize" => {
            "its width differs between programs. Use an atomic of fixed width, such as `AtomicU64`"
        }
        "AtomicBool" => {
            "an `AtomicBool` can't be shared: another process may write a byte that is neither `false` nor `true`. \
             Use `AtomicU8`"
        }
        "Box" | "String" | "Vec" | "Rc" | "Arc" | "AtomicPtr" | "NonNull" => {
            "this points to memory of one process: its address means nothing in another. Share the bytes themselves, \
             in an array of atomics or a `multiproc::Array`"
        }
        _ => return None,
    })
}
