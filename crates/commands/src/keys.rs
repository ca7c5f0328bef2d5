//! Which arguments of a command are keys, from its specifications.

use crate::spec::{Begin, Find, KeyFlags, KeySpec, Spec};

/// How to find the keys on the hot path, decided once at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlan {
    /// It names none.
    None,
    /// Exactly this argument.
    One(u16),
    /// From `first` to `last` (negative: from the end), every `step`.
    Range { first: u16, last: i16, step: u16 },
    /// The arguments must be read: see [`find`].
    Search,
}

impl KeyPlan {
    pub fn of(spec: &Spec) -> KeyPlan {
        match spec.keys {
            // Nothing of the keyspace is looked at under names that are no keys.
            names if names.iter().all(|name| name.flags.contains(KeyFlags::NOT_KEY)) => KeyPlan::None,
            [
                KeySpec {
                    begin: Begin::Index(first), find: Find::Range { last: 0, step: 1, limit: 0 | 1 }, flags, ..
                },
            ] if !flags.contains(KeyFlags::INCOMPLETE) => KeyPlan::One(*first as u16),
            // A key and others right behind it (RENAME, COPY, SUNIONSTORE) are a range as well.
            [
                KeySpec { begin: Begin::Index(first), find: Find::Range { last: 0, step: 1, .. }, .. },
                KeySpec { begin: Begin::Index(second), find: Find::Range { last, step: 1, limit: 0 | 1 }, .. },
            ] if *second == *first + 1 => {
                let last = if *last >= 0 { second + last } else { *last };
                KeyPlan::Range { first: *first as u16, last: last as i16, step: 1 }
            }
            [KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 | 1 }, flags, .. }]
                if !flags.contains(KeyFlags::INCOMPLETE) =>
            {
                let last = if *last >= 0 { first + last } else { *last };
                KeyPlan::Range { first: *first as u16, last: last as i16, step: *step as u16 }
            }
            _ => KeyPlan::Search,
        }
    }
}

/// One key of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAt {
    /// Which argument it is.
    pub index: usize,
    pub flags: KeyFlags,
}

/// The keys that a spec finds in these arguments, in the order of its specifications. `None` where the arguments contradict the
/// specification (a count of keys that is no number, or more keys than arguments): the handler will say what is wrong.
pub fn find(spec: &Spec, args: &[&[u8]]) -> Option<Vec<KeyAt>> {
    if let Some(keys_of_call) = spec.keys_of_call {
        return keys_of_call(args);
    }
    let mut found = Vec::new();
    for key_spec in spec.keys {
        if key_spec.flags.contains(KeyFlags::NOT_KEY) {
            continue;
        }
        let first = found.len();
        find_one(key_spec, args, &mut found)?;
        if key_spec.flags.contains(KeyFlags::VARIABLE_FLAGS)
            && let Some(key_flags) = spec.key_flags
        {
            found[first..].iter_mut().for_each(|key| key.flags = key_flags(args));
        }
    }
    found.extend(spec.key_elsewhere.and_then(|find| find(args)));
    Some(found)
}

fn find_one(spec: &KeySpec, args: &[&[u8]], found: &mut Vec<KeyAt>) -> Option<()> {
    let count = args.len() as i64;
    let begin = match spec.begin {
        Begin::Index(index) => i64::from(index),
        Begin::Keyword { keyword, start_from } => {
            let matches = |index: &usize| args[*index].eq_ignore_ascii_case(keyword.as_bytes());
            let index = if start_from >= 0 {
                (start_from as usize..args.len()).find(matches)
            } else {
                (0..args.len().saturating_sub(start_from.unsigned_abs() as usize - 1)).rev().find(matches)
            };
            // The word is an option: without it there are no such keys.
            match index {
                Some(index) => index as i64 + 1,
                None => return Some(()),
            }
        }
        Begin::Unknown => return Some(()),
    };
    let (first, last, step) = match spec.find {
        Find::Range { last, step, limit } => {
            let last = if last >= 0 {
                begin + i64::from(last)
            } else if limit > 1 {
                begin + (count - begin) / i64::from(limit) - 1
            } else {
                count + i64::from(last)
            };
            (begin, last, i64::from(step))
        }
        Find::KeyNum { keynum_index, first_key, step } => {
            let text = args.get(usize::try_from(begin + i64::from(keynum_index)).ok()?)?;
            let keys: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            if keys < 0 || keys > count {
                return None;
            }
            let first = begin + i64::from(first_key);
            (first, first + (keys - 1) * i64::from(step), i64::from(step))
        }
        Find::Unknown => return Some(()),
    };
    if last >= count {
        return None;
    }
    let mut index = first;
    while index <= last {
        found.push(KeyAt { index: usize::try_from(index).ok()?, flags: spec.flags });
        index += step;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: KeyFlags = KeyFlags::RO;

    fn indexes(keys: &'static [KeySpec], line: &str) -> Option<Vec<usize>> {
        let spec = Spec { keys, ..Spec::NEW };
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Some(find(&spec, &args)?.iter().map(|key| key.index).collect())
    }

    #[test]
    fn ranges_counts_and_words() {
        const ALL: &[KeySpec] = &[KeySpec::range(RO, 1, -1, 2)];
        assert_eq!(indexes(ALL, "MSET a 1 b 2"), Some(vec![1, 3]));
        const NUM: &[KeySpec] = &[KeySpec {
            notes: None,
            flags: RO,
            begin: Begin::Index(1),
            find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 2 },
        }];
        assert_eq!(indexes(NUM, "MSETEX 2 a 1 b 2 EX 5"), Some(vec![2, 4]));
        assert_eq!(indexes(NUM, "MSETEX 9 a 1"), None);
        assert_eq!(indexes(NUM, "MSETEX x a 1"), None);
        const WORD: &[KeySpec] = &[KeySpec {
            notes: None,
            flags: RO,
            begin: Begin::Keyword { keyword: "KEYS", start_from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
        }];
        assert_eq!(indexes(WORD, "MIGRATE h p 0 t keys a b"), Some(vec![6, 7]));
        const HALF: &[KeySpec] = &[KeySpec {
            notes: None,
            flags: RO,
            begin: Begin::Keyword { keyword: "STREAMS", start_from: 1 },
            find: Find::Range { last: -1, step: 1, limit: 2 },
        }];
        assert_eq!(indexes(HALF, "XREAD STREAMS a b 0 0"), Some(vec![2, 3]));
    }
}
