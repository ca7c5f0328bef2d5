//! `--replica`, and SYNC at the prompt: the commands that replicas get, as CSV.

use resp::client::Value;

use super::Failed;
use super::rdb::{Announced, announcement, sync, tell, transfer};
use crate::format::csv;
use crate::session::{Session, Stopped, print_bytes};

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let link = session.link();
    tell(link, &["capa", "eof"], "capa")?;
    // An empty filter: of the data nothing is sent, the commands are what matters.
    tell(link, &["rdb-filter-only", ""], "rdb-filter-only")?;
    let announced = sync(link)?;
    follow(session, &announced)
}

/// The user has typed SYNC or PSYNC, and it has been sent.
pub fn follow_from_command(session: &mut Session) -> Result<(), Stopped> {
    print_bytes(b"Entering replica output mode...  (press Ctrl-C to quit)\n");
    let followed = announcement(session.link()).and_then(|announced| follow(session, &announced));
    if let Err(why) = followed
        && !why.0.is_empty()
    {
        eprintln!("{}", why.0);
    }
    // Whatever the server sends from here on belongs to no command.
    Err(session.broken(&crate::connection::LinkError::Interrupted))
}

fn follow(session: &mut Session, announced: &Announced) -> Result<(), Failed> {
    match announced {
        Announced::Length(bytes) => eprintln!("SYNC with master, discarding {bytes} bytes of bulk transfer..."),
        Announced::Mark(_) => eprintln!("SYNC with master, discarding bytes of bulk transfer until EOF marker..."),
    }
    let link = session.link();
    let bytes = transfer(link, announced, |_| Ok(()))?;
    match announced {
        Announced::Length(_) => eprintln!("SYNC done. Logging commands from master."),
        Announced::Mark(_) => eprintln!("SYNC done after {bytes} bytes. Logging commands from master."),
    }
    // Without an acknowledgement the server keeps a replica of a snapshot without end waiting.
    eprintln!("sending REPLCONF ACK 0");
    link.queue(&["REPLCONF", "ACK", "0"]);
    link.flush()?;
    loop {
        let command = link.receive()?;
        if let Value::Array(_) = command {
            let mut line = Vec::new();
            csv(&mut line, &command);
            line.push(b'\n');
            print_bytes(&line);
        }
    }
}
