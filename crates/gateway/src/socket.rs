//! The client's socket: what passes through it is shown to [`Client`], [`Framing`] and [`Pace`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::client::Client;
use crate::framing::Framing;
use crate::pace::Pace;

/// For how many bytes a client that still sends is heard out after we have closed.
const LEAVE_BYTES: usize = 4 << 20;

/// What a client speaks on: a socket, or TLS on one.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// The client's socket, which tells [`Client`] of its progress.
#[derive(Debug)]
pub(crate) struct Io<S> {
    stream: S,
    first: First,
    client: Arc<Client>,
    framing: Framing,
    /// Of the client as a reader.
    pace: Pace,
    /// Bytes thrown away since we have closed.
    left: usize,
}

/// What was read to tell the protocol, which hyper is still to see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    bytes: [u8; 4],
    length: usize,
}

impl First {
    /// Reads until `look` can tell; `None` asks for more, and is not asked again once all is read.
    pub(crate) async fn read<T>(
        stream: &mut (impl AsyncRead + Unpin),
        look: impl Fn(&[u8]) -> Option<T>,
    ) -> std::io::Result<(T, Self)> {
        let mut first = Self::default();
        loop {
            let read = stream.read(&mut first.bytes[first.length..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            first.length += read;
            if let Some(told) = look(&first.bytes[..first.length]) {
                return Ok((told, first));
            }
        }
    }

    fn replay(&mut self, buf: &mut ReadBuf<'_>) {
        let fits = self.length.min(buf.remaining());
        buf.put_slice(&self.bytes[..fits]);
        self.bytes.copy_within(fits..self.length, 0);
        self.length -= fits;
    }
}

impl<S: Stream> Io<S> {
    pub(crate) fn new(stream: S, first: First, client: Arc<Client>) -> Self {
        Self {
            stream,
            first,
            pace: Pace::new(client.site.write_timeout, client.site.min_rate),
            client,
            framing: Framing::default(),
            left: 0,
        }
    }

    /// Ready when the client has closed too, or has sent more than we care to throw away.
    fn poll_hear_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4096];
        while self.left < LEAVE_BYTES {
            let mut waste = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() => self.left += waste.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }

    fn wrote(&mut self, result: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        let Self { client, pace, .. } = self;
        match &result {
            Poll::Pending => client.write_blocks(pace),
            Poll::Ready(written) => {
                let bytes = written.as_ref().map_or(0, |bytes| *bytes as u64);
                pace.moved(bytes, || client.core.clock.now());
                client.was_written();
            }
        }
        result
    }
}

impl<S: Stream> AsyncRead for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.first.length > 0 {
            this.first.replay(buf);
        }
        let mut result = Poll::Ready(Ok(()));
        if buf.remaining() > 0 {
            result = Pin::new(&mut this.stream).poll_read(cx, buf);
            if buf.filled().len() > before {
                // An error or a wait after replayed bytes shows at the next read.
                result = Poll::Ready(Ok(()));
            }
        }
        if result.is_ready() && buf.filled().len() > before {
            let Self {
                client, framing, ..
            } = this;
            client.was_read(&buf.filled()[before..], framing);
        }
        result
    }
}

impl<S: Stream> AsyncWrite for Io<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // TLS keeps at most 64 KiB back; beyond that a write waits, and shows.
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if !this.client.is_leaving() {
            let sends_on = this.client.sends_on();
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !sends_on {
                return Poll::Ready(Ok(()));
            }
            this.client.leaves();
        }
        this.poll_hear_out(cx).map(Ok)
    }
}
