//! A hash of tokens that no compiler's way of printing them changes.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each token, one space after it. What a macro put invisible brackets around is spelled as if written by hand.
pub(crate) fn spell(tokens: TokenStream, written: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("( ", ") "),
                    Delimiter::Brace => ("{ ", "} "),
                    Delimiter::Bracket => ("[ ", "] "),
                    Delimiter::None => ("", ""),
                };
                written.push_str(open);
                spell(group.stream(), written);
                written.push_str(close);
            }
            token => {
                written.push_str(&token.to_string());
                written.push(' ');
            }
        }
    }
}

/// FNV-1a, of 32 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the test suite of the FNV reference implementation.
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn spaces_between_tokens_do_not_matter() {
        let spelled = |source: &str| {
            let mut written = String::new();
            spell(source.parse().unwrap(), &mut written);
            written
        };
        assert_eq!(spelled("[ a :: B<C> ;4]"), spelled("[a::B < C >; 4]"));
        assert_eq!(spelled("[a::B<C>; 4]"), "[ a : : B < C > ; 4 ] ");
    }
}
