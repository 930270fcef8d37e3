use super::*;

/// A query as `dig` writes it, with EDNS of this size.
fn query(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
    let mut out = vec![
        0xAB,
        0xCD,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(size.is_some()),
    ];
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    if let Some(size) = size {
        out.extend([0, 0, 41]);
        out.extend(size.to_be_bytes());
        out.extend([0; 6]);
    }
    out
}

fn by_udp(dns: &Dns, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).unwrap();
    socket.send_to(query, dns.address()).unwrap();
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

#[test]
fn answers_are_those_of_the_script_in_turn() {
    let dns = Dns::start().unwrap();
    dns.say(
        "DB.test",
        DnsKind::A,
        [DnsReply::ips(7, ["10.0.0.1"]), DnsReply::Code(2)],
    );
    let ask = query("db.test", 1, None);
    let first = by_udp(&dns, &ask).unwrap();
    let mut expected = vec![0xAB, 0xCD, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    expected.extend(&ask[12..]);
    expected.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 7, 0, 4, 10, 0, 0, 1]);
    assert_eq!(first, expected);
    for _ in 0..2 {
        assert_eq!(by_udp(&dns, &ask).unwrap()[3] & 0x0F, 2, "SERVFAIL");
    }
    assert_eq!(dns.asked("db.test", DnsKind::A), 3);
}

#[test]
fn no_such_name_is_not_no_such_record() {
    let dns = Dns::start().unwrap();
    dns.say("db.test", DnsKind::A, [DnsReply::ips(7, ["10.0.0.1"])]);
    let code = |name| by_udp(&dns, &query(name, 28, None)).unwrap()[3] & 0x0F;
    assert_eq!((code("db.test"), code("other.test")), (0, 3));
}

#[test]
fn what_is_too_long_goes_over_tcp() {
    let dns = Dns::start().unwrap();
    let ips: Vec<String> = (0..1000)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    let reply = DnsReply::ips(7, ips.iter().map(String::as_str));
    dns.say("db.test", DnsKind::A, [reply, DnsReply::Silence]);
    let ask = query("db.test", 1, Some(1232));
    let cut = by_udp(&dns, &ask).unwrap();
    assert_eq!((cut[2] & 0x02, &cut[6..8]), (0x02, &[0, 0][..]));

    let mut stream = TcpStream::connect(dns.address()).unwrap();
    let length = (ask.len() as u16).to_be_bytes();
    stream.write_all(&[&length[..], &ask].concat()).unwrap();
    let mut head = [0; 10];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(u16::from_be_bytes([head[8], head[9]]), 1000);
    assert_eq!((dns.by_tcp(), dns.asked("db.test", DnsKind::A)), (1, 1));
}

#[test]
fn what_is_no_query_is_not_answered_and_ends_nothing() {
    let dns = Dns::start().unwrap();
    let whole = query("db.test", 1, None);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for length in 0..whole.len() {
        socket.send_to(&whole[..length], dns.address()).unwrap();
    }
    socket.send_to(&[0xFF; 600], dns.address()).unwrap();
    assert!(by_udp(&dns, &whole).is_some());
    assert_eq!(dns.asked("db.test", DnsKind::A), 1);
}
