//! Bodies of the fuzz targets: functions that panic on a finding, so that both `cargo fuzz` (`fuzz/`) and the stable
//! toolchain's bounded test (`tests/fuzz.rs`) drive the same checks.

use crate::client::ReplyParser;
use crate::decode::{Decoder, Limits, ProtocolError, Step, split_quoted};
use crate::encode::Reply;

/// Every command in `data`, and how it ended, when `data` arrives in pieces of these sizes (in turn).
fn decode_all(
    data: &[u8],
    limits: &Limits,
    piece_bytes: impl Fn(usize) -> usize,
) -> (Vec<Vec<Vec<u8>>>, Result<(), ProtocolError>) {
    let mut decoder = Decoder::new();
    let mut commands = Vec::new();
    let (mut from, mut round) = (0, 0);
    while from < data.len() {
        // Every third time, bytes of a large argument are put straight into its place.
        if round % 3 == 0
            && let Some(spare) = decoder.large_spare()
        {
            let count = spare.len().min(piece_bytes(round)).min(data.len() - from);
            spare[..count].copy_from_slice(&data[from..from + count]);
            decoder.large_filled(count);
            from += count;
            let (consumed, result) = decode_buffer(&mut decoder, b"", limits, &mut commands);
            assert_eq!(consumed, 0);
            if result.is_err() {
                return (commands, result);
            }
            round += 1;
            continue;
        }
        let piece = &data[from..data.len().min(from + piece_bytes(round))];
        let (consumed, result) = decode_buffer(&mut decoder, piece, limits, &mut commands);
        if result.is_err() {
            return (commands, result);
        }
        assert_eq!(consumed, piece.len(), "the decoder takes everything");
        // Twice what was given (growth by doubling), and what a piece and a line cost.
        assert!(decoder.memory_bytes() <= 1024 + 128 * 1024 + 32 * data.len(), "memory follows the bytes received");
        from += piece.len();
        round += 1;
    }
    (commands, Ok(()))
}

fn decode_buffer(
    decoder: &mut Decoder,
    buf: &[u8],
    limits: &Limits,
    commands: &mut Vec<Vec<Vec<u8>>>,
) -> (usize, Result<(), ProtocolError>) {
    let mut at = 0;
    loop {
        let mut args = Vec::new();
        match decoder.next(&buf[at..], limits, &mut args) {
            Ok(Step::Command { consumed }) => {
                assert!(!args.is_empty());
                at += consumed;
                commands.push(args.iter().map(|arg| arg.to_vec()).collect());
            }
            Ok(Step::Owned { consumed }) => {
                assert!(args.is_empty());
                at += consumed;
                let owned = decoder.take_owned();
                owned.args(&mut args);
                assert!(!args.is_empty() && args.len() == owned.len());
                for (index, data) in owned.large_args() {
                    assert_eq!(args[index], data.as_slice());
                }
                commands.push(args.iter().map(|arg| arg.to_vec()).collect());
            }
            Ok(Step::Incomplete) => return (buf.len(), Ok(())),
            Err(error) => return (at, Err(error)),
        }
    }
}

/// Any bytes: decoding them whole, byte by byte and in pieces gives the same commands and the same error.
///
/// The first byte chooses the limits and the second the pieces.
pub fn decoder(data: &[u8]) {
    let [choice, pieces, data @ ..] = data else {
        return;
    };
    let limits = match choice % 4 {
        0 => Limits { bulk_bytes_max: 100, multibulk_max: 20, inline_bytes_max: 64, authenticated: true },
        1 => Limits::default().unauthenticated(),
        2 => Limits { inline_bytes_max: 300, ..Limits::default() },
        _ => Limits::default(),
    };
    let whole = decode_all(data, &limits, |_| usize::MAX / 2);
    let pieces = *pieces as usize;
    assert_eq!(
        whole,
        decode_all(data, &limits, |round| 1 + (round * 7 + pieces) % (1 + pieces)),
        "pieces of up to {pieces}"
    );
    if data.len() <= 4096 {
        assert_eq!(whole, decode_all(data, &limits, |_| 1), "byte by byte");
    }
    let _ = split_quoted(data);
    let _ = crate::number::parse_f64(data);
    let _ = crate::long_double::LongDouble::parse(data).map(|value| value.to_text());
    if let Err(error) = whole.1 {
        // Whatever it quotes, its reply is one line.
        let mut reply = Reply::new();
        reply.error(error.message());
        let mut parser = ReplyParser::new();
        parser.feed(reply.as_slice().expect("nothing is shared"));
        assert!(parser.next_reply().expect("a reply").expect("whole").is_error());
        assert!(!parser.is_midway());
    }
}

/// Any bytes as replies: whole and byte by byte give the same values and the same error.
pub fn replies(data: &[u8]) {
    let parse = |piece_bytes: usize| {
        let mut parser = ReplyParser::new();
        let mut values = Vec::new();
        for piece in data.chunks(piece_bytes) {
            parser.feed(piece);
            loop {
                match parser.next_reply() {
                    Ok(Some(value)) => values.push(value),
                    Ok(None) => break,
                    Err(error) => return (values, Err(error)),
                }
            }
        }
        (values, Ok(()))
    };
    assert_eq!(parse(data.len().max(1)), parse(1));
}
