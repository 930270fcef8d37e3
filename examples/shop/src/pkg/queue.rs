//! A queue of messages, on NATS.
//!
//! A message is answered by whoever has kept it, and one that is not answered is sent again by who
//! keeps it until then: so none is lost, and some come twice. NATS itself has nothing to keep.

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use seawall::app::BoxError;
use seawall::sync::shutdown::Life;

/// How long one who is to keep a message may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects; later it connects again by itself.
///
/// # Errors
/// It cannot be reached.
pub async fn connect(url: &str) -> Result<Client, BoxError> {
    let options = ConnectOptions::new().request_timeout(Some(PATIENCE));
    Ok(options.connect(url).await?)
}

/// Sends a message, and returns when one of those who take it has kept it.
///
/// # Errors
/// Nobody takes it, or nobody kept it in time.
pub async fn send(
    client: &Client,
    subject: &'static str,
    message: Vec<u8>,
) -> Result<(), BoxError> {
    client.request(subject, message.into()).await?;
    Ok(())
}

/// Takes messages, each of them one of all who take under the same name, until the program ends.
/// Those that `keep` fails to keep are not answered.
///
/// # Errors
/// It cannot begin.
pub async fn take<F, Fut>(
    client: Client,
    subject: &'static str,
    name: &'static str,
    life: Life,
    keep: F,
) -> Result<(), BoxError>
where
    F: Fn(Vec<u8>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    let mut messages = client.queue_subscribe(subject, name.to_owned()).await?;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = life.stopping() => break,
        };
        let Some(message) = message else { break };
        match keep(message.payload.to_vec()).await {
            Ok(()) => {
                if let Some(reply) = message.reply {
                    client.publish(reply, Vec::new().into()).await?;
                }
            }
            Err(error) => tracing::warn!("a message on {subject} was not kept: {error}"),
        }
    }
    client.flush().await?;
    Ok(())
}
