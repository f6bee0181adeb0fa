//! `#[derive(Share)]` for the crate `multiproc`, which re-exports it under its feature `derive`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Ident, Path, Result, parse_quote};

mod hash;
mod refused;

/// Implements `multiproc::Share` for a `repr(C)` structure whose fields are all `Share`.
///
/// `LAYOUT` becomes a hash of the names of the fields and of their types as they are written: two programs that share
/// the structure spell them alike. Renaming the dependency takes `#[share(crate = other_name)]`.
///
/// # Errors
/// These don't compile, with a message that says why: enums and unions; structures that are not `repr(C)`, are packed,
/// borrow, or implement `Drop`; fields that are not `Share`.
///
/// # Examples
/// ```
/// use multiproc::{Share, raw::RawMutex};
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(Share)]
/// #[repr(C)]
/// struct Counters {
///     mutex: RawMutex,
///     requests: [AtomicU64; 4],
/// }
/// assert_ne!(Counters::LAYOUT, 0);
/// ```
/// ```compile_fail
/// #[derive(multiproc::Share)]
/// #[repr(C)]
/// struct Counters {
///     requests: u64, // another process may write it while it is read
/// }
/// ```
#[proc_macro_derive(Share, attributes(share))]
pub fn derive_share(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    share(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn share(input: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(input)?;
    refused::check_repr(&input.ident, &input.attrs)?;
    let types = || fields.iter().map(|field| &field.ty);
    all(types().map(refused::check_type))?;

    let library = library(input)?;
    let mut generics = input.generics.clone();
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) => return Err(refused::borrowed(lifetime)),
            GenericParam::Type(ty) => {
                let name = &ty.ident;
                generics.make_where_clause().predicates.push(parse_quote!(#name: #library::Share));
            }
            GenericParam::Const(_) => {}
        }
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();

    let name = &input.ident;
    let hash = hash_of(fields);
    // What asks for a field's layout is what demands that its type is `Share`: at the field, in the error message.
    let layouts = types().map(|ty| quote_spanned!(ty.span()=> <#ty as #library::Share>::LAYOUT));
    Ok(quote! {
        const _: () = {
            // FNV-1a, of 32 bits.
            const fn combined(mut hash: u32, layouts: &[u32]) -> u32 {
                let mut at = 0;
                while at < layouts.len() * 4 {
                    let byte = layouts[at / 4].to_le_bytes()[at % 4];
                    hash = (hash ^ byte as u32).wrapping_mul(0x0100_0193);
                    at += 1;
                }
                hash
            }

            trait SharedTypesMustNotImplementDrop {}
            #[allow(drop_bounds)]
            impl<T: ?::core::marker::Sized + ::core::ops::Drop> SharedTypesMustNotImplementDrop for T {}
            #[automatically_derived]
            impl #parameters SharedTypesMustNotImplementDrop for #name #arguments #bounds {}

            // SAFETY: `repr(C)`, without `Drop`, and every field is `Share`: each of that is checked here.
            #[automatically_derived]
            unsafe impl #parameters #library::Share for #name #arguments #bounds {
                const LAYOUT: u32 = combined(#hash, &[#(#layouts),*]);
            }
        };
    })
}

/// The fields of a structure.
fn fields(input: &DeriveInput) -> Result<&Fields> {
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(data) => Err(refused::because(
            data.enum_token,
            "an enum can't be shared: another process may write a number that no variant has. \
             Share an atomic integer, and check what is read from it",
        )),
        Data::Union(data) => Err(refused::because(
            data.union_token,
            "a union can't be shared: which of its fields is valid would be up to another process. \
             Share atomic integers",
        )),
    }
}

/// Where the library is: `::multiproc`, or what `#[share(crate = path)]` says.
fn library(input: &DeriveInput) -> Result<Path> {
    let mut library: Path = parse_quote!(::multiproc);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("share")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("expected `crate = path`: where the library `multiproc` is"));
            }
            library = meta.value()?.call(Path::parse_mod_style)?;
            Ok(())
        })?;
    }
    Ok(library)
}

/// Of the names and the types of the fields, as they are written.
fn hash_of(fields: &Fields) -> u32 {
    let written = fields.iter().enumerate().fold(String::new(), |mut written, (index, field)| {
        written.push_str(&field.ident.as_ref().map_or_else(|| index.to_string(), Ident::to_string));
        written.push(':');
        hash::spell(field.ty.to_token_stream(), &mut written);
        written.push(';');
        written
    });
    hash::fnv1a(written.as_bytes())
}

/// All errors together.
fn all(results: impl Iterator<Item = Result<()>>) -> Result<()> {
    let combined = results.filter_map(Result::err).reduce(|mut all, error| {
        all.combine(error);
        all
    });
    combined.map_or(Ok(()), Err)
}
