//! The types of keys: how their size is asked for, and what it counts.

/// A type of key, as TYPE names it. Types of modules are added as they are met.
#[derive(Clone, Debug)]
pub struct KeyType {
    pub name: String,
    /// The command that tells how many elements a key has; none for types nobody knows.
    pub size_command: Option<&'static str>,
    /// What it counts.
    pub unit: &'static str,
}

/// The types every server has, in the order in which summaries list them.
pub fn known() -> Vec<KeyType> {
    let known = [
        ("list", "LLEN", "items"),
        ("hash", "HLEN", "fields"),
        ("string", "STRLEN", "bytes"),
        ("stream", "XLEN", "entries"),
        ("set", "SCARD", "members"),
        ("zset", "ZCARD", "members"),
    ];
    known
        .into_iter()
        .map(|(name, command, unit)| KeyType { name: name.to_string(), size_command: Some(command), unit })
        .collect()
}

/// The number of the type in the list, which grows by those that are new.
pub fn find_or_add(types: &mut Vec<KeyType>, name: &str) -> usize {
    if let Some(at) = types.iter().position(|known| known.name == name) {
        return at;
    }
    types.push(KeyType { name: name.to_string(), size_command: None, unit: "?" });
    types.len() - 1
}
