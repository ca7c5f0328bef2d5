//! `HELP` of every container command, written from the specs: a subcommand that exists is described, with the options it takes.
//!
//! The shape is Redis's (one simple string a line, four blanks before what explains), the words are our own.

use crate::context::{Ctx, Outcome};
use crate::spec::{Arg, ArgType, Spec};

/// Longer lines are broken.
const LINE_CHARACTERS_MAX: usize = 100;
/// Stands before what did not fit into the line before.
const INDENT: &str = "        ";
/// Choices are broken apart down to those of a choice, as CLIENT KILL has them.
const CHOICES_DEPTH_MAX: usize = 2;
/// What is longer is not written twice to say that it may be repeated.
const REPEATED_CHARACTERS_MAX: usize = 40;

/// The handler of every `HELP` subcommand.
pub fn run(cx: &mut Ctx<'_>) -> Outcome {
    let parent = cx.command.parent.expect("HELP is a subcommand");
    // By the name that it was called by, which `rename-command` may have given it.
    let name = String::from_utf8_lossy(cx.args[0]).to_uppercase();
    let lines = lines(&name, cx.global().registry.by_id(parent).spec);
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.simple(line));
    Ok(())
}

/// What is known about the subcommands of `container`, here called `name`.
fn lines(name: &str, container: &Spec) -> Vec<String> {
    let mut lines = vec![format!("{name} <subcommand> [<argument> ...], with these subcommands:")];
    let (help, others): (Vec<&Spec>, Vec<&Spec>) = container.subcommands.iter().partition(|sub| sub.name == "help");
    for sub in others.into_iter().chain(help) {
        let words = std::iter::once(sub.name.to_uppercase()).chain(sub.args.iter().map(syntax));
        lines.extend(wrapped(&words.collect::<Vec<_>>().join(" ")));
        lines.push(format!("    {}", sub.summary));
    }
    lines
}

/// Breaks a line where it is too long: between arguments, or between the choices that one offers.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut start, mut last_break, mut depth) = (0, None, 0);
    for (at, character) in line.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        let indent = if lines.is_empty() { 0 } else { INDENT.len() };
        if indent + at - start >= LINE_CHARACTERS_MAX
            && let Some(end) = last_break.take()
        {
            lines.push(format!("{}{}", &INDENT[..indent], line[start..end].trim_end()));
            start = end;
        }
        if character == ' ' && depth == 0 || character == '|' && depth <= CHOICES_DEPTH_MAX {
            last_break = Some(at + 1);
        }
    }
    let indent = if lines.is_empty() { "" } else { INDENT };
    lines.push(format!("{indent}{}", &line[start..]));
    lines
}

/// One argument, as manuals write it: `<value>`, `WORD`, `(A|B)`, `[optional]`, `<repeated> [<repeated> ...]`.
fn syntax(arg: &Arg) -> String {
    let value = match arg.kind {
        ArgType::PureToken => String::new(),
        ArgType::OneOf => {
            // A choice is optional by not being chosen.
            let choice = |choice: &Arg| syntax(&Arg { optional: false, ..*choice });
            let choices = arg.args.iter().map(choice).collect::<Vec<_>>().join("|");
            // The brackets of an option keep its choices together already.
            if arg.optional && arg.token.is_none() { choices } else { format!("({choices})") }
        }
        ArgType::Block => arg.args.iter().map(syntax).collect::<Vec<_>>().join(" "),
        _ => format!("<{}>", arg.display.unwrap_or(arg.name)),
    };
    let repeated = match arg.multiple && !arg.multiple_token {
        true if value.len() > REPEATED_CHARACTERS_MAX => format!("{value} ..."),
        true => format!("{value} [{value} ...]"),
        false => value,
    };
    let mut text = match arg.token {
        None => repeated,
        Some(token) if repeated.is_empty() => token.to_owned(),
        Some(token) => format!("{token} {repeated}"),
    };
    if arg.multiple_token {
        text = format!("{text} [{text} ...]");
    }
    if arg.optional { format!("[{text}]") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_manuals_write_them() {
        const MODE: Arg = Arg::one_of("mode", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]);
        assert_eq!(syntax(&MODE), "(ON|OFF)");
        assert_eq!(syntax(&MODE.optional()), "[ON|OFF]");
        assert_eq!(syntax(&MODE.token("MODE").optional()), "[MODE (ON|OFF)]");
        assert_eq!(syntax(&Arg::integer("id").multiple()), "<id> [<id> ...]");
        assert_eq!(syntax(&Arg::string("addr").display("ip:port").token("ADDR").optional()), "[ADDR <ip:port>]");
        assert_eq!(
            syntax(&Arg::string("prefix").token("PREFIX").multiple_token()),
            "PREFIX <prefix> [PREFIX <prefix> ...]"
        );
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        for sub in crate::registry::GROUPS.iter().copied().flatten().flat_map(|spec| spec.subcommands) {
            let line = sub.args.iter().map(syntax).collect::<Vec<_>>().join(" ");
            let lines = wrapped(&line);
            let without_blanks = |text: &str| text.replace(' ', "");
            assert_eq!(without_blanks(&lines.concat()), without_blanks(&line));
            assert!(lines.iter().all(|line| line.len() <= LINE_CHARACTERS_MAX), "{lines:#?}");
        }
    }

    #[test]
    fn every_subcommand_is_described_and_help_comes_last() {
        for spec in crate::registry::GROUPS.iter().copied().flatten().filter(|spec| !spec.subcommands.is_empty()) {
            let lines = lines(&spec.name.to_uppercase(), spec);
            for sub in spec.subcommands {
                let name = sub.name.to_uppercase();
                assert!(lines.iter().any(|line| line.split(' ').next() == Some(&name)), "{} {name}", spec.name);
            }
            if spec.subcommands.iter().any(|sub| sub.name == "help") {
                assert_eq!(lines[lines.len() - 2], "HELP", "{}", spec.name);
            }
        }
    }
}
