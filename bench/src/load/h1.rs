//! The HTTP/1.1 generator: one thread, epoll, one kernel timer.
//!
//! It does without a runtime because its cost bounds the load it can offer beside the server on
//! the same machine, and its timing bounds what the figures mean.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use socket2::{Domain, SockRef, Socket, Type};

use super::answer::{Complete, Parser};
use super::report::Recorder;
use super::{Arrivals, Class, Outcome, Plan, Report};
use crate::alarm::Timer;

const TIMER: u64 = u64::MAX;
/// Readiness events handled before the clock is looked at again.
const BATCH: usize = 64;
/// The read buffer, and the piece of body sent at a time.
const PIECE: usize = 64 * 1024;

pub(super) fn run(plan: &Plan, start: Instant) -> io::Result<Report> {
    let mut engine = Engine::new(plan, start)?;
    engine.run()?;
    Ok(engine.recorder.finish())
}

#[derive(Debug, Clone, Copy)]
struct Call {
    class: usize,
    due: Instant,
    number: u64,
}

struct Conn {
    stream: TcpStream,
    call: Option<Call>,
    head: Rc<[u8]>,
    parser: Parser,
    head_sent: usize,
    body_left: usize,
    /// A slow sender's next piece may not go before.
    resumes: Option<Instant>,
    /// It carried an answer before, so the server may have closed it in the meantime.
    reused: bool,
}

struct Engine<'p> {
    plan: &'p Plan,
    start: Instant,
    arrivals: Arrivals,
    heads: Vec<Rc<[u8]>>,
    epoll: rustix::fd::OwnedFd,
    timer: Timer,
    armed: Option<Instant>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    idle: Vec<usize>,
    backlog: VecDeque<Call>,
    /// By class, so that each is in order.
    timeouts: Vec<VecDeque<(Instant, usize, u64)>>,
    /// Slow senders by the time of their next piece.
    pauses: BinaryHeap<Reverse<(Instant, usize)>>,
    under_way: usize,
    numbers: u64,
    buffer: Vec<u8>,
    recorder: Recorder,
}

impl<'p> Engine<'p> {
    fn new(plan: &'p Plan, start: Instant) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = Timer::new()?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), edge)?;
        let host = plan.target.to_string();
        Ok(Self {
            plan,
            start,
            arrivals: Arrivals::new(&plan.classes, plan.seed),
            heads: plan.classes.iter().map(|c| head(c, &host)).collect(),
            epoll,
            timer,
            armed: None,
            conns: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            backlog: VecDeque::new(),
            timeouts: vec![VecDeque::new(); plan.classes.len()],
            pauses: BinaryHeap::new(),
            under_way: 0,
            numbers: 0,
            buffer: vec![0; PIECE],
            recorder: Recorder::new(plan, start),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        for _ in 0..self.plan.saturate.unwrap_or(0) {
            self.begin(0, Instant::now().max(self.start));
        }
        let mut events = Vec::with_capacity(BATCH);
        loop {
            self.begin_due();
            let now = Instant::now();
            self.expire(now);
            self.resume(now);
            let all_begun = self.arrivals.peek().is_none();
            if all_begun && self.under_way == 0 && self.backlog.is_empty() {
                return Ok(());
            }
            self.arm(self.next_deadline())?;
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let token = event.data.u64();
                if token == TIMER {
                    self.armed = None;
                } else {
                    self.ready(usize::try_from(token).unwrap_or(usize::MAX));
                }
            }
        }
    }

    fn begin_due(&mut self) {
        while let Some((due, _)) = self.arrivals.peek() {
            if self.start + due > Instant::now() {
                break;
            }
            if let Some((due, class)) = self.arrivals.take() {
                self.begin(class, self.start + due);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let arrival = self.arrivals.peek().map(|(due, _)| self.start + due);
        let timeouts = self.timeouts.iter().filter_map(|queue| queue.front());
        let pause = self.pauses.peek().map(|Reverse((at, _))| *at);
        (timeouts.map(|(at, ..)| *at))
            .chain(arrival)
            .chain(pause)
            .min()
    }

    fn arm(&mut self, next: Option<Instant>) -> io::Result<()> {
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.timer.arm(next)?;
            self.armed = Some(next);
        }
        Ok(())
    }

    fn begin(&mut self, class: usize, due: Instant) {
        self.recorder.begun(class, due, Instant::now());
        self.numbers += 1;
        let call = Call {
            class,
            due,
            number: self.numbers,
        };
        self.place(call);
    }

    /// Gives the call a connection, or lets it wait for one.
    fn place(&mut self, call: Call) {
        while let Some(index) = self.idle.pop() {
            if matches!(&self.conns[index], Some(conn) if conn.call.is_none()) {
                return self.assign(index, call);
            }
        }
        if self.conns.len() - self.free.len() >= self.plan.connections {
            let deadline = call.due + self.plan.classes[call.class].timeout;
            self.timeouts[call.class].push_back((deadline, usize::MAX, call.number));
            return self.backlog.push_back(call);
        }
        match self.connect() {
            Ok(index) => self.assign(index, call),
            Err(_) => self.settle(call, Outcome::Error),
        }
    }

    fn connect(&mut self) -> io::Result<usize> {
        let target = self.plan.target;
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream: TcpStream = socket.into();
        let index = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(index as u64);
        if let Err(error) = epoll::add(&self.epoll, &stream, data, flags) {
            self.free.push(index);
            return Err(error.into());
        }
        self.conns[index] = Some(Conn {
            stream,
            call: None,
            head: Rc::default(),
            parser: Parser::default(),
            head_sent: 0,
            body_left: 0,
            resumes: None,
            reused: false,
        });
        self.recorder.connection();
        Ok(index)
    }

    fn assign(&mut self, index: usize, call: Call) {
        let class = &self.plan.classes[call.class];
        let Some(conn) = self.conns[index].as_mut() else {
            return;
        };
        conn.call = Some(call);
        conn.head = match &class.json {
            Some(body) => posted(&self.heads[call.class], body, self.plan.seed, call.number),
            None => Rc::clone(&self.heads[call.class]),
        };
        conn.head_sent = 0;
        conn.body_left = class.upload;
        conn.resumes = None;
        self.under_way += 1;
        self.timeouts[call.class].push_back((call.due + class.timeout, index, call.number));
        if self.send(index).is_err() {
            self.broken(index);
        }
    }

    /// Sends what the socket takes.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let Some(conn) = self.conns[index].as_mut() else {
            return Ok(());
        };
        let Some(call) = conn.call else {
            return Ok(());
        };
        if conn.resumes.is_some() {
            return Ok(());
        }
        let pace = self.plan.classes[call.class].pace;
        let head = Rc::clone(&conn.head);
        while conn.head_sent < head.len() || conn.body_left > 0 {
            let rest = &head[conn.head_sent..];
            let piece = if rest.is_empty() {
                &ZEROES[..conn.body_left.min(PIECE)]
            } else {
                rest
            };
            match conn.stream.write(piece) {
                Ok(sent) if conn.head_sent < head.len() => conn.head_sent += sent,
                Ok(sent) => {
                    conn.body_left -= sent;
                    if !pace.is_zero() {
                        let resumes = Instant::now() + pace.mul_f64(sent as f64 / PIECE as f64);
                        conn.resumes = Some(resumes);
                        self.pauses.push(Reverse((resumes, index)));
                        return Ok(());
                    }
                }
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets slow senders send their next piece.
    fn resume(&mut self, now: Instant) {
        while let Some(&Reverse((at, index))) = self.pauses.peek() {
            if at > now {
                break;
            }
            self.pauses.pop();
            if let Some(conn) = self.conns[index].as_mut()
                && conn.resumes.take_if(|resumes| *resumes <= now).is_some()
            {
                self.ready(index);
            }
        }
    }

    fn ready(&mut self, index: usize) {
        if !matches!(self.conns.get(index), Some(Some(_))) {
            return;
        }
        let sent = self.send(index);
        // An answer may have come before the connection broke.
        if self.receive(index).is_err() || sent.is_err() {
            self.broken(index);
        }
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        while let Some(conn) = self.conns[index].as_mut() {
            let read = match conn.stream.read(&mut self.buffer) {
                Ok(0) => {
                    let complete = conn.parser.close();
                    return match complete {
                        Some(complete) => self.complete(index, &complete),
                        None => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                Ok(read) => read,
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            if let Some(complete) = conn.parser.feed(&self.buffer[..read])? {
                self.complete(index, &complete)?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, index: usize, complete: &Complete) -> io::Result<()> {
        let Some(conn) = self.conns[index].as_mut() else {
            return Ok(());
        };
        let Some(call) = conn.call.take() else {
            return Err(io::Error::other("an answer to no request"));
        };
        conn.reused = true;
        let reusable = complete.keep_alive && conn.body_left == 0;
        self.under_way -= 1;
        if reusable {
            self.idle.push(index);
        } else {
            if !complete.keep_alive {
                self.recorder.closed();
            }
            self.close(index);
        }
        self.recorder.status(complete.status);
        self.settle(
            call,
            match complete.status {
                429 | 503 => Outcome::Rejected(&complete.reason),
                200..400 => Outcome::Ok,
                _ => Outcome::Error,
            },
        );
        self.serve_backlog();
        Ok(())
    }

    /// The connection failed; an idle one that the server had closed deserves another try.
    fn broken(&mut self, index: usize) {
        let Some(conn) = self.conns[index].as_mut() else {
            return;
        };
        let stale = conn.reused && !conn.parser.has_begun();
        let call = conn.call.take();
        self.recorder.closed();
        self.close(index);
        if let Some(call) = call {
            self.under_way -= 1;
            if stale {
                self.place(call);
            } else {
                self.settle(call, Outcome::Error);
            }
        }
        self.serve_backlog();
    }

    fn expire(&mut self, now: Instant) {
        for class in 0..self.timeouts.len() {
            while let Some(&(at, index, number)) = self.timeouts[class].front() {
                if at > now {
                    break;
                }
                self.timeouts[class].pop_front();
                self.expire_one(index, number);
            }
        }
    }

    fn expire_one(&mut self, index: usize, number: u64) {
        if let Some(waiting) = self.backlog.iter().position(|call| call.number == number) {
            if let Some(call) = self.backlog.remove(waiting) {
                self.settle(call, Outcome::Timeout);
            }
            return;
        }
        let Some(Some(conn)) = self.conns.get_mut(index) else {
            return;
        };
        if let Some(call) = conn.call.take_if(|call| call.number == number) {
            self.under_way -= 1;
            self.close(index);
            self.settle(call, Outcome::Timeout);
            self.serve_backlog();
        }
    }

    fn serve_backlog(&mut self) {
        let open = self.conns.len() - self.free.len();
        let room = open < self.plan.connections || !self.idle.is_empty();
        if room && let Some(call) = self.backlog.pop_front() {
            self.place(call);
        }
    }

    fn settle(&mut self, call: Call, outcome: Outcome<'_>) {
        let now = Instant::now();
        self.recorder.outcome(call.class, call.due, now, outcome);
        if self.plan.saturate.is_some() && now < self.saturated_until() {
            self.begin(0, now);
        }
    }

    fn saturated_until(&self) -> Instant {
        let first = self.plan.classes.first();
        let lasts: Duration = first.map_or(Duration::ZERO, |class| {
            class.steps.iter().map(|step| step.lasts).sum()
        });
        self.start + lasts
    }

    fn close(&mut self, index: usize) {
        if let Some(conn) = self.conns[index].take() {
            // A reset, so that thousands of closes a second leave no ports in TIME_WAIT.
            let _ = SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO));
            self.free.push(index);
        }
    }
}

static ZEROES: [u8; PIECE] = [0; PIECE];
/// EINPROGRESS: the connection is being made.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

fn would_block(error: &io::Error) -> bool {
    // NotConnected: the connection is still being made.
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

fn head(class: &Class, host: &str) -> Rc<[u8]> {
    let posts = class.upload > 0 || class.json.is_some();
    let method = if posts { "POST" } else { "GET" };
    let mut head = format!("{method} {} HTTP/1.1\r\nhost: {host}\r\n", class.path);
    for (name, value) in &class.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if class.upload > 0 {
        head.push_str(&format!("content-length: {}\r\n", class.upload));
    }
    if class.json.is_none() {
        head.push_str("\r\n");
    }
    head.into_bytes().into()
}

/// The head, its end, and the body, whose `@n@` is this call's number.
fn posted(head: &[u8], body: &str, seed: u64, number: u64) -> Rc<[u8]> {
    let body = body.replace("@n@", &format!("{seed:06}-{number:08}"));
    let end = format!("content-length: {}\r\n\r\n{body}", body.len());
    [head, end.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_posts_a_number_of_its_own() {
        let class = Class::new("a", Vec::new()).json(r#"{"key":"k@n@"}"#);
        let head = head(&class, "here");
        let one = String::from_utf8(posted(&head, r#"{"key":"k@n@"}"#, 7, 1).to_vec());
        let one = one.expect("text");
        assert!(
            one.starts_with("POST / HTTP/1.1\r\nhost: here\r\n"),
            "{one}"
        );
        let body = r#"{"key":"k000007-00000001"}"#;
        let end = format!("content-length: {}\r\n\r\n{body}", body.len());
        assert!(one.ends_with(&end), "{one}");
    }
}
