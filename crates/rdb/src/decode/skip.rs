//! Passing over a value: only lengths are read, so that finding the records of a file costs next to nothing.

use super::input::Input;
use crate::code::ValueType;
use crate::error::{Error, ErrorKind, Result};

pub(super) fn skip_value<'a>(input: &mut impl Input<'a>, value_type: ValueType) -> Result<()> {
    match value_type {
        ValueType::String
        | ValueType::HashZipmap
        | ValueType::ListZiplist
        | ValueType::SetIntset
        | ValueType::SortedSetZiplist
        | ValueType::HashZiplist
        | ValueType::HashListpack
        | ValueType::SortedSetListpack
        | ValueType::SetListpack
        | ValueType::HashListpackExpiring23 => input.skip_string(),
        ValueType::HashListpackExpiring => {
            input.skip(8)?;
            input.skip_string()
        }
        ValueType::List | ValueType::Set | ValueType::ListZiplists => each(input, Input::skip_string),
        ValueType::Hash => each(input, |input| {
            input.skip_string()?;
            input.skip_string()
        }),
        ValueType::SortedSetText => each(input, |input| {
            input.skip_string()?;
            match input.byte()? {
                253.. => Ok(()),
                len => input.skip(u64::from(len)),
            }
        }),
        ValueType::SortedSet => each(input, |input| {
            input.skip_string()?;
            input.skip(8)
        }),
        ValueType::ListListpacks => each(input, |input| {
            input.length()?;
            input.skip_string()
        }),
        ValueType::HashExpiring => {
            input.skip(8)?;
            each(input, skip_expiring_field)
        }
        ValueType::HashExpiring22 => unreachable!("its form depends on the version; the caller says which"),
        ValueType::Stream1 | ValueType::Stream2 | ValueType::Stream3 => skip_stream(input, value_type),
        ValueType::ModuleOld | ValueType::Module => Err(module(input)),
    }
}

/// The error for a module's data, whose id comes next.
pub(super) fn module<'a>(input: &mut impl Input<'a>) -> Error {
    let offset = input.offset();
    match input.length() {
        Ok(id) => Error::new(offset, ErrorKind::Module(id)),
        Err(error) => error,
    }
}

/// The same for type 22, of which there are two.
pub(super) fn skip_expiring22<'a>(input: &mut impl Input<'a>, is_valkey: bool) -> Result<()> {
    if !is_valkey {
        return each(input, skip_expiring_field);
    }
    each(input, |input| {
        input.skip_string()?;
        input.skip_string()?;
        input.skip(8)
    })
}

fn skip_expiring_field<'a>(input: &mut impl Input<'a>) -> Result<()> {
    input.length()?;
    input.skip_string()?;
    input.skip_string()
}

#[inline]
fn each<'a, I: Input<'a>>(input: &mut I, mut skip: impl FnMut(&mut I) -> Result<()>) -> Result<()> {
    for _ in 0..input.length()? {
        skip(input)?;
    }
    Ok(())
}

fn skip_stream<'a>(input: &mut impl Input<'a>, value_type: ValueType) -> Result<()> {
    each(input, |input| {
        input.skip_string()?;
        input.skip_string()
    })?;
    let lengths = if value_type == ValueType::Stream1 { 3 } else { 8 };
    for _ in 0..lengths {
        input.length()?;
    }
    each(input, |input| {
        input.skip_string()?;
        let lengths = if value_type == ValueType::Stream1 { 2 } else { 3 };
        for _ in 0..lengths {
            input.length()?;
        }
        each(input, |input| {
            input.skip(16 + 8)?;
            input.length().map(drop)
        })?;
        each(input, |input| {
            input.skip_string()?;
            input.skip(if value_type == ValueType::Stream3 { 16 } else { 8 })?;
            let pending = input.length()?;
            input.skip(pending.saturating_mul(16))
        })
    })
}
