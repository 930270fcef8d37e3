//! Names that need no DNS: `localhost` and those of the hosts file.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::filed::Filed;
use super::settings::Families;

/// Addresses by name, of a file in the form of hosts(5) that is read again when it changes.
#[derive(Debug)]
pub(super) struct Hosts {
    file: Filed,
    names: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            file: Filed::new(path),
            names: HashMap::new(),
        }
    }

    /// The addresses of `name` in the file; none where it is not in it. A file that cannot be read
    /// has no names. Blocks on a local disk for as long as a small file takes.
    pub(super) fn get(&mut self, name: &str) -> Option<&[IpAddr]> {
        if self.file.has_changed() {
            let text = std::fs::read(self.file.path()).unwrap_or_default();
            self.names = parse(&String::from_utf8_lossy(&text));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        self.names.get(name).map(Vec::as_slice)
    }
}

fn parse(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse) else {
            continue;
        };
        for name in words {
            names.entry(name.to_ascii_lowercase()).or_default().push(ip);
        }
    }
    names
}

/// The address of `localhost` and the names below it (RFC 6761, section 6.3), whatever a file or a
/// resolver says: the IPv4 one, unless only IPv6 is wanted. Both would make two endpoints of one
/// server, of which most listen on one.
pub(super) fn localhost(name: &str, families: Families) -> Option<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name != "localhost" && !name.ends_with(".localhost") {
        return None;
    }
    Some(match families {
        Families::Both | Families::V4 => Ipv4Addr::LOCALHOST.into(),
        Families::V6 => Ipv6Addr::LOCALHOST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let mut hosts = Hosts::new(&path);
        assert_eq!(hosts.get("db"), None);
        std::fs::write(
            &path,
            "10.0.0.7\tDB db.internal # ours\n\nnonsense db\n::7 db\n#10.0.0.8 old\n",
        )
        .unwrap();
        let db: Vec<IpAddr> = vec![[10, 0, 0, 7].into(), "::7".parse().unwrap()];
        assert_eq!(hosts.get("db"), Some(&db[..]));
        assert_eq!(hosts.get("db.internal."), Some(&db[..1]));
        assert_eq!(hosts.get("old"), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(hosts.get("db"), None);
    }

    #[test]
    fn localhost_is_one_server() {
        let v4 = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
        for name in ["localhost", "localhost.", "a.localhost"] {
            assert_eq!(localhost(name, Families::Both), v4);
        }
        assert_eq!(
            localhost("localhost", Families::V6),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(localhost("notlocalhost", Families::Both), None);
        assert_eq!(localhost("localhost.example", Families::Both), None);
    }
}
