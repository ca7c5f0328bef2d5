//! Commands that draw by lot: SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER. Each server draws for itself, so the replies are
//! held against what is there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use testkit::Value;

use crate::{pair::Side, step::upper};

/// Commands that draw by lot.
pub const COMMANDS: [&str; 4] = ["SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"];

/// What may be drawn, with what comes with it (a field's value, a member's score; nothing in a set).
type Lots = BTreeMap<Value, Value>;

/// Draws on one side and says what is common to all right replies: its shape, or what is wrong with it.
pub fn draw(side: &mut Side, connection: usize, arguments: &[Vec<u8>]) -> Result<(Value, String)> {
    let name = upper(&arguments[0]);
    let lots = lots(side, connection, &name, arguments.get(1).map_or(b"", Vec::as_slice))?;
    let reply = side.command(connection, arguments)?;
    let said = judge(&name, arguments, &lots, &reply);
    Ok((reply, said))
}

/// After SPOP: removes on each side what the other one has drawn, so that both have the same again.
pub fn level(sides: [&mut Side; 2], connection: usize, key: &[u8], replies: [&Value; 2]) -> Result<()> {
    let drawn = |reply: &Value| match reply.elements() {
        Some(elements) => elements.iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect(),
        None => reply.bytes().map(<[u8]>::to_vec).into_iter().collect::<Vec<_>>(),
    };
    let [ours, theirs] = replies.map(|reply| if reply.is_error() { Vec::new() } else { drawn(reply) });
    let [subject, reference] = sides;
    for (side, other) in [(&mut *subject, &theirs), (&mut *reference, &ours)] {
        if !other.is_empty() {
            let command: Vec<Vec<u8>> =
                [b"SREM".to_vec(), key.to_vec()].into_iter().chain(other.iter().cloned()).collect();
            side.command(connection, &command)?;
        }
    }
    if ours.len() > 1 {
        // Which of many members are left decides how a set is kept that was drawn anew: it is made once more, of the same.
        for side in [subject, reference] {
            let members = side.command(connection, &[b"SMEMBERS".as_slice(), key])?;
            let mut members: Vec<Vec<u8>> =
                members.elements().unwrap_or_default().iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect();
            if !members.is_empty() {
                members.sort();
                members.splice(0..0, [b"SADD".to_vec(), key.to_vec()]);
                side.command(connection, &[b"DEL".as_slice(), key])?;
                side.command(connection, &members)?;
            }
        }
    }
    Ok(())
}

fn lots(side: &mut Side, connection: usize, name: &str, key: &[u8]) -> Result<Lots> {
    let command: &[&[u8]] = match name {
        "HRANDFIELD" => &[b"HGETALL", key],
        "ZRANDMEMBER" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        _ => &[b"SMEMBERS", key],
    };
    let all = side.command(connection, command)?;
    if all.is_error() {
        return Ok(Lots::new());
    }
    let nothing = Value::Simple(Vec::new());
    Ok(match name {
        "HRANDFIELD" => {
            all.pairs().unwrap_or_default().into_iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        "ZRANDMEMBER" => pairs_of(all.elements().unwrap_or_default()),
        _ => all.elements().unwrap_or_default().iter().map(|member| (member.clone(), nothing.clone())).collect(),
    })
}

/// Pairs as RESP2 has them, one after the other, or as RESP3 has them, each an array.
fn pairs_of(elements: &[Value]) -> Lots {
    if let Some(pairs) =
        elements.iter().map(|pair| <&[Value; 2]>::try_from(pair.elements()?).ok()).collect::<Option<Vec<_>>>()
        && !pairs.is_empty()
    {
        return pairs.into_iter().map(|[key, value]| (key.clone(), value.clone())).collect();
    }
    elements.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn judge(name: &str, arguments: &[Vec<u8>], lots: &Lots, reply: &Value) -> String {
    let Some(elements) = reply.elements() else {
        // One lot, or an error, or nothing: errors and nothing must be equal to the letter.
        return match lots.contains_key(reply) {
            true => "one of those that are there".to_owned(),
            false => reply.to_string(),
        };
    };
    let kind = if matches!(reply, Value::Set(_)) { "set" } else { "array" };
    let with_more = arguments.len() > 3;
    let is_nested = elements.iter().all(|element| element.elements().is_some()) && !elements.is_empty();
    let drawn: Vec<(&Value, Option<&Value>)> = match (with_more, is_nested) {
        (false, _) => elements.iter().map(|element| (element, None)).collect(),
        (true, true) => elements
            .iter()
            .map(|pair| pair.elements().expect("just seen"))
            .map(|pair| (&pair[0], pair.get(1)))
            .collect(),
        (true, false) => elements.chunks(2).map(|pair| (&pair[0], pair.get(1))).collect(),
    };
    for (lot, more) in &drawn {
        match lots.get(lot) {
            None => return format!("{lot} was not there, of {reply}"),
            Some(right) if more.is_some_and(|more| more != right) => {
                return format!("{lot} does not come with that, of {reply}");
            }
            Some(_) => {}
        }
    }
    let is_repeating = arguments.get(2).is_some_and(|count| count.starts_with(b"-")) && name != "SPOP";
    let different: BTreeSet<&Value> = drawn.iter().map(|(lot, _)| *lot).collect();
    if !is_repeating && different.len() < drawn.len() {
        return format!("some twice: {reply}");
    }
    format!("{} right lots in {} elements of {kind}, nested: {is_nested}", drawn.len(), elements.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn command(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_right_says_the_same_and_what_is_wrong_does_not() {
        let lots: Lots = [("a", "1"), ("b", "2"), ("c", "3")].map(|(key, value)| (bulk(key), bulk(value))).into();
        let said = |line: &str, reply: &[&str]| {
            let arguments = command(line);
            judge(
                &arguments[0].escape_ascii().to_string(),
                &arguments,
                &lots,
                &Value::Array(reply.iter().map(|text| bulk(text)).collect()),
            )
        };
        assert_eq!(said("HRANDFIELD h 2", &["a", "b"]), said("HRANDFIELD h 2", &["c", "a"]));
        assert_ne!(said("HRANDFIELD h 2", &["a", "b"]), said("HRANDFIELD h 2", &["a", "a"]));
        assert_eq!(said("HRANDFIELD h -2", &["a", "b"]), said("HRANDFIELD h -2", &["a", "a"]));
        assert_ne!(said("HRANDFIELD h 2", &["a", "b"]), said("HRANDFIELD h 2", &["a", "x"]));
        assert_ne!(said("HRANDFIELD h 2", &["a", "b"]), said("HRANDFIELD h 2", &["a"]));
        assert_eq!(said("HRANDFIELD h 1 WITHVALUES", &["a", "1"]), said("HRANDFIELD h 1 WITHVALUES", &["b", "2"]));
        assert_ne!(said("HRANDFIELD h 1 WITHVALUES", &["a", "1"]), said("HRANDFIELD h 1 WITHVALUES", &["a", "2"]));
        let one = |reply: Value| judge("SPOP", &command("SPOP s"), &lots, &reply);
        assert_eq!(one(bulk("a")), one(bulk("b")));
        assert_ne!(one(bulk("a")), one(Value::Null));
    }
}
