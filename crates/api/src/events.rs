//! The event stream: newline-delimited JSON, or server-sent events for a browser.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use dunlin_engine::types::Event;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::server::Stop;

/// How long a stream stays silent at most; the filler shows either side that the other is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// A JSON document a line.
    Lines,
    /// Server-sent events, for `EventSource`.
    ServerSent,
}

impl Framing {
    fn asked_by(headers: &HeaderMap) -> Self {
        let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        match accepts.contains("text/event-stream") {
            true => Self::ServerSent,
            false => Self::Lines,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::ServerSent => "text/event-stream",
        })
    }

    fn write(self, event: &Event) -> Bytes {
        // Events hold texts, numbers and lists alone, so this cannot fail; a blank line would be
        // skipped by readers.
        let json = serde_json::to_string(event).unwrap_or_default();
        Bytes::from(match self {
            Self::Lines => format!("{json}\n"),
            Self::ServerSent => format!("data: {json}\n\n"),
        })
    }

    fn filler(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Lines => b"\n",
            Self::ServerSent => b":\n\n",
        })
    }
}

/// The answer that carries events until the caller goes, the node ends, or `stop` comes.
pub(crate) fn stream(
    headers: &HeaderMap,
    events: broadcast::Receiver<Event>,
    stop: Stop,
) -> Response {
    let framing = Framing::asked_by(headers);
    // The filler at the start sends the head at once: the caller knows then that it hears all
    // that happens from here on.
    let start = (events, stop, Some(framing.filler()));
    let chunks = futures::stream::unfold(start, move |(mut events, mut stop, first)| async move {
        let chunk = match first {
            Some(first) => first,
            None => next(&mut events, &mut stop, framing).await?,
        };
        Some((Ok::<_, Infallible>(chunk), (events, stop, None)))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(CONTENT_TYPE, framing.content_type());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The next piece of the stream; `None` at its end.
async fn next(
    events: &mut broadcast::Receiver<Event>,
    stop: &mut Stop,
    framing: Framing,
) -> Option<Bytes> {
    tokio::select! {
        // What has happened already is told before the end is heeded.
        biased;
        received = events.recv() => match received {
            Ok(event) => Some(framing.write(&event)),
            Err(RecvError::Lagged(missed)) => Some(framing.write(&Event::Lagged { missed })),
            Err(RecvError::Closed) => None,
        },
        () = tokio::time::sleep(SILENCE_MAX) => Some(framing.filler()),
        () = stop.stopped() => None,
    }
}
