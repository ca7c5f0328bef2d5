//! The scripts that EVALSHA finds.
//!
//! What SCRIPT LOAD has brought stays. What EVAL has brought may go again: programs that write their arguments into the text
//! would otherwise fill the memory. As in Redis, the 500 of these used last are kept.

use std::collections::HashMap;
use std::sync::Arc;

use crate::script::{Script, Sha1};

/// So many scripts that only EVAL has brought are kept.
const EVALUATED_MAX: usize = 500;

/// How long a script stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until SCRIPT FLUSH.
    Loaded,
    /// Until there are too many others.
    Evaluated,
}

#[derive(Debug)]
struct Cached {
    script: Script,
    lifetime: Lifetime,
    used: u64,
}

/// All scripts by name.
#[derive(Debug, Default)]
pub struct Cache {
    scripts: HashMap<Sha1, Cached, foldhash::quality::RandomState>,
    /// The names of all of them by their texts, for EVAL: a name takes far longer to compute than to look up.
    names: HashMap<Arc<[u8]>, Sha1, foldhash::quality::RandomState>,
    evaluated: usize,
    uses: u64,
}

impl Cache {
    /// The script of this name, in any case, which counts as a use.
    pub fn get(&mut self, name: &[u8]) -> Option<&Script> {
        let name = in_lower_case(name)?;
        let cached = self.scripts.get_mut(&name)?;
        self.uses += 1;
        cached.used = self.uses;
        Some(&cached.script)
    }

    /// The script of this text, which counts as a use.
    pub fn get_by_text(&mut self, text: &[u8]) -> Option<&Script> {
        let name = *self.names.get(text)?;
        self.get(&name)
    }

    /// The same for whoever does not run it.
    pub fn peek(&self, name: &[u8]) -> Option<&Script> {
        let name = in_lower_case(name)?;
        self.scripts.get(&name).map(|cached| &cached.script)
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.peek(name).is_some()
    }

    /// Keeps a script. Returns the name of the one that had to go for it.
    pub fn insert(&mut self, script: Script, lifetime: Lifetime) -> Option<Sha1> {
        self.uses += 1;
        let used = self.uses;
        if let Some(known) = self.scripts.get_mut(&script.sha1) {
            known.used = used;
            if lifetime == Lifetime::Loaded && known.lifetime == Lifetime::Evaluated {
                known.lifetime = Lifetime::Loaded;
                self.evaluated -= 1;
            }
            return None;
        }
        let mut gone = None;
        if lifetime == Lifetime::Evaluated {
            if self.evaluated == EVALUATED_MAX {
                let evaluated = self.scripts.iter().filter(|(_, cached)| cached.lifetime == Lifetime::Evaluated);
                gone = evaluated.min_by_key(|(_, cached)| cached.used).map(|(name, _)| *name);
                if let Some(cached) = gone.and_then(|name| self.scripts.remove(&name)) {
                    self.names.remove(&cached.script.text);
                }
            } else {
                self.evaluated += 1;
            }
        }
        self.names.insert(script.text.clone(), script.sha1);
        self.scripts.insert(script.sha1, Cached { script, lifetime, used });
        gone
    }

    pub fn clear(&mut self) {
        *self = Cache::default();
    }

    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Memory of the scripts' texts, and what is known of them.
    pub fn bytes(&self) -> usize {
        let known = size_of::<(Sha1, Cached)>() + size_of::<(Arc<[u8]>, Sha1)>();
        self.scripts.values().map(|cached| known + cached.script.text.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }
}

fn in_lower_case(name: &[u8]) -> Option<Sha1> {
    let mut name = Sha1::try_from(name).ok()?;
    name.make_ascii_lowercase();
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_evaluated_goes_and_what_was_loaded_stays() {
        let mut cache = Cache::default();
        let script = |number: usize| Script::parse(format!("return {number}").as_bytes()).unwrap();
        cache.insert(script(0), Lifetime::Loaded);
        for number in 1..=EVALUATED_MAX {
            assert_eq!(cache.insert(script(number), Lifetime::Evaluated), None);
        }
        assert!(cache.get(&script(1).sha1.to_ascii_uppercase()).is_some());
        assert_eq!(cache.insert(script(1000), Lifetime::Evaluated), Some(script(2).sha1));
        assert!(cache.get_by_text(b"return 2").is_none());
        assert_eq!(cache.get_by_text(b"return 1000").unwrap().sha1, script(1000).sha1);
        assert!(cache.contains(&script(0).sha1) && cache.contains(&script(1).sha1) && !cache.contains(b"2"));
        assert_eq!(cache.insert(script(1), Lifetime::Loaded), None);
        assert_eq!(cache.insert(script(1001), Lifetime::Evaluated), None);
        assert_eq!(cache.len(), EVALUATED_MAX + 2);
    }
}
