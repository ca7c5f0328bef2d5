//! The data set, and what changes it.

use std::collections::BTreeMap;

/// What a command stream makes of it: values by key, and a sum of all that was ever done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) values: BTreeMap<u64, u64>,
    pub(crate) sum: u64,
}

impl Data {
    pub(crate) fn set(&mut self, key: u64, value: u64) {
        self.values.insert(key, value);
        for number in [key, value] {
            self.sum = (self.sum.rotate_left(7) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {}", self.sum, self.values.len());
        for (key, value) in &self.values {
            text.push_str(&format!(" {key} {value}"));
        }
        text.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Data> {
        let mut numbers = std::str::from_utf8(bytes).ok()?.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let mut data = Data { values: BTreeMap::new(), sum: next()? };
        for _ in 0..next()? {
            data.values.insert(next()?, next()?);
        }
        next().is_none().then_some(data)
    }
}
