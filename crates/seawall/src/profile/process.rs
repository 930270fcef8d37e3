//! What the kernel says of this process and its threads.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Of the process as a whole. What the system does not tell is absent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = number_of(&status, "VmRSS:");
        let fds = fs::read_dir("/proc/self/fd").ok();
        Self {
            cpu_seconds: cpu().map(|time| time.as_secs_f64()),
            resident_bytes: kib.map(|kib| kib.saturating_mul(1024)),
            // Less the one that reads them.
            open_fds: fds.map(|fds| (fds.count() as u64).saturating_sub(1)),
            threads: number_of(&status, "Threads:"),
        }
    }
}

fn number_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(unix)]
fn cpu() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
    Some(Duration::new(seconds, nanos))
}

#[cfg(not(unix))]
fn cpu() -> Option<Duration> {
    None
}

/// What a thread does: whether it computes, and if not, where in the kernel it waits.
pub(super) fn thread(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
    state_of(&stat, || {
        fs::read_to_string(format!("/proc/self/task/{id}/wchan")).ok()
    })
}

fn state_of(stat: &str, wchan: impl FnOnce() -> Option<String>) -> Option<String> {
    // After the name, which is in brackets and may hold anything.
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    if state == 'R' {
        return Some("computes".to_owned());
    }
    // "0" where the kernel does not tell.
    let place = wchan().filter(|place| !place.is_empty() && place != "0");
    Some(match place {
        Some(place) => format!("waits in {place}"),
        None => "waits in the kernel".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let waits = || Some("futex_do_wait".to_owned());
        let state = |stat: &str| state_of(stat, waits).unwrap_or_default();
        assert_eq!(state("7 (a) b) R 1 1"), "computes");
        assert_eq!(state("7 (worker) S 1 1"), "waits in futex_do_wait");
        assert_eq!(state("7 (worker"), "");
        assert_eq!(
            state_of("7 (w) D 1", || None).as_deref(),
            Some("waits in the kernel")
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_itself() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(1 << 20) && process.threads >= Some(1));
        assert!(process.open_fds >= Some(1) && process.cpu_seconds > Some(0.0));
    }
}
