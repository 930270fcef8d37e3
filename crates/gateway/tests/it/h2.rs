//! HTTP/2 and gRPC.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Origin, Setup, assert_all_free, get, metric};

type Body = BoxBody<Bytes, Infallible>;

pub(crate) async fn connect(addr: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    send
}

fn grpc(addr: SocketAddr, method: &str, body: Body) -> Request<Body> {
    Request::post(format!("http://{addr}/pkg.Service/{method}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

fn message(body: &'static [u8]) -> Body {
    Full::new(Bytes::from_static(body)).boxed()
}

/// An HTTP/2 origin. `/…/Status` ends with the status that its body names, `/…/Echo` echoes frame
/// by frame, `/…/Hang` never answers.
async fn grpc_origin() -> (SocketAddr, Arc<AtomicUsize>) {
    let port = seawall_testkit::free_port().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let working = Arc::new(AtomicUsize::new(0));
    let counted = working.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            let service =
                hyper::service::service_fn(move |request| serve(request, counted.clone()));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (addr, working)
}

struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    request: Request<Incoming>,
    working: Arc<AtomicUsize>,
) -> Result<Response<Body>, Infallible> {
    working.fetch_add(1, Ordering::SeqCst);
    let working = Working(working);
    assert_eq!(
        (request.version(), request.headers()["te"].as_bytes()),
        (Version::HTTP_2, &b"trailers"[..])
    );
    let path = request.uri().path().to_owned();
    let body = if path.ends_with("/Hang") {
        std::future::pending::<()>().await;
        unreachable!()
    } else if path.ends_with("/Echo") {
        let (send, receive) = mpsc::channel::<Frame<Bytes>>(1);
        let mut body = request.into_body();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let _ = send.send(frame).await;
            }
            let _ = send.send(Frame::trailers(status("0"))).await;
            drop(working);
        });
        StreamBody::new(tokio_stream(receive)).boxed()
    } else {
        let code = request.into_body().collect().await.unwrap().to_bytes();
        let code = std::str::from_utf8(&code).unwrap().to_owned();
        Full::new(Bytes::from_static(b"answer"))
            .with_trailers(async move { Some(Ok(status(&code))) })
            .boxed()
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    Ok(response)
}

pub(crate) fn tokio_stream(
    mut receive: mpsc::Receiver<Frame<Bytes>>,
) -> impl futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>> {
    struct Frames<F>(F);
    impl<T, F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin>
        futures_core::Stream for Frames<F>
    {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            (self.0)(cx)
        }
    }
    Frames(move |cx: &mut std::task::Context<'_>| receive.poll_recv(cx).map(|frame| frame.map(Ok)))
}

fn status(code: &str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

#[tokio::test]
async fn http2_with_prior_knowledge_to_an_http1_origin() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut send = connect(gateway.addr).await;
    let request = Request::get(format!("http://{}/x?y", gateway.addr))
        .body(Empty::new().boxed())
        .unwrap();
    let response = send.send_request(request).await.unwrap();
    assert_eq!(
        (response.status(), response.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    assert_eq!(response.headers()["via"], "1.1 seawall");
    let echo = response.into_body().collect().await.unwrap().to_bytes();
    let echo = std::str::from_utf8(&echo).unwrap();
    assert!(
        echo.starts_with("GET /x?y HTTP/1.1\n")
            && echo.contains(&format!("\nhost: {}\n", gateway.addr)),
        "{echo}"
    );
    assert!(echo.contains("\nvia: 2 seawall\n"), "{echo}");
    assert_all_free(&gateway);
}

#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let (origin, _) = grpc_origin().await;
    let gateway = Setup::to(origin).start();
    let mut send = connect(gateway.addr).await;
    for code in ["0", "5", "13", "14"] {
        let response = send
            .send_request(grpc(
                gateway.addr,
                "Status",
                message(code.as_bytes().to_vec().leak()),
            ))
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let all = response.into_body().collect().await.unwrap();
        assert_eq!(all.trailers().unwrap()["grpc-status"], code);
        assert_eq!(all.to_bytes(), "answer");
    }
    assert_all_free(&gateway);
}

#[tokio::test]
async fn grpc_streams_both_ways_at_once() {
    let (origin, _) = grpc_origin().await;
    let gateway = Setup::to(origin).start();
    let mut client = connect(gateway.addr).await;
    let (send, receive) = mpsc::channel(1);
    let body = StreamBody::new(tokio_stream(receive)).boxed();
    let response = client
        .send_request(grpc(gateway.addr, "Echo", body))
        .await
        .unwrap();
    let mut body = response.into_body();
    for part in ["one", "two", "three"] {
        send.send(Frame::data(Bytes::from(part))).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(
            frame.into_data().unwrap(),
            part,
            "the answer to each before the next is sent"
        );
    }
    drop(send);
    let trailers = body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(body.frame().await.is_none());
    assert_all_free(&gateway);
}

#[tokio::test]
async fn a_reset_stream_cancels_the_origins_work() {
    let (origin, working) = grpc_origin().await;
    let gateway = Setup::to(origin).start();
    let mut send = connect(gateway.addr).await;
    let call = tokio::spawn({
        let request = grpc(gateway.addr, "Hang", Empty::new().boxed());
        let mut send = send.clone();
        async move { send.send_request(request).await.map(|_| ()) }
    });
    wait_for(&working, 1).await;
    call.abort();
    wait_for(&working, 0).await;
    // The connection goes on.
    let response = send
        .send_request(grpc(gateway.addr, "Status", message(b"0")))
        .await
        .unwrap();
    assert_eq!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .trailers()
            .unwrap()["grpc-status"],
        "0"
    );
    assert_all_free(&gateway);
}

async fn wait_for(count: &AtomicUsize, value: usize) {
    while count.load(Ordering::SeqCst) != value {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_unreachable_origin_in_grpcs_words() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()));
    let gateway = Setup::to(nowhere).start();
    let mut send = connect(gateway.addr).await;
    let response = send
        .send_request(grpc(gateway.addr, "Status", message(b"0")))
        .await
        .unwrap();
    assert_eq!(
        (
            response.status(),
            response.headers()["grpc-status"].as_bytes()
        ),
        (StatusCode::OK, &b"14"[..])
    );
}

/// Frames by hand: what a well-behaved client cannot be made to send.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET http://a/` from HPACK's static table.
const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

#[tokio::test]
async fn rapid_resets_cost_the_connection() {
    let origin = Origin::raw(|stream| {
        // Never answers.
        let _stream = stream;
        loop {
            std::thread::park();
        }
    });
    let gateway = Setup::to(origin.addr)
        .upstream("max_connections = 8\n")
        .start();
    let mut stream = TcpStream::connect(gateway.addr).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let mut sent = 0;
    for at in 0..20_000u32 {
        let id = 2 * at + 1;
        let both = [
            frame(1, 0x5, id, HEAD),
            frame(3, 0, id, &8u32.to_be_bytes()),
        ]
        .concat();
        if stream.write_all(&both).await.is_err() {
            break;
        }
        sent += 1;
    }
    let mut rest = Vec::new();
    // GOAWAY, or cut: in either case it ends.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(sent > 20);
    assert_all_free(&gateway);
    assert!(
        origin.connections() <= 1_000,
        "{} of {sent} reached the origin",
        origin.connections()
    );
    assert_eq!(get(gateway.admin, "/healthz").status(), 200);
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn oversized_headers_are_refused_on_their_stream() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("max_header_bytes = '16KiB'\n")
        .start();
    let mut send = connect(gateway.addr).await;
    let request = Request::get(format!("http://{}/", gateway.addr))
        .header("x", "v".repeat(20 << 10))
        .body(Empty::new().boxed())
        .unwrap();
    let refused = send.send_request(request).await;
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status() == 431));
    assert_eq!(origin.requests(), 0);
    assert_eq!(
        metric(&gateway, "seawall_inflight{upstream=\"default\"}"),
        0.0
    );
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_no_other() {
    // More than the window, and not at an end, so that the place is held meanwhile.
    let origin = Origin::serving(|request, stream| {
        if request.start.contains("/large") {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
            let sent = stream.write_all(head);
            return sent.is_ok() && (0..2_000).all(|_| stream.write_all(&[b'x'; 50_000]).is_ok());
        }
        crate::support::write_response(stream, "200 OK", "", b"small");
        true
    });
    let gateway = Setup::to(origin.addr)
        .listener("write_timeout = '80ms'\n")
        .start();
    let mut send = connect(gateway.addr).await;
    let get = |path: &str| {
        Request::get(format!("http://{}{path}", gateway.addr))
            .body(Empty::new().boxed())
            .unwrap()
    };
    let stalled = send.send_request(get("/large")).await.unwrap();
    assert_eq!(stalled.status(), StatusCode::OK);
    crate::support::eventually("the stream is cut", || {
        metric(&gateway, "seawall_faults_total{fault=\"connection-cut\"}") == 1.0
    });
    assert_all_free(&gateway);
    let small = send.send_request(get("/small")).await.unwrap();
    let small = small.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(small, "small", "the connection goes on");
    let rest = stalled.into_body().collect().await;
    assert!(rest.is_err(), "a cut reply must not look whole");
}

#[tokio::test]
async fn a_stream_that_is_read_in_drips_is_reset() {
    let origin = Origin::serving(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n";
        let sent = stream.write_all(head);
        sent.is_ok() && (0..50).all(|_| stream.write_all(&[b'x'; 40_000]).is_ok())
    });
    let gateway = Setup::to(origin.addr)
        .listener("write_timeout = '300ms'\nmin_rate = '64MiB'\n")
        .start();
    let stream = TcpStream::connect(gateway.addr).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 << 10)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", gateway.addr));
    let response = send.send_request(request.body(Empty::new().boxed()).unwrap());
    let mut body = response.await.unwrap().into_body();
    // Never silent for long, and still too slow.
    let cut = loop {
        match body.frame().await {
            Some(Ok(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut, "it was let finish");
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"connection-cut\"}"),
        1.0
    );
}

#[tokio::test]
async fn cookies_are_one_field_in_http1() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut send = connect(gateway.addr).await;
    let request = Request::get(format!("http://{}/", gateway.addr))
        .version(Version::HTTP_2)
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("cookie", "c=3")
        .body(Empty::new().boxed())
        .unwrap();
    let response = send.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("\ncookie: a=1; b=2; c=3\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_has_none() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()));
    for (method, lines, status, length) in [
        ("HEAD", "fallback.body = 'instead'\n", 200, Some("7")),
        ("HEAD", "retry.attempts = 1\n", 502, Some("29")),
        (
            "GET",
            "fallback.body = 'x'\nfallback.status = 204\n",
            204,
            None,
        ),
    ] {
        let gateway = Setup::to(nobody).upstream(lines).start();
        let request = Request::builder()
            .method(method)
            .version(Version::HTTP_2)
            .uri(format!("http://{}/", gateway.addr))
            .body(Empty::new().boxed())
            .unwrap();
        let mut send = connect(gateway.addr).await;
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{lines}");
        let said = response.headers().get("content-length").cloned();
        assert_eq!(
            said.as_ref().map(|v| v.as_bytes()),
            length.map(str::as_bytes)
        );
        let body = response.into_body().collect().await.expect("no error");
        assert!(body.to_bytes().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_host_is_asked_for_its_load_over_http2() {
    let port = seawall_testkit::free_port().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = probes.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let probe = request.uri().path() == "/.well-known/seawall-load";
                counted.fetch_add(usize::from(probe), Ordering::SeqCst);
                async { Ok::<_, Infallible>(Response::new(message(b"here"))) }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    let gateway = Setup::to(addr)
        .upstream("protocol = 'h2'\nbalance.algorithm = 'prequal'\n")
        .start();
    for _ in 0..20 {
        assert_eq!(get(gateway.addr, "/").text(), "here");
    }
    crate::support::eventually("it is asked", || probes.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_to_be_left_alone_is_so_by_grpc() {
    let (origin, asked) = grpc_origin().await;
    let gateway = Setup::to(origin)
        .upstream("fallback.body = '[]'\nfallback.always = true\n")
        .start();
    let mut send = connect(gateway.addr).await;
    let request = grpc(gateway.addr, "Hang", message(b"x"));
    let response = send.send_request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
