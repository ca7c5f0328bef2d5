//! Versions of the format, and what each can hold.

use keyspace::{Collection, Object, ValueRef};

/// The number in a file's header and at the end of a payload.
///
/// | version | written by | new in it |
/// |---|---|---|
/// | 1 to 9 | Redis up to 6.2 | see [`ValueType`](crate::ValueType) |
/// | 10 | Redis 7.0 | listpacks of hashes, sorted sets and lists; streams that know what was deleted; functions |
/// | 11 | Redis 7.2, Valkey 7.2 and 8 | listpacks of sets; when a consumer last got something |
/// | 12 | Redis 7.4 to 8.2 | fields that expire |
/// | 80 | Valkey 9 | fields that expire, in another form |
///
/// Observed: a server refuses files and payloads of a later version than its own. Valkey 9.1 takes up to 11, and 80, whose files begin
/// with `VALKEY080`; Redis 8.2 takes up to 12, and no payload of 80.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u16);

/// Whose servers are to read what is written. They differ in hashes whose fields expire, which neither reads in the other's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Redis 7.4 to 8.2.
    #[default]
    Redis,
    /// Valkey 9.
    Valkey,
}

impl Family {
    /// The version that has fields that expire.
    pub fn version_with_expiring_fields(self) -> Version {
        match self {
            Family::Redis => Version::REDIS_7_4,
            Family::Valkey => Version::VALKEY_9,
        }
    }
}

impl Version {
    pub const REDIS_7_0: Version = Version(10);
    pub const REDIS_7_2: Version = Version(11);
    pub const REDIS_7_4: Version = Version(12);
    pub const VALKEY_9: Version = Version(80);

    /// The one that holds everything and that Redis 8.2 reads.
    pub const LATEST: Version = Version::REDIS_7_4;

    /// A version that can be read.
    pub fn known(number: u64) -> Option<Version> {
        matches!(number, 1..=12 | 80).then_some(Version(number as u16))
    }

    pub fn number(self) -> u16 {
        self.0
    }

    pub fn is_valkey(self) -> bool {
        self == Version::VALKEY_9
    }

    /// Whether a set's listpack may be written.
    pub fn has_set_listpacks(self) -> bool {
        self.0 >= Version::REDIS_7_2.0
    }

    /// Whether it is written when a consumer last got something.
    pub fn has_consumer_activity(self) -> bool {
        self.0 >= Version::REDIS_7_2.0
    }

    /// Whether the file ends with a checksum.
    pub fn has_checksum(self) -> bool {
        self.0 >= 5
    }

    /// The oldest version that holds all of a value. O(1) but for streams with consumers, whose consumers are looked at.
    pub fn needed_by(value: &ValueRef<'_>, family: Family) -> Version {
        let ValueRef::Object(object) = value else { return Version::REDIS_7_0 };
        match &**object {
            Object::Hash(hash) if hash.earliest_expiry().is_some() => family.version_with_expiring_fields(),
            Object::Stream(stream) => {
                let mut consumers = stream.groups.iter().flat_map(|(_, group)| group.consumers());
                match consumers.any(|consumer| consumer.active_at_ms != Some(consumer.seen_at_ms)) {
                    true => Version::REDIS_7_2,
                    false => Version::REDIS_7_0,
                }
            }
            _ => Version::REDIS_7_0,
        }
    }

    /// The later one. Valkey's is taken to be later than all others.
    pub fn max(self, other: Version) -> Version {
        Version(self.0.max(other.0))
    }
}
