//! Settings of the machine that make a server slower or less sure than it need be, and what to do about them.
//!
//! What is read lies below `/proc` and `/sys`; where it is missing there is nothing to warn of.

use std::fs;
use std::io::{self, Write};

use super::log::Log;

const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const BACKLOG_MAX: &str = "/proc/sys/net/core/somaxconn";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The warning about memory overcommit. Only 1 promises that the kernel hands out what there is.
fn overcommit(setting: &str) -> Option<String> {
    (setting != "1").then(|| {
        "Memory overcommit is not enabled (vm.overcommit_memory is not 1): the kernel may refuse memory while there is \
         still some, and a server that is refused memory has to end. Snapshots do not fork here and need no second copy of \
         the data, so this matters less than with Redis. To enable it add 'vm.overcommit_memory = 1' to \
         /etc/sysctl.conf, or run 'sysctl vm.overcommit_memory=1' for now."
            .to_owned()
    })
}

/// The warning about transparent huge pages. The setting in force stands in brackets.
fn huge_pages(setting: &str) -> Option<String> {
    setting.contains("[always]").then(|| {
        "Transparent huge pages are always on: memory that was freed in small pieces is given back late, so the server \
         takes more than it needs, and the kernel stops it now and then to put pages together. To let programs ask for \
         them instead run 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to \
         /etc/rc.local to keep it after a restart of the machine."
            .to_owned()
    })
}

/// The warning about the accept queue.
fn backlog(setting: &str, wanted: i64) -> Option<String> {
    let allowed: i64 = setting.parse().ok()?;
    (allowed < wanted).then(|| {
        format!(
            "The TCP backlog setting of {wanted} cannot be enforced because {BACKLOG_MAX} is set to the lower value of \
             {allowed}."
        )
    })
}

/// The warning about a clock that needs a system call to be read.
fn clock_source(setting: &str) -> Option<String> {
    (!matches!(setting, "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter")).then(|| {
        format!(
            "The system's clock source is '{setting}', which is slow to read. If the machine has a better one, see \
             /sys/devices/system/clocksource/clocksource0/available_clocksource."
        )
    })
}

/// Warns of what is amiss. `tcp_backlog` is `None` where no TCP port is listened on; `may_disable_huge_pages` is
/// `disable-thp`: then the process keeps huge pages away from itself instead of warning.
pub fn at_start(tcp_backlog: Option<i64>, may_disable_huge_pages: bool, log: &Log) {
    let backlog = tcp_backlog.and_then(|wanted| backlog(&read(BACKLOG_MAX)?, wanted));
    let overcommit = read(OVERCOMMIT).and_then(|setting| overcommit(&setting));
    let huge_pages = read(HUGE_PAGES)
        .and_then(|setting| huge_pages(&setting))
        .filter(|_| !(may_disable_huge_pages && nix::sys::prctl::set_thp_disable(true).is_ok()));
    for warning in [overcommit, huge_pages, backlog].into_iter().flatten() {
        log.warning(&format!("WARNING: {warning}"));
    }
}

/// `--check-system`: reports every check on `out`; whether all is well.
///
/// # Errors
/// When `out` cannot be written.
pub fn check_system(out: &mut impl Write) -> io::Result<bool> {
    let mut well = true;
    type Check = fn(&str) -> Option<String>;
    let checks: [(&str, &str, Check); 3] = [
        ("slow-clocksource", CLOCK_SOURCE, clock_source),
        ("overcommit", OVERCOMMIT, overcommit),
        ("THP", HUGE_PAGES, huge_pages),
    ];
    for (name, path, check) in checks {
        match read(path).map(|setting| check(&setting)) {
            None => writeln!(out, "[{name}]...skipped")?,
            Some(None) => writeln!(out, "[{name}]...OK")?,
            Some(Some(warning)) => {
                well = false;
                writeln!(out, "[{name}]...WARNING:\n{warning}")?;
            }
        }
    }
    Ok(well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_knows_good_from_bad() {
        assert!(overcommit("0").is_some() && overcommit("2").is_some() && overcommit("1").is_none());
        assert!(huge_pages("[always] madvise never").is_some() && huge_pages("always [madvise] never").is_none());
        assert!(backlog("128", 511).unwrap().contains("511") && backlog("4096", 511).is_none());
        assert!(clock_source("tsc").is_none() && clock_source("hpet").is_some());
    }

    #[test]
    fn the_report_names_every_check() {
        let mut out = Vec::new();
        let well = check_system(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.matches("]...").count(), 3);
        assert_eq!(well, !out.contains("WARNING"));
    }
}
