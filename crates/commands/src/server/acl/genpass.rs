//! `ACL GENPASS`.

use rand::RngCore;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "genpass",
    arity: -2,
    flags: super::ANY_FLAGS,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.0.0",
    summary: "Makes a password that nobody can guess.",
    args: &[Arg::integer("bits").optional()],
    run: Some(run),
    ..Spec::NEW
};

const BITS_DEFAULT: i64 = 256;
const BITS_MAX: i64 = 4096;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    super::check_arguments_max(cx, 3)?;
    let bits = if cx.args.len() == 3 { cx.int(2)? } else { BITS_DEFAULT };
    if !(1..=BITS_MAX).contains(&bits) {
        return cx.fail(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        );
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    // Seeded by the operating system, and fit for secrets.
    rand::rng().fill_bytes(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    cx.reply.bulk(&text[..digits]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn as_many_digits_as_the_bits_need() {
        const TEXT: &str = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
        script(&[
            ("ACL GENPASS 0", TEXT),
            ("ACL GENPASS 4097", TEXT),
            ("ACL GENPASS x", "-ERR value is not an integer or out of range"),
            ("ACL GENPASS 1 2", "-ERR unknown subcommand or wrong number of arguments for 'GENPASS'. Try ACL HELP."),
        ]);
        let mut rig = Rig::new();
        for (line, digits) in [("", 64), ("1", 1), ("5", 2), ("8", 2), ("9", 3), ("4096", 1024)] {
            let reply = rig.run(&format!("ACL GENPASS {line}"));
            let text = reply.split(' ').nth(1).unwrap();
            assert!(text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{reply}");
        }
        assert_ne!(rig.run("ACL GENPASS"), rig.run("ACL GENPASS"));
    }
}
