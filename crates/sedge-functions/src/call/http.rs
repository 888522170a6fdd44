//! One HTTP request in one fresh instance.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::{CallError, Run, Spent, explain, spent};
use crate::guard;
use crate::host::Wasi;
use crate::limits::Limits;

type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Hands a request to a fresh instance and returns the whole response.
pub(crate) async fn handle(
    proxy: &ProxyPre<Wasi>,
    state: Wasi,
    request: Request<Bytes>,
    limits: &Limits,
    deadline: Instant,
) -> Run<Response<Bytes>> {
    let mut store = Store::new(proxy.engine(), state);
    if guard::arm(&mut store, limits).is_err() {
        return (Err(CallError::NoResponse), Spent::default());
    }
    let (head_to, head) = oneshot::channel();
    let mut response = Box::pin(receive(head, *limits));
    let ran = timeout_at(deadline, async {
        let mut guest = Box::pin(run(proxy, &mut store, request, head_to));
        tokio::select! {
            ended = &mut guest => (Some(ended), None),
            // The whole response is here, or cannot come any more.
            answer = &mut response => match answer {
                Ok(_) => (Some(guest.await), Some(answer)),
                Err(_) => (None, Some(answer)),
            },
        }
    })
    .await;
    let used = spent(&mut store, limits);
    let late = CallError::Timeout { limit: limits.time };
    let answer = match ran {
        Err(_) => Err(late),
        Ok((Some(Err(Ended::Broke(err))), _)) => Err(explain(&mut store, &err, limits)),
        Ok((Some(Err(Ended::Refused(err))), _)) => Err(err),
        Ok((_, Some(answer))) => answer,
        Ok((_, None)) => {
            // The guest is done; with its store goes everything that could still be written.
            drop(store);
            timeout_at(deadline, response).await.unwrap_or(Err(late))
        }
    };
    (answer, used)
}

enum Ended {
    Broke(wasmtime::Error),
    Refused(CallError),
}

impl From<wasmtime::Error> for Ended {
    fn from(err: wasmtime::Error) -> Self {
        Self::Broke(err)
    }
}

async fn run(
    proxy: &ProxyPre<Wasi>,
    store: &mut Store<Wasi>,
    request: Request<Bytes>,
    head: oneshot::Sender<Head>,
) -> Result<(), Ended> {
    let request = request.map(Full::new);
    let mut http = store.data_mut().http();
    let Ok(request) = http.new_incoming_request(Scheme::Http, request) else {
        return Err(Ended::Refused(CallError::BadRequest));
    };
    let out = http.new_response_outparam(head)?;
    let guest = proxy.instantiate_async(&mut *store).await?;
    guest.wasi_http_incoming_handler().call_handle(store, request, out).await?;
    Ok(())
}

/// Waits for the response and reads its body up to the limit.
async fn receive(
    head: oneshot::Receiver<Head>,
    limits: Limits,
) -> Result<Response<Bytes>, CallError> {
    let head = head.await.map_err(|_| CallError::NoResponse)?;
    let (parts, mut body) =
        head.map_err(|code| CallError::Http { code: format!("{code:?}") })?.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| CallError::Http { code: format!("{err:?}") })?;
        let Ok(data) = frame.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > limits.output.as_bytes() {
            return Err(CallError::OutputTooLarge { limit: limits.output });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Response::from_parts(parts, bytes.into()))
}
