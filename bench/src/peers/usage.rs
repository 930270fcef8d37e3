//! What a process and its children use, from `/proc`.

use std::time::Duration;

/// Processor time and memory of a process tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time so far, in the kernel's ticks of 10 ms.
    pub cpu: Duration,
    /// Resident bytes now. Pages that processes share count in each.
    pub resident: u64,
    /// The sum of each process's most resident bytes.
    pub peak: u64,
}

/// What the process `id` and its living descendants use; nothing once it is gone.
#[must_use]
pub fn usage(id: u32) -> Usage {
    let all: Vec<Stat> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect();
    let mut tree = vec![id];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        let children = all.iter().filter(|stat| stat.parent == parent);
        tree.extend(children.map(|stat| stat.id));
        next += 1;
    }
    let mut sum = Usage::default();
    for stat in all.iter().filter(|stat| tree.contains(&stat.id)) {
        sum.cpu += stat.cpu;
        let (resident, peak) = memory(stat.id);
        sum.resident += resident;
        sum.peak += peak;
    }
    sum
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    id: u32,
    parent: u32,
    cpu: Duration,
}

fn read(id: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// `id (name) state parent …`; the name may hold anything, so what follows its last bracket counts.
fn parse(stat: &str) -> Option<Stat> {
    let (id, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let parent = fields.get(1)?.parse().ok()?;
    // utime and stime are fields 14 and 15 of the line, counted from 1.
    let ticks = ticks(11)? + ticks(12)?;
    let second = rustix::param::clock_ticks_per_second();
    Some(Stat {
        id: id.parse().ok()?,
        parent,
        cpu: Duration::from_secs_f64(ticks as f64 / second as f64),
    })
}

fn memory(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 5";
        let stat = parse(line).expect("valid");
        assert_eq!((stat.id, stat.parent), (42, 7));
        assert!(stat.cpu > Duration::ZERO);
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = usage(std::process::id());
        assert!(usage.resident > 0 && usage.peak >= usage.resident);
    }
}
