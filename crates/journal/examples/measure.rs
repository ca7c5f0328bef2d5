//! What the journal costs: `cargo run -p spinel-journal --profile fast --example measure [folder]`.
//!
//! - encode: nanoseconds for `SET key:000000000001 <32 bytes>`, alone and with its way through append, in batches of 1 and 16.
//! - always: units a second that become durable, where each of so many clients waits for its own before it sends the next.
//! - read: the speed at which commands are read back.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use journal::aof::{BaseForm, Commands, Files, Fsync, Settings, Writer};
use journal::disk::FileSystem;
use journal::{Batch, Destination, Destinations, Journal};
use testkit::Process;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("spinel-journal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder to write to");
    encode(1);
    encode(16);
    for clients in [1, 10, 50, 200] {
        always(&folder, clients);
    }
    read();
    std::fs::remove_dir_all(&folder).expect("the folder made above");
}

/// Others may run on this machine: what was computed counts, not how long it took.
fn cpu_time() -> Duration {
    Process(std::process::id()).cpu_time().expect("this process").total()
}

const VALUE: &[u8] = &[b'x'; 32];

fn set(batch: &mut Batch) {
    batch.unit_begin();
    batch.effect(0, [b"SET".as_slice(), b"key:000000000001", VALUE], Destinations::AOF);
    batch.unit_end();
}

fn encode(per_batch: u32) {
    let journal = Arc::new(Journal::new(u64::MAX));
    let reader = journal.reader(Destination::Aof);
    let mut batch = Batch::new();
    let rounds = 20_000_000 / per_batch;
    let began = cpu_time();
    for round in 0..rounds {
        batch.serve(journal.wanted());
        (0..per_batch).for_each(|_| set(&mut batch));
        let tails = journal.append(&mut batch, 0);
        if round % 1000 == 0 {
            reader.release(tails.aof);
        }
    }
    let nanoseconds = (cpu_time() - began).as_nanos() as f64 / f64::from(rounds * per_batch);
    println!("encode and append, {per_batch} a batch: {nanoseconds:.1} ns a SET");
}

/// Clients without sockets: whoever is durable sends the next, on one thread as on an event loop.
fn always(folder: &std::path::Path, clients: usize) {
    let journal = Arc::new(Journal::new(u64::MAX));
    let reader = journal.reader(Destination::Aof);
    let disk = Arc::new(FileSystem::new(folder));
    let mut files = Files::open(disk, format!("always-{clients}").as_bytes(), b"appendonly.aof").expect("a folder");
    files.create_base(b"", BaseForm::Commands).expect("a folder");
    let (moved, moves) = mpsc::channel();
    let settings = Settings { fsync: Fsync::Always, keep_history: false };
    let writer = Writer::start(reader, files, settings, move |_| {
        let _ = moved.send(());
    })
    .expect("a folder");
    let mut batch = Batch::new();
    let mut waiting: Vec<u64> = vec![0; clients];
    let (mut units, mut groups) = (0u64, 0u64);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let durable = journal.durable();
        let mut any = false;
        for offset in waiting.iter_mut().filter(|offset| **offset <= durable) {
            // What a command costs an event loop, socket and all.
            let until = Instant::now() + Duration::from_micros(3);
            while Instant::now() < until {}
            batch.serve(journal.wanted());
            set(&mut batch);
            *offset = journal.append(&mut batch, 0).aof;
            units += 1;
            any = true;
        }
        groups += u64::from(any);
        if !any {
            let _ = moves.recv();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "always, {clients} clients: {:.0} units/s, {:.1} units a group",
        units as f64 / seconds,
        units as f64 / groups as f64
    );
    let _ = writer.stop();
}

fn read() {
    let mut file = Vec::new();
    let one = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$32\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    (0..3_000_000).for_each(|_| file.extend_from_slice(one));
    let began = cpu_time();
    let mut commands = Commands::new(&file[..], 0);
    let mut args = 0;
    while let Some(unit) = commands.next_unit().expect("sound") {
        args += unit.commands().map(|command| command.iter().map(|arg| arg.len()).sum::<usize>()).sum::<usize>();
    }
    let seconds = (cpu_time() - began).as_secs_f64();
    assert_eq!(args, 3_000_000 * 51);
    println!("read: {:.0} MB/s, {:.1} ns a SET", file.len() as f64 / seconds / 1e6, seconds * 1e9 / 3e6);
}
