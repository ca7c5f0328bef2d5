//! A full synchronisation over two connections: the snapshot on one of its own, and the stream on the first at once, so that it is the replica that
//! keeps what is written meanwhile. Two dialects, as observed between real servers (a replica's words to the left, its primary's to the right):
//!
//! ```text
//!            Redis 8.2                                             Valkey 9.1
//!  first     REPLCONF … capa rdb-channel-repl   +OK                REPLCONF … capa dual-channel       +OK
//!            PSYNC ? -1                         +RDBCHANNELSYNC <id of this client>    PSYNC ? -1     +DUALCHANNELSYNC
//!  second    REPLCONF capa eof rdb-only 1                          REPLCONF capa eof rdb-only 1
//!            rdb-channel 1 main-ch-client-id <id>                  rdb-channel 1 listening-port <port>
//!            listening-port <port>              +OK                                                   +OK
//!            PSYNC ? -1                         +FULLRESYNC <stream> <offset>          SYNC           $ENDOFF:<offset> <stream> <db> <id of this client>
//!                                               $EOF:<mark> …                                         $EOF:<mark> …
//!  first                                        the stream         REPLCONF set-rdb-client-id <id>    +OK
//!                                                                  PSYNC <stream> <offset + 1>        +CONTINUE <stream>, the stream
//!  loaded    REPLCONF ACK <offset>                                 REPLCONF ACK <offset>
//! ```
//!
//! Who has a password says AUTH on the second connection too. Empty lines come on the second connection alone: on the first they would be of the
//! stream. When either connection ends before the snapshot is whole, both sides end the other as well.

/// In whose words it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    Redis,
    Valkey,
}
