//! Bodies of the fuzz targets: functions that panic on a finding, so that both `cargo fuzz` (`fuzz/`) and the stable
//! toolchain's bounded test (`tests/fuzz.rs`) drive the same checks.

use crate::aof::{Commands, Manifest};

/// Any bytes as a file of commands: no panic, no more memory than bytes, offsets that go forward, and the same when they come in pieces.
pub fn commands(data: &[u8]) {
    let whole = read(data, usize::MAX);
    let pieces = read(data, 1 + data.len() % 7);
    assert_eq!(whole, pieces, "it matters how the bytes come");
}

/// How many commands there are, how long their arguments are together, and how far the file is sound.
fn read(data: &[u8], step: usize) -> (u64, u64, u64, String) {
    let mut commands = Commands::new(Pieces { rest: data, step }, 0);
    let (mut count, mut bytes, mut valid) = (0, 0, 0);
    let end = loop {
        match commands.next_unit() {
            Ok(Some(unit)) => {
                for command in unit.commands() {
                    assert!(command.iter().len() > 0, "a command has a name");
                    count += 1;
                    bytes += command.iter().map(|arg| arg.len() as u64).sum::<u64>();
                }
            }
            Ok(None) => break String::new(),
            Err(error) => {
                assert!(error.valid_bytes <= error.offset && error.offset <= data.len() as u64, "{error}");
                break error.to_string();
            }
        }
        let now = commands.valid_bytes();
        assert!(valid < now && now <= data.len() as u64, "a unit has bytes");
        valid = now;
    };
    assert!(bytes <= data.len() as u64, "arguments lie in the file");
    (count, bytes, commands.valid_bytes(), end)
}

struct Pieces<'a> {
    rest: &'a [u8],
    step: usize,
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.step.min(self.rest.len()).min(buffer.len());
        let (now, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.rest = rest;
        Ok(count)
    }
}

/// Any bytes as a manifest: no panic, and what is understood is understood again when written.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data)
        && !manifest.is_empty()
    {
        let text = manifest.encode();
        assert!(!Manifest::is_readable(&text) || Manifest::parse(&text).as_ref() == Ok(&manifest));
    }
}
