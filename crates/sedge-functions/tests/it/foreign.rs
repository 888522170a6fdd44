//! The agent under a host that is not ours: the engine and its `wasi:http`, a listener, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sedge_base::TaskScope;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::component;

/// What one guest has: an environment, and no way out.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    closed: Closed,
}

/// Sends no requests of guests.
struct Closed;

type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Closed {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Rest,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Rest), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.closed, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Makes a host for a component.
fn proxy(wasm: &[u8]) -> ProxyPre<State> {
    let engine = Engine::new(&Config::new()).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    let component = Component::from_binary(&engine, wasm).unwrap();
    ProxyPre::new(linker.instantiate_pre(&component).unwrap()).unwrap()
}

/// Hands a request to a fresh guest; it goes on in the scope while its answer is sent.
async fn handle(
    proxy: ProxyPre<State>,
    env: &'static [(&'static str, &'static str)],
    scope: TaskScope,
    request: Request<Incoming>,
) -> Result<Response<HyperOutgoingBody>, Infallible> {
    let mut wasi = WasiCtx::builder();
    let wasi = wasi.envs(env).build();
    let state =
        State { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new(), closed: Closed };
    let mut store = Store::new(proxy.engine(), state);
    let (to, head) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request).unwrap();
    let out = http.new_response_outparam(to).unwrap();
    scope.spawn("guest", async move |_| {
        let guest = proxy.instantiate_async(&mut store).await.unwrap();
        guest.wasi_http_incoming_handler().call_handle(&mut store, request, out).await.unwrap();
    });
    Ok(head.await.unwrap().unwrap())
}

/// Serves a component over HTTP on a port of this machine.
async fn serve(
    wasm: &[u8],
    env: &'static [(&'static str, &'static str)],
    scope: &TaskScope,
) -> SocketAddr {
    let proxy = proxy(wasm);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let within = scope.clone();
    scope.spawn("listener", async move |cancel| {
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, _) = accepted.unwrap();
            let (proxy, scope) = (proxy.clone(), within.clone());
            within.spawn("connection", async move |_| {
                let answer = service_fn(|it| handle(proxy.clone(), env, scope.clone(), it));
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
            });
        }
    });
    address
}

/// Asks over a connection of its own; returns the status and the record that came back.
async fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let request = Request::builder().method(method).uri(format!("http://{at}{path}"));
    let request = request.header("content-type", "application/json").body(body.to_owned()).unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut response = ureq::Agent::from(config).run(request).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_194_the_agent_answers_http_under_a_bare_wasmtime_host() {
    let scope = TaskScope::new();
    let wasm = component("agent");
    let bare = serve(&wasm, &[], &scope).await;
    let (status, health) = ask(bare, "GET", "/health", "").await;
    assert_eq!((status, &health["status"]), (200, &"ok".into()), "{health}");
    assert_eq!(health["endpoint_set"], false, "{health}");
    let (status, card) = ask(bare, "GET", "/.well-known/agent.json", "").await;
    assert_eq!((status, &card["skills"][0]["id"]), (200, &"chat".into()), "{card}");
    let hello = r#"{"message":"hello"}"#;
    let (status, told) = ask(bare, "POST", "/api/chat", hello).await;
    assert_eq!((status, &told["error"]), (503, &"the variable OPENAI_BASE_URL is not set".into()));
    assert_eq!(ask(bare, "GET", "/api/chat", "").await.0, 405);
    assert_eq!(ask(bare, "GET", "/else?x=y", "").await.1["error"], "there is no page `/else`");

    // With an endpoint it asks, and tells when this host lets nothing out.
    let env = &[("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("OPENAI_MODEL", "m")];
    let closed = serve(&wasm, env, &scope).await;
    let (status, told) = ask(closed, "POST", "/api/chat", hello).await;
    assert_eq!(status, 502, "{told}");
    assert!(told["error"].as_str().unwrap().contains("HttpRequestDenied"), "{told}");
    assert_eq!(ask(closed, "POST", "/api/chat", "{}").await.0, 400);
    assert_eq!(ask(closed, "POST", "/api/chat", "no record").await.0, 400);
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(2 << 20));
    assert_eq!(ask(closed, "POST", "/api/chat", &long).await.0, 413);
    scope.stop();
}
