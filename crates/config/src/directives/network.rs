//! Sockets: where the server listens, and how connections are set up.

#[allow(unused_imports)]
use super::bounds::*;
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::Bytes;

rows! { 0;
    /// Addresses to listen on; one that begins with `-` may be missing on the machine.
    BIND: [Bytes] = row("bind", Kind::Words { max_count: 16 }, "* -::*");
    /// TCP port; 0 means none.
    PORT: i64 = row("port", PORT_NUMBER, "6379");
    /// Path of a Unix socket; empty means none.
    UNIXSOCKET: [u8] = row("unixsocket", Kind::Text, "").fixed();
    /// Permissions of the Unix socket, octal; 0 leaves what the umask gives.
    UNIXSOCKETPERM: i64 = row("unixsocketperm", Kind::Octal, "0").fixed();
    /// Group that owns the Unix socket.
    UNIXSOCKETGROUP: [u8] = row("unixsocketgroup", Kind::Text, "").fixed().valkey().later("group of the unix socket");
    /// Connections the kernel may hold that are not yet accepted.
    TCP_BACKLOG: i64 = row("tcp-backlog", COUNT_I32, "511").fixed();
    /// Seconds of silence after which the kernel probes a connection; 0 means never.
    TCP_KEEPALIVE: i64 = row("tcp-keepalive", COUNT_I32, "300");
    /// Seconds of idleness after which a client is disconnected; 0 means never.
    TIMEOUT: i64 = row("timeout", COUNT_I32, "0");
    /// Whether clients from other machines are refused while there is no password and no `bind`.
    PROTECTED_MODE: bool = row("protected-mode", Kind::Bool, "yes");
    /// Address that outgoing connections come from.
    BIND_SOURCE_ADDR: [u8] = row("bind-source-addr", Kind::Text, "");
    /// Mark that the server's sockets carry for the packet filter (Linux).
    SOCKET_MARK_ID: i64 = row("socket-mark-id", Kind::Unsigned { min: 0, max: U32_MAX }, "0").fixed().later("socket marks");
    /// Whether listening sockets speak Multipath TCP.
    MPTCP: bool = row("mptcp", Kind::Bool, "no").fixed().valkey().later("Multipath TCP");
    /// Connections accepted in one turn of the event loop.
    MAX_NEW_CONNECTIONS_PER_CYCLE: i64 = row("max-new-connections-per-cycle", Kind::Unsigned { min: 1, max: 1000 }, "10").no_effect("a loop accepts at most 128 connections before others have their turn");
    /// TLS connections accepted in one turn of the event loop.
    MAX_NEW_TLS_CONNECTIONS_PER_CYCLE: i64 = row("max-new-tls-connections-per-cycle", Kind::Unsigned { min: 1, max: 1000 }, "1").no_effect("handshakes run on threads of their own, so that they hold up nobody");
    /// Address of the RDMA listener.
    RDMA_BIND: [Bytes] = row("rdma-bind", Kind::Words { max_count: 16 }, "").valkey().no_effect("there is no RDMA transport");
    /// Port of the RDMA listener.
    RDMA_PORT: i64 = row("rdma-port", PORT_NUMBER, "0").valkey().no_effect("there is no RDMA transport");
    /// Receive buffer of an RDMA connection.
    RDMA_RX_SIZE: i64 = row("rdma-rx-size", Kind::Int { min: 65536, max: 16777216 }, "1048576").fixed().valkey().no_effect("there is no RDMA transport");
    /// Completion vector of RDMA connections.
    RDMA_COMPLETION_VECTOR: i64 = row("rdma-completion-vector", Kind::Int { min: -1, max: 1024 }, "-1").fixed().valkey().no_effect("there is no RDMA transport");
}
