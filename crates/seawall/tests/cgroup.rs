//! cgroup layouts as they are met in the wild, as trees of files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use seawall::signals::{CpuLayout, UsageSource};

/// A directory that looks like a root with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("files lie in directories")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    root
}

fn found(files: &[(&str, &str)]) -> (tempfile::TempDir, CpuLayout) {
    let root = tree(files);
    let layout = CpuLayout::discover(root.path());
    (root, layout)
}

const V2_MOUNT: &str =
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_MOUNTS: &str = "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         34 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

#[test]
fn v2_nested_takes_the_tightest_quota_above() {
    let (root, layout) = found(&[
        ("proc/self/cgroup", "0::/system.slice/shop.service\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 999999999\n"),
        ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/system.slice/cgroup.events", ""),
        (
            "sys/fs/cgroup/system.slice/shop.service/cpu.max",
            "200000 100000\n",
        ),
        (
            "sys/fs/cgroup/system.slice/shop.service/cgroup.events",
            "populated 1\n",
        ),
        (
            "sys/fs/cgroup/system.slice/shop.service/cpu.stat",
            "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
        ),
    ]);
    assert_eq!(
        layout.usage,
        UsageSource::V2(
            root.path()
                .join("sys/fs/cgroup/system.slice/shop.service/cpu.stat")
        )
    );
    assert_eq!(layout.read_usage(), Some(Duration::from_millis(1_500)));
    assert_eq!(layout.read_quota(), Some(1.5));
}

#[test]
fn v2_in_a_namespace_is_not_the_root_though_its_path_says_so() {
    let (_root, layout) = found(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/cgroup.events", "populated 1\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 7\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
    ]);
    assert_eq!(layout.read_usage(), Some(Duration::from_micros(7)));
    assert_eq!(layout.read_quota(), None);
}

#[test]
fn the_hosts_root_is_never_used() {
    let (_root, layout) = found(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 123456789\n"),
    ]);
    assert_eq!(layout.usage, UsageSource::Process);
    let (_root, layout) = found(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/\n0::/\n"),
        ("proc/self/mountinfo", V1_MOUNTS),
        ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "123456789\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(
        (layout.usage.clone(), layout.read_quota()),
        (UsageSource::Process, None)
    );
}

#[test]
fn v1_nested_with_a_quota_at_an_ancestor() {
    let (_root, layout) = found(&[
        (
            "proc/self/cgroup",
            "11:memory:/other\n4:cpu,cpuacct:/kubepods/pod1/c1\n",
        ),
        ("proc/self/mountinfo", V1_MOUNTS),
        ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
        (
            "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/cpu.cfs_quota_us",
            "50000\n",
        ),
        (
            "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/cpu.cfs_period_us",
            "100000\n",
        ),
        (
            "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/c1/cpu.cfs_quota_us",
            "-1\n",
        ),
        (
            "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/c1/cpu.cfs_period_us",
            "100000\n",
        ),
        (
            "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/c1/cpuacct.usage",
            "2000000000\n",
        ),
    ]);
    assert_eq!(layout.read_usage(), Some(Duration::from_secs(2)));
    assert_eq!(layout.read_quota(), Some(0.5));
}

#[test]
fn v1_in_a_container_sees_only_its_part_of_the_hierarchy() {
    // Without a cgroup namespace: paths are the host's, the mount shows the part below one of them.
    let mounts = "33 31 0:29 /docker/abc /sys/fs/cgroup/cpuacct ro - cgroup cgroup rw,cpuacct\n\
                  34 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
    let (_root, layout) = found(&[
        (
            "proc/self/cgroup",
            "5:cpuacct:/docker/abc/inner\n4:cpu:/docker/abc\n",
        ),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/cpuacct/inner/cpuacct.usage", "42\n"),
        ("sys/fs/cgroup/cpuacct/cpuacct.usage", "77\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(layout.read_usage(), Some(Duration::from_nanos(42)));
    assert_eq!(layout.read_quota(), Some(2.5));
}

#[test]
fn a_group_outside_the_mounted_part_is_its_mount() {
    for path in ["/../sibling", "/docker/abcdef", "/elsewhere"] {
        let (_root, layout) = found(&[
            ("proc/self/cgroup", &format!("0::{path}\n")),
            (
                "proc/self/mountinfo",
                &V2_MOUNT.replace("0:26 /", "0:26 /docker/abc"),
            ),
            ("sys/fs/cgroup/cgroup.events", ""),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 3\n"),
        ]);
        assert_eq!(
            layout.read_usage(),
            Some(Duration::from_micros(3)),
            "{path}"
        );
    }
}

#[test]
fn hybrid_counts_where_the_controller_is() {
    let mounts =
        format!("{V1_MOUNTS}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    let (_root, layout) = found(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/app\n0::/app.scope\n"),
        ("proc/self/mountinfo", &mounts),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpuacct.usage", "5\n"),
        ("sys/fs/cgroup/unified/app.scope/cgroup.events", ""),
        ("sys/fs/cgroup/unified/app.scope/cpu.stat", "usage_usec 6\n"),
        ("sys/fs/cgroup/unified/app.scope/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(layout.read_usage(), Some(Duration::from_nanos(5)));
    assert_eq!(layout.read_quota(), Some(3.0));
    // In v1's root, v2's group is the one that is ours.
    let (_root, layout) = found(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/\n0::/app.scope\n"),
        ("proc/self/mountinfo", &mounts),
        ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "5\n"),
        ("sys/fs/cgroup/unified/app.scope/cgroup.events", ""),
        ("sys/fs/cgroup/unified/app.scope/cpu.stat", "usage_usec 6\n"),
    ]);
    assert_eq!(layout.read_usage(), Some(Duration::from_micros(6)));
}

#[test]
fn nothing_there() {
    assert_eq!(
        CpuLayout::discover(Path::new("/nonexistent")).usage,
        UsageSource::Process
    );
    let (_root, layout) = found(&[("proc/self/cgroup", "0::/a\n")]);
    assert_eq!(
        (
            layout.usage.clone(),
            layout.read_usage(),
            layout.read_quota()
        ),
        (UsageSource::Process, None, None)
    );
}

#[test]
fn garbage() {
    for (cgroup, mounts, max, stat) in [
        ("0::/a", V2_MOUNT, "a b c", "usage_usec many"),
        ("0::/a", V2_MOUNT, "0 0", ""),
        ("0::/a", V2_MOUNT, "-5 100000", "usage_usec -1"),
        ("0::/a", V2_MOUNT, "inf 1", "usage_usec"),
        ("0::/a", V2_MOUNT, "", "\u{0}\u{0}"),
    ] {
        let (_root, layout) = found(&[
            ("proc/self/cgroup", cgroup),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/a/cgroup.events", ""),
            ("sys/fs/cgroup/a/cpu.max", max),
            ("sys/fs/cgroup/a/cpu.stat", stat),
        ]);
        assert_eq!(
            (layout.read_usage(), layout.read_quota()),
            (None, None),
            "{max} {stat}"
        );
    }
    for (cgroup, mounts) in [
        ("", ""),
        ("::::", " - - -"),
        ("0", "1 2 3 - cgroup2"),
        ("0::/a\n\u{7f}", " - cgroup2 x y"),
    ] {
        let (_root, layout) = found(&[
            ("proc/self/cgroup", cgroup),
            ("proc/self/mountinfo", mounts),
        ]);
        assert_eq!(layout.usage, UsageSource::Process);
    }
}
