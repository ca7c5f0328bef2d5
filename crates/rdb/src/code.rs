//! The bytes that say what follows.

/// What a record's value is. A record begins with this byte, unless an [`opcode`] is before it.
///
/// | code | value | since version |
/// |---|---|---|
/// | 0 | string | 1 |
/// | 1, 2, 4 | list, set, hash: number of elements, elements | 1 |
/// | 3 | sorted set, scores as text | 1 |
/// | 5 | sorted set, scores as doubles | 8 |
/// | 6, 7 | a module's value: never read | 8 |
/// | 9 | hash as zipmap | 2 |
/// | 10, 12, 13 | list, sorted set, hash as ziplist | 2, 4 |
/// | 11 | set as intset | 2 |
/// | 14 | list: a number of ziplists | 7 |
/// | 15, 19, 21 | stream | 9, 10, 11 |
/// | 16, 17, 20 | hash, sorted set, set as listpack | 10, 10, 11 |
/// | 18 | list: a number of listpacks and single elements | 10 |
/// | 22 | hash whose fields expire, as Valkey 9 writes it | 80 |
/// | 22, 23 | the same as Redis wrote it before its release 7.4.0: table and listpack | 12 |
/// | 24, 25 | the same as Redis writes it: table and listpack | 12 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    String = 0,
    List = 1,
    Set = 2,
    SortedSetText = 3,
    Hash = 4,
    SortedSet = 5,
    ModuleOld = 6,
    Module = 7,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    SortedSetZiplist = 12,
    HashZiplist = 13,
    ListZiplists = 14,
    Stream1 = 15,
    HashListpack = 16,
    SortedSetListpack = 17,
    ListListpacks = 18,
    Stream2 = 19,
    SetListpack = 20,
    Stream3 = 21,
    /// Valkey's, or Redis's before the release: the version of the file tells.
    HashExpiring22 = 22,
    HashListpackExpiring23 = 23,
    HashExpiring = 24,
    HashListpackExpiring = 25,
}

impl ValueType {
    pub fn from_code(code: u8) -> Option<ValueType> {
        use ValueType::*;
        const BY_CODE: [Option<ValueType>; 26] = [
            Some(String),
            Some(List),
            Some(Set),
            Some(SortedSetText),
            Some(Hash),
            Some(SortedSet),
            Some(ModuleOld),
            Some(Module),
            None,
            Some(HashZipmap),
            Some(ListZiplist),
            Some(SetIntset),
            Some(SortedSetZiplist),
            Some(HashZiplist),
            Some(ListZiplists),
            Some(Stream1),
            Some(HashListpack),
            Some(SortedSetListpack),
            Some(ListListpacks),
            Some(Stream2),
            Some(SetListpack),
            Some(Stream3),
            Some(HashExpiring22),
            Some(HashListpackExpiring23),
            Some(HashExpiring),
            Some(HashListpackExpiring),
        ];
        BY_CODE.get(usize::from(code)).copied().flatten()
    }

    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Bytes that no type of value has.
pub mod opcode {
    /// Numbers of slots, keys, and keys that expire: a hint of servers in cluster mode.
    pub const SLOT_INFO: u8 = 0xF4;
    /// The code of a library of functions.
    pub const FUNCTION: u8 = 0xF5;
    /// The same as release candidates of Redis 7.0 wrote it.
    pub const FUNCTION_OLD: u8 = 0xF6;
    pub const MODULE_AUX: u8 = 0xF7;
    pub const IDLE: u8 = 0xF8;
    pub const FREQUENCY: u8 = 0xF9;
    pub const AUX: u8 = 0xFA;
    pub const RESIZE_DB: u8 = 0xFB;
    pub const EXPIRE_MS: u8 = 0xFC;
    pub const EXPIRE_SECONDS: u8 = 0xFD;
    pub const SELECT_DB: u8 = 0xFE;
    pub const END: u8 = 0xFF;
}

/// Two bits on top of a length, and what the other six mean.
pub(crate) mod length {
    pub(crate) const BITS_14: u8 = 0x40;
    pub(crate) const BITS_32: u8 = 0x80;
    pub(crate) const BITS_64: u8 = 0x81;
    /// Not a length: a string in another form follows.
    pub(crate) const ENCODED: u8 = 0xC0;
    pub(crate) const INT_8: u8 = ENCODED;
    pub(crate) const INT_16: u8 = ENCODED | 1;
    pub(crate) const INT_32: u8 = ENCODED | 2;
    pub(crate) const LZF: u8 = ENCODED | 3;
}

/// How a node of a [`ValueType::ListListpacks`] is kept.
pub(crate) mod node {
    /// One element, as a string.
    pub(crate) const PLAIN: u64 = 1;
    pub(crate) const PACKED: u64 = 2;
}

/// A module's name as its id has it: nine characters of six bits over ten bits of version.
pub(crate) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|place| char::from(LETTERS[(id >> (58 - 6 * place)) as usize & 63])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_they_say() {
        for code in 0..=u8::MAX {
            if let Some(value_type) = ValueType::from_code(code) {
                assert_eq!(value_type.code(), code);
            }
        }
    }

    /// The id that a file has for RedisJSON's values.
    #[test]
    fn names_of_modules() {
        let id = b"ReJSON-RL".iter().fold(0u64, |id, letter| {
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            id << 6 | letters.iter().position(|other| other == letter).unwrap() as u64
        });
        assert_eq!(module_name(id << 10 | 3), "ReJSON-RL");
    }
}
