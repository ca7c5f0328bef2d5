//! FAILOVER: a primary hands its place to one of its replicas, and nothing is lost.
//!
//! ```text
//!              failover(): PauseWrites            the target has all we have (or FORCE, and time is up)
//!  None ──────────────────────▶ WaitsForSync ─────────────────────────────────────▶ InProgress: we follow it, PSYNC … FAILOVER
//!   ▲                             │ aborted, time is up                                │ accepted: we are its replica
//!   │◀────────────────────────────┘                                                    │
//!   │◀── refused, aborted: a primary again, under a new id ────────────────────────────┘
//! ```
//!
//! Writes are paused from the beginning to the end, so the target cannot fall behind once it has caught up.

use crate::{Action, Address, Level, Log, Machine, Ms};

/// FAILOVER's options but ABORT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverRequest {
    pub to: Option<Address>,
    pub force: bool,
    pub timeout_ms: Option<u64>,
}

/// As INFO says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverState {
    /// `no-failover`.
    None,
    /// `waiting-for-sync`.
    WaitsForSync,
    /// `failover-in-progress`.
    InProgress,
}

impl FailoverState {
    pub fn word(self) -> &'static str {
        match self {
            FailoverState::None => "no-failover",
            FailoverState::WaitsForSync => "waiting-for-sync",
            FailoverState::InProgress => "failover-in-progress",
        }
    }
}

#[derive(Debug)]
pub(crate) enum Failover {
    None,
    /// Replicas acknowledge each second; asking them would put bytes into the log that have to be acknowledged themselves.
    WaitsForSync {
        request: FailoverRequest,
        until: Option<Ms>,
    },
    /// The log stands still meanwhile.
    InProgress {
        request: FailoverRequest,
        log: Log,
    },
}

impl Machine {
    /// FAILOVER. The error's text has its code.
    ///
    /// # Errors
    ///
    /// In the order in which real servers look for them.
    pub fn failover(&mut self, now: Ms, request: FailoverRequest, log: Log) -> Result<(), String> {
        if self.failover_state() != FailoverState::None {
            return Err("ERR FAILOVER already in progress.".to_owned());
        }
        if !self.is_primary() {
            return Err("ERR FAILOVER is not valid when server is a replica.".to_owned());
        }
        if self.replicas(now, log).is_empty() {
            return Err("ERR FAILOVER requires connected replicas.".to_owned());
        }
        if request.force && (request.to.is_none() || request.timeout_ms.is_none()) {
            return Err("ERR FAILOVER with force option requires both a timeout and target HOST and IP.".to_owned());
        }
        if let Some(to) = &request.to {
            if !self.has_replica_at(&to.host, to.port) {
                return Err("ERR FAILOVER target HOST and PORT is not a replica.".to_owned());
            }
            let is_online = |(host, port, _): (&str, u16, u64)| port == to.port && host.eq_ignore_ascii_case(&to.host);
            if !self.online_replicas().any(is_online) {
                return Err("ERR FAILOVER target replica is not online.".to_owned());
            }
        }
        self.note(Level::Notice, format!("FAILOVER requested to {}.", name(&request)));
        let until = request.timeout_ms.map(|timeout_ms| now.plus(timeout_ms));
        self.failover = Failover::WaitsForSync { request, until };
        self.act(Action::PauseWrites);
        self.failover_timeout(now, log);
        Ok(())
    }

    /// FAILOVER ABORT.
    ///
    /// # Errors
    ///
    /// If there is nothing to abort.
    pub fn abort_failover(&mut self, now: Ms) -> Result<(), String> {
        if self.failover_state() == FailoverState::None {
            return Err("ERR No failover in progress.".to_owned());
        }
        self.give_failover_up(now, "Failover manually aborted");
        Ok(())
    }

    pub fn failover_state(&self) -> FailoverState {
        match self.failover {
            Failover::None => FailoverState::None,
            Failover::WaitsForSync { .. } => FailoverState::WaitsForSync,
            Failover::InProgress { .. } => FailoverState::InProgress,
        }
    }

    /// Whether writes are paused.
    pub(crate) fn is_failing_over(&self) -> bool {
        !matches!(self.failover, Failover::None)
    }

    pub(crate) fn failover_deadline(&self) -> Option<Ms> {
        match &self.failover {
            Failover::WaitsForSync { until, .. } => *until,
            Failover::None | Failover::InProgress { .. } => None,
        }
    }

    pub(crate) fn failover_timeout(&mut self, now: Ms, log: Log) {
        self.failover_acknowledged(now, log);
        let Failover::WaitsForSync { request, until } = &self.failover else { return };
        if until.is_none_or(|until| now < until) {
            return;
        }
        match request.to.clone().filter(|_| request.force) {
            Some(target) => {
                let to = format!("{}:{}", target.host, target.port);
                self.note(Level::Notice, format!("Failover to {to} time out exceeded, failing over."));
                self.hand_over(now, target, log);
            }
            None => self.give_failover_up(now, "Replica never caught up before timeout"),
        }
    }

    /// Somebody may have all that we have.
    pub(crate) fn failover_acknowledged(&mut self, now: Ms, log: Log) {
        let Failover::WaitsForSync { request, .. } = &self.failover else { return };
        let is_meant = |host: &str, port: u16| {
            request.to.as_ref().is_none_or(|to| to.port == port && to.host.eq_ignore_ascii_case(host))
        };
        let target = self
            .online_replicas()
            .find(|(host, port, offset)| *offset == log.end && is_meant(host, *port))
            .map(|(host, port, _)| Address { host: host.to_owned(), port });
        if let Some(target) = target {
            let to = format!("{}:{}", target.host, target.port);
            self.note(Level::Notice, format!("Failover target {to} is synced, failing over."));
            self.hand_over(now, target, log);
        }
    }

    fn hand_over(&mut self, now: Ms, target: Address, log: Log) {
        if let Failover::WaitsForSync { request, .. } = std::mem::replace(&mut self.failover, Failover::None) {
            self.failover = Failover::InProgress { request, log };
            self.follow(now, target, log);
        }
    }

    /// The other side is a primary now, and we are its replica.
    pub(crate) fn failover_accepted(&mut self) {
        if let Failover::InProgress { .. } = self.failover {
            self.failover = Failover::None;
            self.act(Action::ResumeWrites);
        }
    }

    /// The other side does not want to, or it cannot be known.
    pub(crate) fn failover_rejected(&mut self, now: Ms) {
        if let Failover::InProgress { .. } = self.failover {
            self.give_failover_up(now, "Failover target rejected psync request");
        }
    }

    /// The link to the target has ended: before the question was asked it is tried again, behind it nothing is known.
    pub(crate) fn failover_link_lost(&mut self, now: Ms, was_asked: bool) {
        if was_asked {
            self.failover_rejected(now);
        }
    }

    fn give_failover_up(&mut self, now: Ms, why: &str) {
        match std::mem::replace(&mut self.failover, Failover::None) {
            Failover::None => {}
            Failover::WaitsForSync { request, .. } => {
                self.note(Level::Notice, format!("FAILOVER to {} aborted: {why}", name(&request)));
                self.act(Action::ResumeWrites);
            }
            Failover::InProgress { request, log } => {
                self.note(Level::Notice, format!("FAILOVER to {} aborted: {why}", name(&request)));
                let new_id = self.invent_id();
                self.promote(now, new_id, log);
                self.act(Action::ResumeWrites);
            }
        }
    }
}

fn name(request: &FailoverRequest) -> String {
    match &request.to {
        Some(to) => format!("{}:{}", to.host, to.port),
        None => "any replica".to_owned(),
    }
}
