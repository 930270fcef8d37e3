use super::*;
use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use prometheus_client::{encoding::text, registry::Registry};
use seawall_policy::limit::Fixed;
use tower::{ServiceExt, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::api::{Method, Streaming};
use crate::layer::settings::MethodSettings;
use crate::telemetry::{FinishedSpan, LogGuard, LogSettings};

const SAY: Method = Method::new(
    "echo.v1.Echo/Say",
    &[("GET", "/say/{text}")],
    Streaming::NONE,
    true,
);
const WATCH: Method = Method::new(
    "echo.v1.Echo/Watch",
    &[("GET", "/watch")],
    Streaming {
        client: false,
        server: true,
    },
    true,
);

/// What the body of an answer does, frame by frame.
enum Step {
    Data(&'static str),
    Trailers(&'static str),
    Silent,
    Panic,
}

struct Steps(std::collections::VecDeque<Step>);

impl Body for Steps {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(Step::Data(text)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(text))))),
            Some(Step::Trailers(code)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", code.parse().unwrap());
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Step::Silent) => {
                self.0.push_front(Step::Silent);
                Poll::Pending
            }
            Some(Step::Panic) => panic!("in the body"),
            None => Poll::Ready(None),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Spans(Mutex<Vec<FinishedSpan>>);

impl SpanSink for Spans {
    fn export(&self, span: FinishedSpan) {
        self.0.lock().push(span);
    }
}

/// A stack that logs and traces everything, and what it told.
struct Bench {
    stack: Stack,
    output: Output,
    log: Log,
    guard: LogGuard,
    spans: Arc<Spans>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::with(settings, 100)
    }

    fn with(mut settings: Settings, limit: u32) -> Self {
        settings.log.access = 1.0;
        settings.trace.sample = 1.0;
        let output = Output::default();
        let (log, guard) = Log::start(output.clone(), LogSettings::default()).unwrap();
        let spans = Arc::new(Spans::default());
        let gate = GateSettings {
            limit: Box::new(Fixed::new(limit)),
            max_queued: 1,
            ..GateSettings::default()
        };
        let stack = Stack::builder(Methods::new(&[SAY, WATCH]).unwrap())
            .settings(settings)
            .trust(Trust::Internal)
            .admission(Admission::new(gate, Clock::runtime()))
            .log(log.clone())
            .spans(spans.clone())
            .build()
            .unwrap();
        Self {
            stack,
            output,
            log,
            guard,
            spans,
        }
    }

    fn page(&self) -> String {
        let mut registry = Registry::with_prefix("seawall");
        registry.register_collector(Box::new(self.stack.metrics()));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        page
    }

    /// Each call is told of once by all three, and alike.
    fn told(self) -> Vec<serde_json::Value> {
        let page = self.page();
        let counted: u64 = page
            .lines()
            .filter(|line| line.starts_with("seawall_requests_total"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        drop(self.guard);
        let output = self.output.0.lock();
        let lines = std::str::from_utf8(&output).unwrap().lines();
        let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let lines: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
        let spans = self.spans.0.lock();
        assert_eq!(
            (counted, spans.len()),
            (lines.len() as u64, lines.len()),
            "{page}"
        );
        for (line, span) in lines.iter().zip(&*spans) {
            assert_eq!(line["method"], *span.name);
            assert_eq!(line["trace_id"], format!("{:032x}", span.trace.trace_id));
        }
        assert!(!page.contains("seawall_requests_inflight{"), "{page}");
        assert_eq!(self.stack.admission().snapshot().inflight, 0);
        lines
    }
}

fn request(path: &str, grpc: bool) -> Request<()> {
    let mut request = Request::get(path);
    if grpc {
        request = request.header("content-type", "application/grpc");
    }
    request.body(()).unwrap()
}

fn say(grpc: bool) -> Request<()> {
    let path = if grpc {
        "/echo.v1.Echo/Say"
    } else {
        "/say/hello"
    };
    request(path, grpc)
}

/// Status and code of gRPC, wherever it stands; `Err` where the body broke off.
async fn whole<B>(response: Response<B>) -> Result<(u16, Option<String>), String>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let status = response.status().as_u16();
    let head = response.headers().get("grpc-status").cloned();
    let body = response.into_body();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let code = head.or_else(|| body.trailers()?.get("grpc-status").cloned());
    Ok((status, code.map(|code| code.to_str().unwrap().to_owned())))
}

fn steps(steps: impl IntoIterator<Item = Step>) -> Response<Steps> {
    Response::new(Steps(steps.into_iter().collect()))
}

/// Runs the calls of a test with the log's own layer for events.
async fn logged<F: Future>(bench: &Bench, run: F) -> F::Output {
    let subscriber = tracing_subscriber::registry().with(bench.log.layer());
    let _here = tracing::subscriber::set_default(subscriber);
    run.await
}

#[tokio::test]
async fn a_panic_is_an_answer_and_a_report() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        if true {
            panic!("number {}", 7);
        }
        Ok::<_, Infallible>(steps([]))
    }));
    logged(&bench, async {
        for (grpc, answer) in [(false, (500, None)), (true, (200, Some("13".to_owned())))] {
            let response = service.clone().oneshot(say(grpc)).await.unwrap();
            assert_eq!(whole(response).await, Ok(answer));
        }
    })
    .await;
    assert!(
        bench
            .page()
            .contains("seawall_panics_total{method=\"echo.v1.Echo/Say\"} 2")
    );
    assert_eq!(bench.stack.admission().snapshot().totals.admitted[1], 2);
    let output = bench.output.clone();
    assert_eq!(bench.told().len(), 2);
    let output = String::from_utf8(output.0.lock().clone()).unwrap();
    let report = output
        .lines()
        .find(|line| line.contains("a handler panicked"))
        .unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let fields = &report["fields"];
    assert_eq!(
        (&report["level"], &fields["panic"]),
        (&"ERROR".into(), &"number 7".into())
    );
    assert_eq!(fields["method"], SAY.name);
    assert!(
        fields["place"]
            .as_str()
            .unwrap()
            .contains("stack/tests.rs:"),
        "{fields}"
    );
    assert!(output.matches(fields["trace_id"].as_str().unwrap()).count() >= 2);
}

#[tokio::test]
async fn a_panic_before_the_future_is_one_too() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(|_: Request<()>| {
        if true {
            panic!("at once");
        }
        std::future::ready(Ok::<_, Infallible>(steps([])))
    }));
    let response = service.oneshot(say(false)).await.unwrap();
    assert_eq!(whole(response).await, Ok((500, None)));
    assert_eq!(bench.told().len(), 1);
}

#[tokio::test]
async fn a_panic_in_a_body_ends_it() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(steps([Step::Data("half"), Step::Panic]))
    }));
    let grpc = service.clone().oneshot(say(true)).await.unwrap();
    assert_eq!(whole(grpc).await, Ok((200, Some("13".to_owned()))));
    let http = service.oneshot(say(false)).await.unwrap();
    let broken = whole(http).await.unwrap_err();
    assert!(broken.contains("panicked"), "{broken}");
    let told = bench.told();
    assert_eq!(
        (&told[0]["code"], &told[1]["status"]),
        (&"INTERNAL".into(), &500.into())
    );
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on the way out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_the_way_out_stays_here() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |request: Request<()>| {
        let bomb = Bomb;
        if request.uri().path() == "/watch" {
            // A body that is dropped with its bomb.
            return Ok::<_, Infallible>(Response::new(Ticking { _bomb: bomb }));
        }
        std::future::pending::<()>().await;
        drop(bomb);
        unreachable!()
    }));
    let mut late = say(false);
    late.headers_mut()
        .insert("seawall-timeout-ms", "50".parse().unwrap());
    let response = service.clone().oneshot(late).await.unwrap();
    assert_eq!(whole(response).await, Ok((504, None)));
    drop(service.oneshot(request("/watch", false)).await.unwrap());
    assert!(
        bench
            .page()
            .contains("seawall_panics_total{method=\"echo.v1.Echo/Say\"} 1")
    );
    assert!(
        bench
            .page()
            .contains("seawall_panics_total{method=\"echo.v1.Echo/Watch\"} 1")
    );
    assert_eq!(bench.told().len(), 2);
}

/// A body with a bomb in it.
struct Ticking {
    _bomb: Bomb,
}

impl Body for Ticking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_call_is_told_of_by_its_end() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(steps([Step::Data("x"), Step::Trailers("5")]))
    }));
    let response = service.clone().oneshot(say(true)).await.unwrap();
    assert_eq!(whole(response).await, Ok((200, Some("5".to_owned()))));
    let http = service.clone().oneshot(say(false)).await.unwrap();
    assert_eq!(
        bench.stack.methods().all()[0].counters.in_flight(),
        1,
        "not before its end"
    );
    drop(http);
    let other = service.oneshot(request("/nowhere", false)).await.unwrap();
    whole(other).await.unwrap();
    let page = bench.page();
    let codes = [
        "code=\"NOT_FOUND\"} 1",
        "code=\"499\"} 1",
        "code=\"200\"} 1",
    ];
    assert!(codes.iter().all(|code| page.contains(code)), "{page}");
    let told = bench.told();
    let methods: Vec<_> = told.iter().map(|line| &line["method"]).collect();
    assert_eq!(methods, [SAY.name, SAY.name, "other"]);
}

/// Whatever turns a call away, metrics, log and trace tell of it, and the handler does not know.
#[tokio::test(start_paused = true)]
async fn every_rejection_is_told_of() {
    let mut settings = Settings::default();
    let small = MethodSettings {
        max_body: Some(10),
        timeout: Some(Duration::from_secs(1)),
        ..MethodSettings::default()
    };
    settings.methods.insert(SAY.name.to_owned(), small);
    let bench = Bench::with(settings, 1);
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(steps([]))
    }));
    for grpc in [false, true] {
        let with = |name, value: &str| {
            let mut request = say(grpc);
            request.headers_mut().insert(name, value.parse().unwrap());
            request
        };
        let mut calls = Vec::new();
        let late = with("seawall-timeout-ms", "0");
        let large = with("content-length", "11");
        for request in [say(grpc), say(grpc), say(grpc), late, large] {
            let answer = service.clone().oneshot(request);
            calls.push(tokio::spawn(async { whole(answer.await.unwrap()).await }));
        }
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap().unwrap());
        }
        let expected: [(u16, u16); 5] = [(504, 4), (503, 14), (504, 4), (504, 4), (413, 8)];
        for ((status, code), (expected, grpc_code)) in answers.into_iter().zip(expected) {
            match grpc {
                true => assert_eq!((status, code), (200, Some(grpc_code.to_string()))),
                false => assert_eq!((status, code), (expected, None)),
            }
        }
    }
    let told = bench.told();
    assert_eq!(told.len(), 10);
    let rejected = |reason: &str| {
        told.iter()
            .filter(|line| line["rejected"] == reason)
            .count()
    };
    assert_eq!((rejected("deadline"), rejected("queue-full")), (6, 2));
    let reason = told
        .iter()
        .filter(|line| line["reason"] == "BODY_TOO_LARGE")
        .count();
    assert_eq!(reason, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_deadline_but_its_caller_s_and_may_not_be_silent_for_ever() {
    let mut settings = Settings::default();
    let all = MethodSettings {
        timeout: Some(Duration::from_secs(1)),
        idle_timeout: Some(Duration::from_secs(60)),
        ..MethodSettings::default()
    };
    settings.methods.insert("echo.v1.Echo/*".to_owned(), all);
    let bench = Bench::new(settings);
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        // Longer than a single call may take.
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, Infallible>(steps([Step::Data("x"), Step::Silent]))
    }));
    let begun = tokio::time::Instant::now();
    let stream = service
        .clone()
        .oneshot(request("/echo.v1.Echo/Watch", true))
        .await
        .unwrap();
    let gate = bench.stack.admission().snapshot();
    assert_eq!(
        (gate.inflight, gate.streams),
        (0, 1),
        "counted as a stream from its head on"
    );
    assert_eq!(whole(stream).await, Ok((200, Some("14".to_owned()))));
    assert_eq!(begun.elapsed().as_secs(), 65);
    assert_eq!(bench.stack.admission().snapshot().streams, 0);
    // What the caller states holds: before the head, and in the middle of the stream.
    for (timeout, begun) in [("2S", false), ("7S", true)] {
        let mut stated = request("/echo.v1.Echo/Watch", true);
        stated
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let stated = service.clone().oneshot(stated).await.unwrap();
        assert_eq!(stated.headers().get("grpc-status").is_none(), begun);
        assert_eq!(whole(stated).await, Ok((200, Some("4".to_owned()))));
    }
    assert_eq!(bench.told().len(), 3);
}

#[tokio::test]
async fn what_is_below_knows_the_trace_and_calls_continue_it() {
    use crate::layer::{Trace, current};

    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        let forward = crate::client::ForwardLayer::default();
        let origin = service_fn(async |out: Request<()>| {
            Ok::<_, Infallible>(out.headers()["traceparent"].clone())
        });
        let sent = forward
            .layer(origin)
            .oneshot(Request::new(()))
            .await
            .unwrap();
        let mut answer = steps([]);
        answer
            .extensions_mut()
            .insert((Trace::current(), sent, current()));
        Ok::<_, Infallible>(answer)
    }));
    let mut request = say(false);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request
        .headers_mut()
        .insert("traceparent", parent.parse().unwrap());
    let answer = service.oneshot(request).await.unwrap();
    type Seen = (Option<Trace>, http::HeaderValue, Option<crate::Call>);
    let (trace, sent, call) = answer.extensions().get::<Seen>().unwrap().clone();
    let trace = trace.unwrap();
    assert_eq!(
        (trace.trace_id, trace.parent_id),
        (
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            0xb7ad_6b71_6920_3331
        )
    );
    assert_eq!(sent, trace.value());
    assert!(call.unwrap().idempotent, "its definition says so");
    whole(answer).await.unwrap();
    assert_eq!(bench.spans.0.lock()[0].trace, trace);
    bench.told();
}

#[tokio::test]
async fn a_call_goes_by_the_settings_that_it_began_under() {
    let bench = Bench::new(Settings::default());
    let service = bench.stack.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(steps([]))
    }));
    let settings = |max_body| {
        let mut settings = Settings::default();
        settings.log.access = 1.0;
        settings.trace.sample = 1.0;
        let method = MethodSettings {
            max_body: Some(max_body),
            ..MethodSettings::default()
        };
        settings.methods.insert("*".to_owned(), method);
        settings
    };
    let stack = bench.stack.clone();
    let swapping = std::thread::spawn(move || {
        for n in 0..500 {
            stack
                .configure(&settings(if n % 2 == 0 { 10 } else { 100 }))
                .unwrap();
        }
    });
    let mut calls = 0;
    while !swapping.is_finished() || calls < 100 {
        let mut request = say(false);
        request
            .headers_mut()
            .insert("content-length", "50".parse().unwrap());
        let answer = service.clone().oneshot(request).await.unwrap();
        let (status, _) = whole(answer).await.unwrap();
        assert!(status == 200 || status == 413);
        calls += 1;
    }
    swapping.join().unwrap();
    assert_eq!(bench.told().len(), calls);
}
