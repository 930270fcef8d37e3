//! The same over HTTP/2.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{cached, counting};
use crate::support::{Origin, get, write_response};

async fn ask(addr: std::net::SocketAddr, path: &str) -> (http::response::Parts, Bytes) {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://test{path}"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn both_protocols_share_what_is_kept() {
    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let (parts, body) = ask(running.addr, "/").await;
    assert_eq!(
        (&body[..], &parts.headers["cache-status"]),
        (&b"1"[..], &"seawall; fwd=miss; stored".parse().unwrap())
    );
    let (parts, body) = ask(running.addr, "/").await;
    assert_eq!(
        (&body[..], &parts.headers["cache-status"]),
        (&b"1"[..], &"seawall; hit".parse().unwrap())
    );
    let addr = running.addr;
    let plain = tokio::task::spawn_blocking(move || get(addr, "/").text())
        .await
        .unwrap();
    assert_eq!(plain, "1");
}

#[tokio::test]
async fn large_bodies_come_whole() {
    let origin = Origin::serving(|_, stream| {
        let body: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        write_response(stream, "200 OK", "cache-control: max-age=60\r\n", &body);
        true
    });
    let running = cached(&origin, "");
    for _ in 0..3 {
        let (parts, body) = ask(running.addr, "/").await;
        assert_eq!(parts.headers["content-length"], "300000");
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        assert_eq!(body.len(), 300_000);
    }
    assert_eq!(origin.requests(), 1);
}
