//! `COMMAND INFO`.

use resp::Reply;

use crate::context::{Ctx, Outcome};
use crate::registry::{Command, Registry};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "info",
    arity: -2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    summary: "Describes some commands, or all.",
    complexity: "O(N), N being the number of commands asked for",
    history: &[("7.0.0", "Without arguments it describes all commands.")],
    tips: &["nondeterministic_output_order"],
    args: &[Arg::string("command-name").optional().multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if cx.args.len() == 2 {
        return describe_all(cx);
    }
    let registry = cx.global().registry.clone();
    cx.reply.array(cx.args.len() - 2);
    for name in &cx.args[2..] {
        match registry.find_full(name) {
            Some(command) => describe(cx.reply, &registry, command),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// What COMMAND replies.
pub(super) fn describe_all(cx: &mut Ctx<'_>) -> Outcome {
    let registry = cx.global().registry.clone();
    cx.reply.array(registry.callable().count());
    for command in registry.callable() {
        describe(cx.reply, &registry, command);
    }
    Ok(())
}

/// The ten elements that describe one command. A renamed one is found by its new name, and described under its old one.
fn describe(reply: &mut Reply, registry: &Registry, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(&command.full_name);
    reply.int(i64::from(spec.arity));
    let flags = command.flags();
    words(reply, Flags::SHOWN.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| (*name).to_owned()));
    let (first, last, step) = legacy_range(spec.keys);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    words(reply, Acl::NAMES.iter().filter(|(acl, _)| spec.acl.contains(*acl)).map(|(_, name)| format!("@{name}")));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| key_spec(reply, keys));
    let subcommands: Vec<_> = registry.all().iter().filter(|sub| sub.parent == Some(command.id)).collect();
    reply.set(subcommands.len());
    for sub in subcommands {
        describe(reply, registry, sub);
    }
}

/// A set of simple strings.
fn words(reply: &mut Reply, words: impl Iterator<Item = String>) {
    let words: Vec<String> = words.collect();
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

/// First key, last key and step, as clients older than key specifications ask for them: the hull of all ranges at fixed
/// places.
fn legacy_range(keys: &[KeySpec]) -> (i64, i64, i64) {
    let mut hull: Option<(i64, i64, i64)> = None;
    for keys in keys {
        let (Begin::Index(first), Find::Range { last, step, limit: 0 | 1 }) = (keys.begin, keys.find) else {
            continue;
        };
        let (first, step) = (i64::from(first), i64::from(step));
        let last = if last >= 0 { first + i64::from(last) } else { i64::from(last) };
        hull = Some(match hull {
            None => (first, last, step),
            // Ranges that follow each other; anything else cannot be said in this form.
            Some((begin, end, 1)) if step == 1 && end + 1 == first => (begin, last, 1),
            Some(known) => known,
        });
    }
    hull.unwrap_or((0, 0, 0))
}

fn key_spec(reply: &mut Reply, keys: &KeySpec) {
    reply.map(3 + usize::from(keys.notes.is_some()));
    if let Some(notes) = keys.notes {
        reply.bulk("notes");
        reply.bulk(notes);
    }
    reply.bulk("flags");
    words(
        reply,
        KeyFlags::NAMES.iter().filter(|(flag, _)| keys.flags.contains(*flag)).map(|(_, name)| (*name).to_owned()),
    );
    reply.bulk("begin_search");
    match keys.begin {
        Begin::Index(index) => kind(reply, "index", &[("index", index.into())]),
        Begin::Keyword { keyword, start_from } => {
            kind(reply, "keyword", &[("keyword", keyword.into()), ("startfrom", start_from.into())]);
        }
        Begin::Unknown => kind(reply, "unknown", &[]),
    }
    reply.bulk("find_keys");
    match keys.find {
        Find::Range { last, step, limit } => {
            kind(reply, "range", &[("lastkey", last.into()), ("keystep", step.into()), ("limit", limit.into())]);
        }
        Find::KeyNum { keynum_index, first_key, step } => kind(
            reply,
            "keynum",
            &[("keynumidx", keynum_index.into()), ("firstkey", first_key.into()), ("keystep", step.into())],
        ),
        Find::Unknown => kind(reply, "unknown", &[]),
    }
}

enum Field {
    Int(i32),
    Text(&'static str),
}

impl From<i32> for Field {
    fn from(number: i32) -> Field {
        Field::Int(number)
    }
}

impl From<&'static str> for Field {
    fn from(text: &'static str) -> Field {
        Field::Text(text)
    }
}

fn kind(reply: &mut Reply, name: &str, fields: &[(&str, Field)]) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(name);
    reply.bulk("spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name);
        match value {
            Field::Int(number) => reply.int(i64::from(*number)),
            Field::Text(text) => reply.bulk(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn describes_what_exists() {
        script(&[
            (
                "COMMAND INFO get nosuch",
                "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access \
                 $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 \
                 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1",
            ),
            ("COMMAND INFO client|nosuch", "*1 $-1"),
        ]);
    }
}
