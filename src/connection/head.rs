//! [`Head`]: what stands before each message.

/// Bytes of a head.
pub(super) const HEAD: usize = 16;

const VERSION: u8 = 1;
const BYTES: u8 = 1;
const VALUE: u8 = 2;
/// The message goes on in a memory file, the first descriptor of its packet.
const OVERFLOW: u8 = 1;
/// Its descriptors lie in a socket, the last descriptor of its packet.
const LOTS: u8 = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of the caller's.
    Bytes,
    /// An encoded value.
    Value,
}

/// What stands before each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Whether a part of it lies in a memory file.
    pub(super) overflows: bool,
    /// Whether its descriptors lie in a socket.
    pub(super) in_lots: bool,
    /// Its descriptors.
    pub(super) fds: u32,
    /// Its bytes.
    pub(super) len: u64,
}

impl Head {
    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let kind = match self.kind {
            Kind::Bytes => BYTES,
            Kind::Value => VALUE,
        };
        let flags = if self.overflows { OVERFLOW } else { 0 } | if self.in_lots { LOTS } else { 0 };
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&[VERSION, kind, flags, 0]);
        bytes[4..8].copy_from_slice(&self.fds.to_le_bytes());
        bytes[8..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// The head of these bytes, or what is wrong with them.
    pub(super) fn from_bytes(bytes: [u8; HEAD]) -> Result<Self, &'static str> {
        let [version, kind, flags, zero, a, b, c, d, len @ ..] = bytes;
        if version != VERSION {
            return Err("a message of another version");
        }
        let kind = match kind {
            BYTES => Kind::Bytes,
            VALUE => Kind::Value,
            _ => return Err("a message of an unknown kind"),
        };
        if flags & !(OVERFLOW | LOTS) != 0 || zero != 0 {
            return Err("a message with unknown flags");
        }
        Ok(Self {
            kind,
            overflows: flags & OVERFLOW != 0,
            in_lots: flags & LOTS != 0,
            fds: u32::from_le_bytes([a, b, c, d]),
            len: u64::from_le_bytes(len),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_bytes() {
        for flags in 0..4 {
            let head = Head {
                kind: if flags == 0 { Kind::Bytes } else { Kind::Value },
                overflows: flags & 1 != 0,
                in_lots: flags & 2 != 0,
                fds: 0x0102_0304,
                len: 1 << 40,
            };
            assert_eq!(Head::from_bytes(head.to_bytes()), Ok(head));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let head = Head { kind: Kind::Value, overflows: true, in_lots: false, fds: 3, len: 0x1_0000 };
        assert_eq!(head.to_bytes(), [1, 2, 1, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = Head { kind: Kind::Bytes, overflows: false, in_lots: false, fds: 0, len: 0 }.to_bytes();
        for (at, byte) in [(0, 0), (0, 2), (1, 0), (1, 3), (2, 4), (2, 0x80), (3, 1)] {
            let mut bytes = good;
            bytes[at] = byte;
            assert!(Head::from_bytes(bytes).is_err(), "byte {at} is {byte}");
        }
    }
}
