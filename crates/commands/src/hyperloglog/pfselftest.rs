//! `PFSELFTEST`.

use super::hash::place;
use super::sketch::{Encoding, Sketch, cardinality, merge};
use super::{REGISTERS, Registers};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "pfselftest",
    arity: 1,
    flags: Flags::ADMIN,
    acl: Acl::HYPERLOGLOG.union(Acl::ADMIN).union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Tests HyperLogLogs against plain registers, and their estimates against known numbers.",
    complexity: "O(1), with a large constant",
    doc_flags: &["syscmd"],
    run: Some(run),
    ..Spec::NEW
};

/// Elements are numbers from here on, so that the test is the same each time.
const FIRST_ELEMENT: u64 = 0x5EED_0000_0000_0000;
const ELEMENTS: u64 = 1_000_000;
/// As by default, so that the sketch is sparse first.
const SPARSE_BYTES_MAX: usize = 3000;
/// Six times the standard error: the elements are fixed, and so is what comes out.
const ERROR_MAX: f64 = 6.0 * 0.0081;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let mut sketch = Sketch::empty();
    let mut plain: Registers = [0; REGISTERS];
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let (index, value) = place(&(FIRST_ELEMENT + number).to_le_bytes());
        let more = plain[index] < value;
        plain[index] = plain[index].max(value);
        if sketch.raise(index, value, SPARSE_BYTES_MAX)? != more {
            return failed(number, "a register is not what it should be");
        }
        if number == checkpoint {
            checkpoint *= 10;
            let mut all = [0; REGISTERS];
            merge(&mut all, sketch.bytes(), sketch.encoding())?;
            if all != plain {
                return failed(number, "registers are not what they should be");
            }
            let error = cardinality(&all) as f64 - number as f64;
            if error.abs() > (number as f64 * ERROR_MAX).ceil() {
                return failed(number, "the estimate is too far off");
            }
            if sketch.encoding() == Encoding::Sparse {
                let mut dense = sketch.clone();
                dense.make_dense()?;
                let mut all = [0; REGISTERS];
                merge(&mut all, dense.bytes(), Encoding::Dense)?;
                if all != plain {
                    return failed(number, "dense and sparse registers differ");
                }
            }
        }
    }
    cx.reply.ok();
    Ok(())
}

#[cold]
fn failed(number: u64, what: &str) -> Outcome {
    Err(Stop::Error(Error::string(format!("TESTFAILED After {number} elements: {what}"))))
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn passes() {
        Rig::new().script(&[("PFSELFTEST", "+OK")]);
    }
}
