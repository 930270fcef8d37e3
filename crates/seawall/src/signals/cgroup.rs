//! Where the process's own CPU use and quota are written, for cgroup v1, v2 and both together.
//!
//! The files are found the way the kernel describes them: `/proc/self/cgroup` names the process's
//! group in each hierarchy, `/proc/self/mountinfo` says where a hierarchy is mounted and which
//! part of it (cgroups(7)). In a container without a cgroup namespace the first speaks of host
//! paths of which only the mounted part is visible; what lies outside is cut off.
//!
//! A **root** group counts the whole host, so it is never used: the process's own CPU time is taken
//! instead. A v2 root has no `cgroup.events`; a v1 root has `release_agent`. In a cgroup namespace
//! both path and mount say `/` for a group that is not the root, so only these files can tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where CPU use is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageSource {
    /// `usage_usec` of this `cpu.stat`.
    V2(PathBuf),
    /// The nanoseconds in this `cpuacct.usage`.
    V1(PathBuf),
    /// The process's own clock: no group of its own could be found.
    Process,
}

/// What was found of the process's cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuLayout {
    /// Where its CPU use is counted.
    pub usage: UsageSource,
    /// The group directories whose quota binds, own first, then every visible ancestor.
    quotas: Vec<Quota>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Quota {
    /// `cpu.max`: `max 100000` or `50000 100000`.
    V2(PathBuf),
    /// `cpu.cfs_quota_us` (−1: none) and `cpu.cfs_period_us`.
    V1(PathBuf),
}

/// A mounted hierarchy and the process's place in it.
struct Group {
    mount: PathBuf,
    directory: PathBuf,
}

impl CpuLayout {
    /// Looks below `root`, which is `/` except in tests. Never fails: what is missing or makes no
    /// sense is left out, at worst down to [`UsageSource::Process`] without a quota.
    #[must_use]
    pub fn discover(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let (cgroups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        let group = |controller: Option<&str>| {
            let path = own_path(&cgroups, controller)?;
            let (mount, mounted) = mount_of(&mounts, controller)?;
            let mount = root.join(mount.trim_start_matches('/'));
            let below = path
                .strip_prefix(mounted.trim_end_matches('/'))
                .filter(|p| p.is_empty() || p.starts_with('/'));
            let directory = mount.join(below.unwrap_or_default().trim_start_matches('/'));
            // A group that cannot be seen (`/../x`, or outside the mounted part) leaves its mount.
            let seen = !path.contains("..") && directory.is_dir();
            Some(Group {
                directory: if seen { directory } else { mount.clone() },
                mount,
            })
        };
        let (v1_usage, v1_quota, v2) = (group(Some("cpuacct")), group(Some("cpu")), group(None));

        let usage = v1_usage
            .and_then(|g| g.v1_usage())
            .or_else(|| v2.as_ref().and_then(Group::v2_usage));
        let mut quotas = Vec::new();
        if let Some(group) = &v1_quota {
            quotas.extend(group.upwards().map(|d| Quota::V1(d.to_owned())));
        }
        if let Some(group) = &v2 {
            quotas.extend(group.upwards().map(|d| Quota::V2(d.to_owned())));
        }
        Self {
            usage: usage.unwrap_or(UsageSource::Process),
            quotas,
        }
    }

    /// CPU time used so far; `None` where the file is gone or makes no sense, and always for
    /// [`UsageSource::Process`], whose clock the sampler reads.
    #[must_use]
    pub fn read_usage(&self) -> Option<Duration> {
        match &self.usage {
            UsageSource::V2(path) => parse_cpu_stat(&fs::read_to_string(path).ok()?),
            UsageSource::V1(path) => fs::read_to_string(path)
                .ok()?
                .trim()
                .parse()
                .ok()
                .map(Duration::from_nanos),
            UsageSource::Process => None,
        }
    }

    /// The CPUs that the tightest quota of the group and its ancestors leaves; `None` for no quota.
    #[must_use]
    pub fn read_quota(&self) -> Option<f64> {
        self.quotas
            .iter()
            .filter_map(Quota::read)
            .min_by(f64::total_cmp)
    }
}

impl Group {
    fn v1_usage(&self) -> Option<UsageSource> {
        let file = self.directory.join("cpuacct.usage");
        (!self.directory.join("release_agent").exists() && file.exists())
            .then_some(UsageSource::V1(file))
    }

    fn v2_usage(&self) -> Option<UsageSource> {
        let file = self.directory.join("cpu.stat");
        (self.directory.join("cgroup.events").exists() && file.exists())
            .then_some(UsageSource::V2(file))
    }

    /// The own directory and those above it, to the mount.
    fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.directory
            .ancestors()
            .take_while(|d| d.starts_with(&self.mount))
    }
}

impl Quota {
    fn read(&self) -> Option<f64> {
        match self {
            Self::V2(dir) => parse_cpu_max(&fs::read_to_string(dir.join("cpu.max")).ok()?),
            Self::V1(dir) => {
                let number = |file| {
                    fs::read_to_string(dir.join(file))
                        .ok()?
                        .trim()
                        .parse::<f64>()
                        .ok()
                };
                cpus(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
            }
        }
    }
}

/// `None` for no quota or none that makes sense.
fn cpus(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0)
        .then(|| quota / period)
        .filter(|c| c.is_finite())
}

fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let quota = words.next()?.parse().ok()?;
    cpus(
        quota,
        words.next().map_or(Some(100_000.0), |p| p.parse().ok())?,
    )
}

fn parse_cpu_stat(text: &str) -> Option<Duration> {
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    usage.trim().parse().ok().map(Duration::from_micros)
}

/// The process's path in the hierarchy of `controller`; `None` is the v2 hierarchy.
fn own_path<'t>(cgroups: &'t str, controller: Option<&str>) -> Option<&'t str> {
    cgroups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let found = match controller {
            Some(name) => controllers.split(',').any(|c| c == name),
            None => id == "0" && controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// Where the hierarchy of `controller` is mounted, and which part of it.
fn mount_of<'t>(mounts: &'t str, controller: Option<&str>) -> Option<(&'t str, &'t str)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (mounted, mount) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, _, options) = (
            right.next()?,
            right.next(),
            right.next().unwrap_or_default(),
        );
        let found = match controller {
            Some(name) => kind == "cgroup" && options.split(',').any(|o| o == name),
            None => kind == "cgroup2",
        };
        found.then_some((mount, mounted))
    })
}
