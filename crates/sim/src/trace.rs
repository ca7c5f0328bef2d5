//! What has happened, as a number; and as text for whoever looks for a fault.

/// The sum of all that happened in a run, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    sum: u64,
    is_shown: bool,
}

impl Trace {
    /// `is_shown`: printed as it happens.
    pub fn new(is_shown: bool) -> Trace {
        Trace { sum: 0xcbf2_9ce4_8422_2325, is_shown }
    }

    /// Whether the text of what happens is wanted; numbers alone make the sum.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    pub fn add(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.sum = (self.sum.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let mut sum = bytes.len() as u64;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sum = (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.add(&[sum]);
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.is_shown {
            println!("{}", text());
        }
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }
}
