//! Requests, encoded once; for each sending only the digits of their placeholders are written anew.
//!
//! A command whose arguments all keep their length is one piece of bytes with places to patch. An argument whose length
//! changes (values of several sizes, fields of a data set) is built for each sending:
//!
//! ```text
//!   SET key:__rand_int__ __data__        *3 $3 SET $16 key:000000000000   $5 VXKeH
//!                                        └────────── Bytes ─┬─────────┘   └ Built ┘   (Bytes too, if -d is one number)
//!                                                           patch: 12 digits
//! ```

use std::sync::Arc;

use crate::choose::{Chooser, SAME_PLACEHOLDERS};
use crate::dataset::Dataset;

/// All number placeholders and their replacements are so long.
const NUMBER_LEN: usize = 12;
/// Numbers that fit.
pub const NUMBERS_MAX: u64 = 1_000_000_000_000;

const RANDOM: &[u8; NUMBER_LEN] = b"__rand_int__";
const SAME: [&[u8; NUMBER_LEN]; SAME_PLACEHOLDERS] = [
    b"__rand_1st__",
    b"__rand_2nd__",
    b"__rand_3rd__",
    b"__rand_4th__",
    b"__rand_5th__",
    b"__rand_6th__",
    b"__rand_7th__",
    b"__rand_8th__",
    b"__rand_9th__",
];
const DATA: &[u8] = b"__data__";
const FIELD: &[u8] = b"__field:";
const FIELD_END: &[u8] = b"__";
/// The braces stay: they are what makes the text between them decide the slot.
const TAG: &[u8] = b"{tag}";

/// Text that the cluster's tag is replaced with; its slot belongs to the connection's node.
pub type Tag = [u8; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patch {
    Random,
    Same(u8),
    Tag,
}

/// Bytes with places to patch, by ascending offset.
#[derive(Clone, Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    patches: Vec<(u32, Patch)>,
}

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Bytes),
    Value,
    Field(usize),
}

#[derive(Clone, Debug)]
enum Part {
    Bytes(Bytes),
    Built(Vec<Piece>),
}

/// What of the options decides how placeholders are read.
#[derive(Clone)]
pub struct Placeholders {
    /// `-r` was given. Without it Redis's tools send the placeholder itself.
    pub numbers: bool,
    /// `--cluster`.
    pub tags: bool,
    /// The one size of values, if there is one.
    pub value: Option<Arc<Vec<u8>>>,
    pub dataset: Option<Arc<Dataset>>,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    dataset: Option<Arc<Dataset>>,
}

impl Template {
    /// A command from its arguments. Fails if a placeholder names a field that the data set has not.
    pub fn compile<A: AsRef<[u8]>>(arguments: &[A], placeholders: &Placeholders) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut fixed = Bytes { bytes: format!("*{}\r\n", arguments.len()).into_bytes(), patches: Vec::new() };
        for argument in arguments {
            let mut pieces = split(argument.as_ref(), placeholders)?;
            if let [Piece::Bytes(_)] | [] = pieces[..] {
                let piece = match pieces.pop() {
                    Some(Piece::Bytes(piece)) => piece,
                    _ => Bytes::default(),
                };
                fixed.bytes.extend_from_slice(format!("${}\r\n", piece.bytes.len()).as_bytes());
                fixed.append(&piece);
                fixed.bytes.extend_from_slice(b"\r\n");
            } else {
                parts.push(Part::Bytes(std::mem::take(&mut fixed)));
                parts.push(Part::Built(pieces));
            }
        }
        if !fixed.bytes.is_empty() {
            parts.push(Part::Bytes(fixed));
        }
        Ok(Template { parts, dataset: placeholders.dataset.clone() })
    }

    /// Bytes to send as they are (an inline command).
    pub fn raw(bytes: &[u8]) -> Template {
        Template { parts: vec![Part::Bytes(Bytes { bytes: bytes.to_vec(), patches: Vec::new() })], dataset: None }
    }

    fn append(&self, out: &mut Vec<u8>, chooser: &mut Chooser, tag: &Tag) {
        chooser.next_command();
        // One command tells of one record.
        let mut record = None;
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => bytes.append_to(out, chooser, tag),
                Part::Built(pieces) => {
                    // The header's length is known last: the argument is built behind it and the header moved before.
                    let header_at = out.len();
                    for piece in pieces {
                        match piece {
                            Piece::Bytes(bytes) => bytes.append_to(out, chooser, tag),
                            Piece::Value => {
                                let bytes = chooser.value_size();
                                out.extend_from_slice(chooser.value(bytes));
                            }
                            Piece::Field(field) => {
                                let dataset = self.dataset.as_ref().expect("compiled with it");
                                let record = *record.get_or_insert_with(|| chooser.record());
                                out.extend_from_slice(dataset.field(record, *field));
                            }
                        }
                    }
                    let mut number = itoa::Buffer::new();
                    let digits = number.format(out.len() - header_at).as_bytes();
                    let header_len = digits.len() + 3;
                    out.extend_from_slice(&[0; 23][..header_len]);
                    let end = out.len();
                    out.copy_within(header_at..end - header_len, header_at + header_len);
                    out[header_at] = b'$';
                    out[header_at + 1..header_at + 1 + digits.len()].copy_from_slice(digits);
                    out[header_at + 1 + digits.len()..header_at + header_len].copy_from_slice(b"\r\n");
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    /// Its bytes, if it has only places to patch.
    fn fixed(&self) -> Option<&Bytes> {
        match &self.parts[..] {
            [Part::Bytes(bytes)] => Some(bytes),
            _ => None,
        }
    }
}

impl Bytes {
    fn append(&mut self, other: &Bytes) {
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.patches.extend(other.patches.iter().map(|&(offset, patch)| (base + offset, patch)));
    }

    fn append_to(&self, out: &mut Vec<u8>, chooser: &mut Chooser, tag: &Tag) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        self.patch(&mut out[start..], chooser, tag);
    }

    fn patch(&self, bytes: &mut [u8], chooser: &mut Chooser, tag: &Tag) {
        for &(offset, patch) in &self.patches {
            let place = &mut bytes[offset as usize..];
            match patch {
                Patch::Random => write_number(&mut place[..NUMBER_LEN], chooser.number()),
                Patch::Same(index) => {
                    let number = chooser.same_number(usize::from(index));
                    write_number(&mut place[..NUMBER_LEN], number);
                }
                Patch::Tag => place[..tag.len()].copy_from_slice(tag),
            }
        }
    }
}

/// Writes a number with leading zeros.
fn write_number(place: &mut [u8], mut number: u64) {
    for pair in place.rchunks_exact_mut(2) {
        let two = (number % 100) as u8;
        number /= 100;
        pair[0] = b'0' + two / 10;
        pair[1] = b'0' + two % 10;
    }
}

/// Cuts an argument at its placeholders. Neighbours of constant length stay together.
fn split(argument: &[u8], placeholders: &Placeholders) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut bytes = Bytes::default();
    let mut rest = argument;
    while let Some(&first) = rest.first() {
        let number = |name: &[u8; NUMBER_LEN]| placeholders.numbers && rest.starts_with(name);
        let patch = if first == b'_' && number(RANDOM) {
            Some(Patch::Random)
        } else if first == b'_' {
            SAME.iter().position(|name| number(name)).map(|index| Patch::Same(index as u8))
        } else {
            None
        };
        if let Some(patch) = patch {
            bytes.patches.push((bytes.bytes.len() as u32, patch));
            bytes.bytes.extend_from_slice(&[b'0'; NUMBER_LEN]);
            rest = &rest[NUMBER_LEN..];
        } else if placeholders.tags && rest.starts_with(TAG) {
            bytes.patches.push((bytes.bytes.len() as u32 + 1, Patch::Tag));
            bytes.bytes.extend_from_slice(TAG);
            rest = &rest[TAG.len()..];
        } else if rest.starts_with(DATA) {
            match &placeholders.value {
                Some(value) => bytes.bytes.extend_from_slice(value),
                None => {
                    pieces.extend((!bytes.bytes.is_empty()).then(|| Piece::Bytes(std::mem::take(&mut bytes))));
                    pieces.push(Piece::Value);
                }
            }
            rest = &rest[DATA.len()..];
        } else if let Some((dataset, name)) = placeholders.dataset.as_ref().zip(field_name(rest)) {
            let Some(field) = dataset.field_index(name) else {
                let known = dataset.field_names().join(", ");
                return Err(format!("the data set has no field '{}' (it has {known})", name.escape_ascii()));
            };
            pieces.extend((!bytes.bytes.is_empty()).then(|| Piece::Bytes(std::mem::take(&mut bytes))));
            pieces.push(Piece::Field(field));
            rest = &rest[FIELD.len() + name.len() + FIELD_END.len()..];
        } else {
            bytes.bytes.push(first);
            rest = &rest[1..];
        }
    }
    pieces.extend((!bytes.bytes.is_empty()).then_some(Piece::Bytes(bytes)));
    Ok(pieces)
}

/// `name` of `__field:name__…`.
fn field_name(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(FIELD)?;
    let end = rest.windows(FIELD_END.len()).position(|window| window == FIELD_END)?;
    Some(&rest[..end])
}

/// What a test sends: units of one or more commands.
#[derive(Clone, Debug)]
pub struct Workload {
    templates: Vec<Template>,
    /// `--mix`: a unit is one command, drawn by these cumulated weights. Otherwise a unit is all of them in order.
    cumulated_weights: Option<Vec<u64>>,
    /// The whole unit as one piece, where nothing in it changes its length.
    fixed: Option<Bytes>,
}

impl Workload {
    /// All commands in order, each so many times.
    pub fn sequence(commands: Vec<(u64, Template)>) -> Workload {
        let templates: Vec<Template> = commands
            .into_iter()
            .flat_map(|(times, template)| std::iter::repeat_n(template, usize::try_from(times).expect("bounded")))
            .collect();
        // A placeholder that is the same within a command must not be so within the unit.
        let same = |bytes: &Bytes| bytes.patches.iter().any(|(_, patch)| matches!(patch, Patch::Same(_)));
        let pieces: Option<Vec<&Bytes>> = templates.iter().map(Template::fixed).collect();
        let fixed =
            pieces.filter(|pieces| pieces.len() == 1 || !pieces.iter().any(|piece| same(piece))).map(|pieces| {
                let mut unit = Bytes::default();
                pieces.into_iter().for_each(|piece| unit.append(piece));
                unit
            });
        Workload { templates, cumulated_weights: None, fixed }
    }

    /// One of the commands at a time, drawn by weight.
    pub fn mix(commands: Vec<(u64, Template)>) -> Workload {
        let mut total = 0;
        let cumulated = commands
            .iter()
            .map(|(weight, _)| {
                total += weight;
                total
            })
            .collect();
        let templates = commands.into_iter().map(|(_, template)| template).collect();
        Workload { templates, cumulated_weights: Some(cumulated), fixed: None }
    }

    /// Bytes of a unit, if it always has as many.
    pub fn fixed_len(&self) -> Option<usize> {
        let commands = self.templates.iter().map(|command| Some(command.fixed()?.bytes.len()));
        if self.cumulated_weights.is_some() { None } else { commands.sum() }
    }

    /// How many commands, and thus replies, a unit has.
    pub fn commands_per_unit(&self) -> u32 {
        if self.cumulated_weights.is_some() { 1 } else { self.templates.len() as u32 }
    }
}

/// The bytes of the batch about to be sent. One a worker: a socket nearly always takes all of it at once.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// So many fixed units are in it already and need only patching.
    fixed_units: u32,
}

impl Batch {
    /// So many units, ready to send.
    pub fn fill(&mut self, workload: &Workload, units: u32, chooser: &mut Chooser, tag: &Tag) -> &[u8] {
        if let Some(unit) = &workload.fixed {
            let unit_len = unit.bytes.len();
            while self.fixed_units < units {
                self.bytes.extend_from_slice(&unit.bytes);
                self.fixed_units += 1;
            }
            let batch = &mut self.bytes[..unit_len * units as usize];
            if !unit.patches.is_empty() {
                for bytes in batch.chunks_exact_mut(unit_len) {
                    chooser.next_command();
                    unit.patch(bytes, chooser, tag);
                }
            }
            return batch;
        }
        self.bytes.clear();
        for _ in 0..units {
            match &workload.cumulated_weights {
                Some(weights) => {
                    let index = chooser.weighted(weights);
                    workload.templates[index].append(&mut self.bytes, chooser, tag);
                }
                None => workload.templates.iter().for_each(|command| command.append(&mut self.bytes, chooser, tag)),
            }
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::{Choices, KeyOrder, Sizes, payload};

    fn chooser(sizes: Sizes) -> Chooser {
        let payload = Arc::new(payload(sizes.max()));
        let order = KeyOrder::Sequential;
        let choices = Choices { keyspace: Some(300), order, sizes, records: 2, counters: Arc::default(), payload };
        Chooser::new(&choices, 1)
    }

    fn placeholders() -> Placeholders {
        Placeholders { numbers: true, tags: false, value: Some(Arc::new(b"VXK".to_vec())), dataset: None }
    }

    fn sent(workload: &Workload, units: u32, chooser: &mut Chooser) -> String {
        let mut batch = Batch::default();
        String::from_utf8(batch.fill(workload, units, chooser, b"tag").to_vec()).expect("text").replace("\r\n", " ")
    }

    fn template(words: &str, placeholders: &Placeholders) -> Template {
        Template::compile(&words.split(' ').collect::<Vec<_>>(), placeholders).expect("compiles")
    }

    #[test]
    fn each_rand_int_is_another_number_and_each_rand_1st_the_same() {
        let workload = Workload::sequence(vec![(1, template("set k__rand_int__ v__rand_int__", &placeholders()))]);
        let mut numbers = chooser(Sizes::Fixed(3));
        assert_eq!(
            sent(&workload, 2, &mut numbers),
            "*3 $3 set $13 k000000000000 $13 v000000000001 *3 $3 set $13 k000000000002 $13 v000000000003 "
        );
        let workload = Workload::sequence(vec![(2, template("set k__rand_1st__ v__rand_1st__", &placeholders()))]);
        assert_eq!(
            sent(&workload, 1, &mut numbers),
            "*3 $3 set $13 k000000000000 $13 v000000000000 *3 $3 set $13 k000000000001 $13 v000000000001 "
        );
    }

    #[test]
    fn without_numbers_the_placeholder_is_sent_as_it_is() {
        let workload = Workload::sequence(vec![(
            1,
            template("get key{tag}:__rand_int__", &Placeholders { numbers: false, tags: true, ..placeholders() }),
        )]);
        assert_eq!(sent(&workload, 1, &mut chooser(Sizes::Fixed(3))), "*2 $3 get $21 key{tag}:__rand_int__ ");
        let mut batch = Batch::default();
        let bytes = batch.fill(&workload, 1, &mut chooser(Sizes::Fixed(3)), b"06S").to_vec();
        assert!(bytes.windows(8).any(|window| window == b"key{06S}"));
    }

    #[test]
    fn data_of_one_size_is_part_of_the_template_and_of_many_is_built() {
        let workload = Workload::sequence(vec![(1, template("set k a__data__b", &placeholders()))]);
        assert!(workload.fixed.is_some());
        assert_eq!(sent(&workload, 1, &mut chooser(Sizes::Fixed(3))), "*3 $3 set $1 k $5 aVXKb ");
        let many = Placeholders { value: None, ..placeholders() };
        let workload = Workload::sequence(vec![(1, template("set k a__data__b end", &many))]);
        assert_eq!(sent(&workload, 1, &mut chooser(Sizes::Uniform(10, 10))), "*4 $3 set $1 k $12 aVXKeHogKgJb $3 end ");
    }

    #[test]
    fn records_fill_fields_one_record_a_command() {
        let dataset = Arc::new(Dataset::parse(b"id,name\n1,\"a, b\"\n22,c\n", b',', None).expect("valid"));
        let with = Placeholders { dataset: Some(dataset), ..placeholders() };
        let workload = Workload::sequence(vec![(1, template("set d:__field:id__ __field:name__", &with))]);
        assert_eq!(
            sent(&workload, 3, &mut chooser(Sizes::Fixed(3))),
            "*3 $3 set $3 d:1 $4 a, b *3 $3 set $4 d:22 $1 c *3 $3 set $3 d:1 $4 a, b "
        );
        assert!(Template::compile(&["get", "__field:nix__"], &with).is_err());
    }

    #[test]
    fn a_mix_draws_by_weight() {
        let seed = testkit::seed();
        let commands = vec![(9, template("get k", &placeholders())), (1, template("set k v", &placeholders()))];
        let workload = Workload::mix(commands);
        let payload = Arc::new(payload(3));
        let order = KeyOrder::Uniform;
        let choices =
            Choices { keyspace: None, order, sizes: Sizes::Fixed(3), records: 0, counters: Arc::default(), payload };
        let text = sent(&workload, 10_000, &mut Chooser::new(&choices, seed));
        let gets = text.matches("get").count();
        assert!((8_700..9_300).contains(&gets), "seed {seed}: {gets}");
    }
}
